"""The monthly Dag with APPROVAL, and that without it nothing of it is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.serialization.serialized_objects import DagSerialization

from tests.dags.test_dag_integrity import DAGS, parse

FILE = DAGS / "monthly_usage_email.py"
OFF = "APPROVAL = False"


@pytest.fixture
def approved(tmp_path: Path) -> Any:
    text = FILE.read_text()
    assert text.count(OFF) == 1
    file = tmp_path / "dags" / "approved.py"
    file.parent.mkdir()
    file.write_text(text.replace(OFF, "APPROVAL = True"))
    return parse(file).dag


def test_it_stands_between_snapshot_and_deliver(approved: Any) -> None:
    order = [task.task_id for task in approved.topological_sort()]
    assert order == ["preflight", "snapshot", "approve", "deliver", "report"]
    assert approved.get_task("approve").upstream_task_ids == {"snapshot"}
    assert approved.get_task("deliver").upstream_task_ids == {"snapshot", "approve"}
    # Were it anything else, deliver would start though nobody approved.
    assert approved.get_task("deliver").trigger_rule == "all_success"
    assert approved.get_task("report").trigger_rule == "all_done"


def test_nobody_can_answer_for_a_person(approved: Any) -> None:
    approve = approved.get_task("approve")
    assert approve.defaults is None
    assert approve.response_timeout.days == 5
    assert "approve" in approved.get_task("deliver").partial_kwargs["approved"]


def test_it_can_be_serialised(approved: Any) -> None:
    decoded = DagSerialization.from_dict(DagSerialization.to_dict(approved))
    assert set(decoded.task_ids) == {"preflight", "snapshot", "approve", "deliver", "report"}


def test_off_it_costs_a_parsing_nothing() -> None:
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "print([name for name in sys.modules if 'hitl' in name or name.startswith('mailonce.operators.approval')])"
    )
    done = subprocess.run([sys.executable, "-c", code, FILE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
