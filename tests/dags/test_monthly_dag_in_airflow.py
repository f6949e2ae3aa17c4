"""The monthly Dag under the real Airflow: a plan before anything is sent, a person's approval, a correction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from sandbox.airflow_api import AirflowApi
from sandbox.stack import MONTHLY, Sandbox
from tests.dags.conftest import APPROVED, IMPATIENT, MONTHS, THREE

pytestmark = pytest.mark.airflow


def wait(what: str, done: Callable[[], object], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, f"{what}: not within {timeout:g} s"
        time.sleep(0.1)


def states(api: AirflowApi, dag: str, run: str) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for task in api.task_instances(dag, run):
        found.setdefault(task.task_id, set()).add(task.state)
    return found


def wait_for_question(sandbox: Sandbox, api: AirflowApi, run: str) -> dict[str, Any]:
    """Wait until a person is asked, and the scheduler knows that the task has left its process to wait.

    An answer before that, sooner than any person's, finds the scheduler of Airflow 3.3.2 taking the task for killed: it is
    asked again then, after 75 seconds.
    """

    def asked() -> bool:
        (task,) = [task for task in api.task_instances(APPROVED, run) if task.task_id == "approve"] or [None]
        if task is None or task.state != "awaiting_input":
            return False
        left = f"task_id='approve', run_id='{run}', try_number={task.try_number}"
        log = (sandbox.airflow.home / "scheduler.log").read_text()
        return any(left in line for line in log.splitlines() if "Received executor event with state success" in line)

    wait("the question", asked)
    question: dict[str, Any] = api.request("GET", path_of(run))
    return question


def path_of(run: str) -> str:
    return f"/api/v2/dags/{APPROVED}/dagRuns/{quote(run, safe='')}/taskInstances/approve/-1/hitlDetails"


def answer(api: AirflowApi, run: str, option: str) -> None:
    api.request("PATCH", path_of(run), body={"chosen_options": [option]})


def clear_alone(api: AirflowApi, run: str, task: str) -> None:
    """Run one task again, and nothing of what follows it."""
    body = {"dry_run": False, "dag_run_id": run, "only_failed": False, "task_ids": [task], "include_downstream": False}
    api.request("POST", f"/api/v2/dags/{APPROVED}/clearTaskInstances", body=body)


def tries(api: AirflowApi, run: str) -> set[tuple[str, str | None, int]]:
    return {(task.task_id, task.state, task.try_number) for task in api.task_instances(APPROVED, run)}


def restate(sandbox: Sandbox, customers: list[str], period: str) -> None:
    """Double what these customers used in the month."""
    with psycopg.connect(sandbox.postgres.dsn("usage")) as connection:
        changed = connection.execute(
            "UPDATE usage_daily SET quantity = quantity * 2 WHERE customer_id = ANY(%s) AND to_char(used_at, 'YYYY-MM') = %s",
            [customers, period],
        )
        assert changed.rowcount > 0


def mailed(sandbox: Sandbox, period: str) -> list[str]:
    tags = [mail.tags for mail in sandbox.ses.mails]
    return sorted(f"{tag['mailonce_recipient']} {tag['mailonce_edition']}" for tag in tags
                  if (tag["mailonce_campaign"], tag["mailonce_period"]) == ("monthly_usage", period))  # fmt: skip


def folder_of(api: AirflowApi, dag: str, run: str) -> Path:
    return Path(str(api.xcom(dag, run, "snapshot", "snapshot")).removeprefix("file://"))


def plan_of(api: AirflowApi, run: str) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads((folder_of(api, MONTHLY, run) / "plan.json").read_text())
    return plan


def test_restated_usage_becomes_a_corrected_statement_for_just_those(sandbox: Sandbox, api: AirflowApi) -> None:
    month, restated = MONTHS[0], THREE[:2]

    def run(**conf: Any) -> str:
        started = api.trigger(MONTHLY, {"period": month, "recipients": THREE, **conf})
        assert api.wait_for_run(MONTHLY, started) == "success"
        return started

    planned = run(dry_run=True)
    assert plan_of(api, planned)["counts"] == {"new": 3}
    assert states(api, MONTHLY, planned) == {
        "preflight": {"success"}, "snapshot": {"success"}, "deliver": {"skipped"}, "report": {"success"},
    }  # fmt: skip
    assert "preview/index.html (3 samples)" in api.logs(MONTHLY, planned, "report")
    assert (folder_of(api, MONTHLY, planned) / "preview" / "index.html").exists()
    assert mailed(sandbox, month) == []

    run()
    originals = [f"{customer} original" for customer in THREE]
    assert mailed(sandbox, month) == originals

    restate(sandbox, restated, month)
    second = run()
    told = [api.xcom(MONTHLY, second, "deliver", map_index=index) for index in range(3)]
    assert sum("content changed since it was sent" in each for each in told) == 2
    again = run(dry_run=True)
    plan = plan_of(api, again)
    assert plan["counts"] == {"content changed since it was sent": 2, "already sent": 1}
    assert (folder_of(api, MONTHLY, again) / "changed.txt").read_text().split() == restated
    assert mailed(sandbox, month) == originals

    for _ in range(2):
        run(edition="corrected-1", recipients=restated)
        assert mailed(sandbox, month) == sorted([*originals, *(f"{customer} corrected-1" for customer in restated)])
    corrected = [mail for mail in sandbox.ses.mails if mail.tags["mailonce_edition"] == "corrected-1"]
    with psycopg.connect(sandbox.postgres.dsn("ledger")) as connection:
        (sent_at,) = connection.execute(
            "SELECT sent_at FROM mailonce_ledger WHERE period = %s AND recipient_id = %s AND edition = 'original'",
            [month, restated[0]],
        ).fetchone() or (None,)
    assert sent_at is not None
    sent_on = f"sent on {sent_at.day} {sent_at:%B %Y}"
    for mail in corrected:
        assert str(mail.subject).startswith("Corrected: ")
        assert sent_on in " ".join(str(mail.text).split())
        assert sent_on in str(mail.html)
    originals_sent = [mail for mail in sandbox.ses.mails if mail.tags["mailonce_edition"] == "original"]
    assert not [mail for mail in originals_sent if "orrected" in f"{mail.subject} {mail.text} {mail.html}"]


class TestApproval:
    def test_it_is_of_one_snapshot_only(self, sandbox: Sandbox, api: AirflowApi) -> None:
        month = MONTHS[1]
        run = api.trigger(APPROVED, {"period": month, "recipients": THREE})
        question = wait_for_question(sandbox, api, run)
        first = folder_of(api, APPROVED, run).name
        assert f"`{first}`" in question["body"]
        assert "| new | 3 |" in question["body"]
        assert "preview/index.html" in question["body"]

        # While the question waits, another snapshot takes the place of the one that it is about.
        restate(sandbox, THREE, month)
        clear_alone(api, run, "snapshot")
        wait("another snapshot", lambda: ("snapshot", "success", 2) in tries(api, run))
        second = folder_of(api, APPROVED, run).name
        assert second != first
        answer(api, run, "Approve")
        assert api.wait_for_run(APPROVED, run) == "failed"
        assert states(api, APPROVED, run)["deliver"] == {"failed"}
        told = api.logs(APPROVED, run, "deliver", map_index=0)
        assert f"the snapshot {second} was not approved (approved: {first})" in told
        assert mailed(sandbox, month) == []

        # Airflow would go on showing the first plan, so this run does not ask about the second; a new one does.
        api.clear(APPROVED, run, ["approve"])
        assert api.wait_for_run(APPROVED, run) == "failed"
        assert states(api, APPROVED, run)["approve"] == {"failed"}
        assert "The plan is another one" in api.logs(APPROVED, run, "approve", try_number=2)
        run = api.trigger(APPROVED, {"period": month, "recipients": THREE})
        question = wait_for_question(sandbox, api, run)
        assert f"`{second}`" in question["body"]
        assert mailed(sandbox, month) == []
        answer(api, run, "Approve")
        assert api.wait_for_run(APPROVED, run) == "success"
        assert mailed(sandbox, month) == [f"{customer} original" for customer in THREE]
        approval = api.xcom(APPROVED, run, "approve")
        assert approval["snapshot"].endswith(second)
        assert set(approval) == {"snapshot", "by", "at"}

    def test_rejected_nobody_is_mailed_and_the_run_says_so(self, sandbox: Sandbox, api: AirflowApi) -> None:
        month = MONTHS[2]
        run = api.trigger(APPROVED, {"period": month, "recipients": THREE})
        wait_for_question(sandbox, api, run)
        answer(api, run, "Reject")
        assert api.wait_for_run(APPROVED, run) == "failed"
        assert states(api, APPROVED, run) == {
            "preflight": {"success"}, "snapshot": {"success"}, "approve": {"failed"}, "deliver": {"upstream_failed"},
            "report": {"failed"},
        }  # fmt: skip
        assert "rejected the plan: nobody is mailed." in api.logs(APPROVED, run, "approve")
        assert mailed(sandbox, month) == []

        # Whoever changes their mind clears it: it asks again, for no answer counts twice.
        api.clear(APPROVED, run, ["approve"])
        question = wait_for_question(sandbox, api, run)
        assert f"`{folder_of(api, APPROVED, run).name}`" in question["body"]
        assert mailed(sandbox, month) == []
        answer(api, run, "Reject")
        assert api.wait_for_run(APPROVED, run) == "failed"
        assert mailed(sandbox, month) == []

    def test_unanswered_nobody_is_mailed(self, sandbox: Sandbox, api: AirflowApi) -> None:
        month = MONTHS[2]
        run = api.trigger(IMPATIENT, {"period": month, "recipients": THREE})
        assert api.wait_for_run(IMPATIENT, run) == "failed"
        assert "Nobody approved the plan in time: nobody is mailed." in api.logs(IMPATIENT, run, "approve")
        assert states(api, IMPATIENT, run)["deliver"] == {"upstream_failed"}
        assert mailed(sandbox, month) == []

    def test_a_dry_run_asks_nobody(self, sandbox: Sandbox, api: AirflowApi) -> None:
        run = api.trigger(APPROVED, {"period": MONTHS[2], "recipients": THREE, "dry_run": True})
        assert api.wait_for_run(APPROVED, run) == "success"
        assert states(api, APPROVED, run) == {
            "preflight": {"success"}, "snapshot": {"success"}, "approve": {"skipped"}, "deliver": {"skipped"},
            "report": {"success"},
        }  # fmt: skip
        assert mailed(sandbox, MONTHS[2]) == []
