"""Every Dag file: parsed without asking anybody anything, described, retried as the failures deserve."""

from __future__ import annotations

import ast
import importlib.util
import os
import socket
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from airflow.sdk import DAG, BaseHook, Variable
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from mailonce import DeliveryRetryPolicy, IdempotentSesOperator
from mailonce.workflow.settings import Settings

DAGS = Path(__file__).resolve().parents[2] / "dags"
FILES = sorted(DAGS.glob("*.py"))


def parse(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"parsed_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dags_of(file: Path) -> list[DAG]:
    return [value for value in vars(parse(file)).values() if isinstance(value, DAG)]


EVERY_DAG = [dag for file in FILES for dag in dags_of(file)]
EVERY_TASK = [task for dag in EVERY_DAG for task in dag.tasks]


@pytest.fixture
def month() -> Any:
    (dag,) = (dag for dag in EVERY_DAG if dag.dag_id == "monthly_usage_email")
    return dag


def test_there_are_dags_and_each_has_a_name_of_its_own() -> None:
    names = [dag.dag_id for dag in EVERY_DAG]
    assert "monthly_usage_email" in names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_parsing_asks_nobody(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("a Dag file asked for something while it was parsed")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(BaseHook, "get_connection", refused)
    monkeypatch.setattr(Variable, "get", refused)
    monkeypatch.setattr(Settings, "load", refused)
    assert dags_of(file)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_parsing_does_not_depend_on_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = [DagSerialization.to_dict(dag) for dag in dags_of(file)]
    for name in [name for name in os.environ if name.startswith(("AIRFLOW__MAILONCE__", "AIRFLOW_CONN_", "AWS_"))]:
        monkeypatch.delenv(name)
    for name in ("SENDER", "TIMEZONE", "TEMPLATE_ROOT", "CONCURRENCY", "IN_DOUBT"):
        monkeypatch.setenv(f"AIRFLOW__MAILONCE__{name}", "anything")
    assert [DagSerialization.to_dict(dag) for dag in dags_of(file)] == described


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_dag_file_names_no_source_of_settings(file: Path) -> None:
    names = {node.attr if isinstance(node, ast.Attribute) else node.id for node in ast.walk(ast.parse(file.read_text()))
             if isinstance(node, (ast.Attribute, ast.Name))}  # fmt: skip
    assert not names & {"environ", "getenv", "conf", "Variable", "get_connection", "get_hook"}


@pytest.mark.parametrize("dag", EVERY_DAG, ids=lambda dag: dag.dag_id)
def test_a_dag_is_described(dag: DAG) -> None:
    assert dag.doc_md
    assert "mailonce" in dag.tags
    assert dag.catchup is False
    assert dag.default_args["owner"] not in ("", "airflow")
    assert DagSerialization.from_dict(DagSerialization.to_dict(dag)).dag_id == dag.dag_id


@pytest.mark.parametrize("task", EVERY_TASK, ids=lambda task: f"{task.dag_id}.{task.task_id}")
def test_a_task_is_owned_and_retried_as_its_failure_deserves(task: Any) -> None:
    assert task.owner not in ("", "airflow")
    policy = task.partial_kwargs["retry_policy"] if task.is_mapped else task.retry_policy
    assert isinstance(policy, DeliveryRetryPolicy)
    # A policy cannot exceed the task's own number.
    assert task.retries >= policy.most


@pytest.mark.parametrize("task", EVERY_TASK, ids=lambda task: f"{task.dag_id}.{task.task_id}")
def test_a_task_says_what_it_does(task: Any) -> None:
    function = getattr(task, "python_callable", None) or task.operator_class
    assert (function.__doc__ or "").strip()


class TestMonthlyDag:
    def test_the_four_tasks_in_order(self, month: DAG) -> None:
        order = [task.task_id for task in month.topological_sort()]
        assert order == ["preflight", "snapshot", "deliver", "report"]
        follows = {task.task_id: task.downstream_task_ids for task in month.tasks}
        assert follows["preflight"] == {"snapshot"}
        assert follows["deliver"] == {"report"}
        assert follows["snapshot"] >= {"deliver"}

    def test_the_report_always_runs(self, month: DAG) -> None:
        assert month.get_task("report").trigger_rule == "all_done"

    def test_the_map_is_over_numbers_of_chunks(self, month: DAG) -> None:
        deliver: Any = month.get_task("deliver")
        assert deliver.is_mapped
        assert deliver.operator_class is IdempotentSesOperator
        assert set(deliver.expand_input.value) == {"chunk"}
        snapshot: Any = month.get_task("snapshot")
        assert deliver.expand_input.value["chunk"].operator is snapshot
        assert typing.get_type_hints(snapshot.python_callable)["return"] == list[int]

    def test_it_runs_once_a_month_at_an_hour_that_is_right_everywhere(self, month: Any) -> None:
        from airflow.timetables.trigger import CronTriggerTimetable

        timetable = DagSerialization.from_dict(DagSerialization.to_dict(month)).timetable
        assert isinstance(timetable, CronTriggerTimetable)
        assert (timetable.summary, month.timezone.name) == ("0 12 1 * *", "UTC")

    def test_a_parameter_s_text_stays_what_it_is(self, month: DAG) -> None:
        assert month.render_template_as_native_obj is False

    def test_the_form_has_these_defaults(self, month: DAG) -> None:
        assert month.params.dump() == {
            "period": None, "recipients": [], "dry_run": False, "recipients_per_task": None, "edition": "original",
        }  # fmt: skip
        assert all(month.params.get_param(name).schema.get("description") or month.params.get_param(name).description
                   for name in month.params)  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("period", None), ("period", "2026-10"), ("period", "1999-01"), ("period", "2026-12"),
            ("recipients", []), ("recipients", None), ("recipients", ["C-1"]), ("recipients", ["C-1", "ünï ☂"]), ("recipients", ["x" * 256]),
            ("dry_run", True), ("dry_run", False),
            ("recipients_per_task", None), ("recipients_per_task", 1), ("recipients_per_task", 100_000),
            ("edition", "original"), ("edition", "corrected-2_b"), ("edition", "x" * 64),
        ],
    )  # fmt: skip
    def test_taken(self, month: DAG, name: str, value: Any) -> None:
        assert month.params.get_param(name).resolve(value) == value

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("period", ""), ("period", "2026-13"), ("period", "2026-00"), ("period", "2026-1"), ("period", "26-10"),
            ("period", "2026-10-01"), ("period", " 2026-10"), ("period", "2026/10"), ("period", 202610),
            ("period", "\u0662\u0660\u0662\u0666-\u0661\u0660"), ("period", ["2026-10"]), ("period", "{{ ds }}"),
            ("recipients", "C-1"), ("recipients", [7]), ("recipients", [""]), ("recipients", {}),
            ("recipients", ["C-1", "C-1"]), ("recipients", ["x" * 257]), ("recipients", [None]),
            ("dry_run", "true"), ("dry_run", 1), ("dry_run", None),
            ("recipients_per_task", 0), ("recipients_per_task", -1), ("recipients_per_task", 1.5),
            ("recipients_per_task", "10"), ("recipients_per_task", 100_001),
            ("edition", ""), ("edition", None), ("edition", "a b"), ("edition", "../x"), ("edition", "x" * 65),
            ("edition", "öriginal"), ("edition", 2),
        ],
    )  # fmt: skip
    def test_refused(self, month: DAG, name: str, value: Any) -> None:
        with pytest.raises(ParamValidationError):
            month.params.get_param(name).resolve(value)
