"""What a task asks its supervisor, and what the answers mean. The same against a real Airflow: tests/dags."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, OKResponse, TriggerDagRun

from mailonce.errors import StartRefused, UnsupportedAirflow
from mailonce.workflow.starting.dag_runs import DagRuns


class Supervisor:
    """Answers what it was told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def send(self, message: Any) -> Any:
        self.asked.append(message)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def refusal(status: int) -> AirflowRuntimeError:
    return AirflowRuntimeError(
        ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": status, "message": "said so"})
    )


def asking(answer: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[DagRuns, Supervisor]:
    supervisor = Supervisor(answer)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    instance: Any = SimpleNamespace(
        get_dag=lambda _dag_id: supervisor.send("dag"), get_dagrun_state=lambda *_: supervisor.send("state")
    )
    return DagRuns(instance), supervisor


@pytest.mark.parametrize(
    ("answer", "new"), [(OKResponse(ok=True), True), (ErrorResponse(error=ErrorType.DAGRUN_ALREADY_EXISTS), False)]
)
def test_a_run_is_asked_for_and_never_reset(answer: Any, new: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, supervisor = asking(answer, monkeypatch)
    assert runs.start("usage_email", "usage-complete__2026-10", {"period": "2026-10"}) is new
    asked = TriggerDagRun(dag_id="usage_email", run_id="usage-complete__2026-10", conf={"period": "2026-10"})
    assert supervisor.asked == [asked]
    assert asked.reset_dag_run is False


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_run_that_airflow_refuses_is_a_refusal(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, _ = asking(refusal(status), monkeypatch)
    with pytest.raises(StartRefused, match=r"Airflow does not start a run of usage_email: .*said so"):
        runs.start("usage_email", "run", {})


@pytest.mark.parametrize("error", [refusal(503), AirflowRuntimeError(ErrorResponse(detail=None))])
def test_trouble_of_airflow_s_own_stays_what_it_is_and_is_tried_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, _ = asking(error, monkeypatch)
    for ask in (lambda: runs.start("d", "r", {}), lambda: runs.check("d"), lambda: runs.state("d", "r")):
        with pytest.raises(AirflowRuntimeError):
            ask()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(404), "there is no Dag usage_email"),
        (SimpleNamespace(tags=["mailonce"], is_paused=True), "is paused: unpause it"),
        (SimpleNamespace(tags=["theirs"], is_paused=False), "does not have the tag mailonce"),
    ],
)
def test_a_dag_that_shall_not_be_started(answer: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, _ = asking(answer, monkeypatch)
    with pytest.raises(StartRefused, match=words):
        runs.check("usage_email")


def test_a_run_that_is_not_there_has_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asking(refusal(404), monkeypatch)[0].state("d", "r") is None
    assert asking("running", monkeypatch)[0].state("d", "r") == "running"


def test_an_airflow_that_does_not_tell_about_dags_is_refused_in_a_sentence() -> None:
    old: Any = SimpleNamespace()
    with pytest.raises(UnsupportedAirflow, match=r"Starting a month by a message needs Apache Airflow 3\.2"):
        DagRuns(old).check("usage_email")
