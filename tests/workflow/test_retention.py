"""How long each campaign's deliveries are remembered, from the setting to the ledger's row."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mailonce import IdempotentSesOperator
from mailonce.workflow import connections
from mailonce.workflow.retention import OTHERS, days_of, retention_of
from tests.fake_ledger import MemoryLedger


@pytest.mark.parametrize(
    ("setting", "days"),
    [
        ("", {}),
        ("400", {OTHERS: 400}),
        ("usage=400,welcome = 30", {"usage": 400, "welcome": 30}),
        (" 90 , usage=0 ,", {OTHERS: 90, "usage": 0}),
    ],
)
def test_what_may_be_written(setting: str, days: dict[str, int]) -> None:
    assert days_of(setting) == days


def test_one_without_days_of_its_own_has_those_of_all_others() -> None:
    assert retention_of("90, usage=400", "welcome") == timedelta(days=90)
    assert retention_of("usage=400", "welcome") is None
    assert retention_of("90, usage=0", "usage") is None


@pytest.mark.usefixtures("ses_connection")
def test_the_row_gets_that_of_its_campaign(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = MemoryLedger()
    monkeypatch.setitem(connections._LEDGERS, "memory", lambda *_: ledger)
    connect("mailonce_ledger", conn_type="memory")
    monkeypatch.setenv("AIRFLOW__MAILONCE__RETENTION_DAYS", "90, usage=400")
    for campaign in ("usage", "welcome"):
        IdempotentSesOperator(
            task_id="mail", campaign=campaign, period="2026-10", subject="s", text="t",
            recipient={"recipient_id": "C-1", "email": "c-1@example.com"},
        ).execute({})  # fmt: skip
    kept = {row.entry.identity.campaign: row.retention for row in ledger._rows.values()}
    assert kept == {"usage": timedelta(days=400), "welcome": timedelta(days=90)}
