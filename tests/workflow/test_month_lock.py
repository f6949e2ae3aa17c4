"""The setting ``one_run_at_a_time``, with the operator, a real ledger and a real HTTP server for SES."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from mailonce import IdempotentSesOperator
from mailonce.errors import InvalidInput, MonthBusy
from mailonce.workflow.month_lock import lockable_ledger, month_lock
from mailonce.workflow.settings import Settings
from sandbox.postgres import EmbeddedPostgres
from sandbox.ses import SesStandIn

ROWS = [{"recipient_id": f"C-{number}", "email": f"c-{number}@example.com"} for number in range(4)]


@pytest.fixture
def database(postgres: EmbeddedPostgres, connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.create_database("month_lock")
    connect("mailonce_ledger", **postgres.connection("month_lock"))
    monkeypatch.setenv("AIRFLOW__MAILONCE__LEDGER_TABLE", f"ledger_{uuid.uuid4().hex[:12]}")
    monkeypatch.setenv("AIRFLOW__MAILONCE__ONE_RUN_AT_A_TIME", "true")


def task_of(run_id: str) -> Any:
    """Return Airflow's context of a task of that run."""
    return {"ti": SimpleNamespace(dag_id="usage_email", run_id=run_id, task_id="deliver", map_index=-1, try_number=1)}


def deliver(run_id: str, *recipients: dict[str, str]) -> dict[str, Any]:
    """Do what one task of a run does."""
    operator = IdempotentSesOperator(
        task_id="deliver", campaign="usage", period="2026-10", recipients=list(recipients), subject="s", text="t"
    )
    return operator.execute(task_of(run_id))


@pytest.mark.postgres
@pytest.mark.usefixtures("database", "ses_connection")
def test_a_second_run_waits_its_turn_and_then_finds_all_sent(ses: SesStandIn) -> None:
    with month_lock(Settings.load(), task_of("first"), campaign="usage", period="2026-10"):
        # While one task of the first run works, its others do too, and those of the second do not.
        assert deliver("first", *ROWS[:2])["sent"] == 2
        with pytest.raises(MonthBusy, match="run first of usage_email is at work on usage 2026-10"):
            deliver("second", *ROWS)
        assert deliver("first", *ROWS[2:])["sent"] == 2
    assert deliver("second", *ROWS) == {"already sent": 4}
    assert sorted(str(request.recipient) for request in ses.requests) == [row["email"] for row in ROWS]


@pytest.mark.postgres
@pytest.mark.usefixtures("database")
def test_without_the_setting_no_session_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MAILONCE__ONE_RUN_AT_A_TIME", "false")
    monkeypatch.setattr(psycopg, "connect", lambda *_, **__: pytest.fail("nobody asked for a lock"))
    with month_lock(Settings.load(), {}, campaign="usage", period="2026-10"):
        pass


def test_only_postgresql_has_it(connect: Any) -> None:
    connect("mailonce_ledger", conn_type="aws")
    with pytest.raises(InvalidInput, match=r"setting \[mailonce\] one_run_at_a_time: .* Set it to false"):
        lockable_ledger(Settings(one_run_at_a_time=True))
    assert lockable_ledger(Settings()) is None
