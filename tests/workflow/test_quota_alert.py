from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailonce.notifiers.alert import About, Alert
from mailonce.workflow import planning
from tests.fake_ledger import MemoryLedger

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("left", "dry_run", "spread", "told"),
    [(1, False, False, True), (2, False, False, False), (None, False, False, False), (1, True, False, False),
     (1, False, True, False)],
)  # fmt: skip
def test_a_quota_that_is_too_small_is_told_before_the_first_mail(
    left: int | None, dry_run: bool, spread: bool, told: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alerts: list[Alert] = []
    manifest = SimpleNamespace(query_rows=2, recipients=2, rejects=0, chunks=[None])
    snapshot = SimpleNamespace(manifest=manifest, uri=f"file://{tmp_path}", rejects=list)
    plan = SimpleNamespace(words="2 new", counts={planning.Plan.NEW: 2})
    for name, value in {
        "tell": lambda alert, _context: alerts.append(alert),
        "open_ledger": lambda _settings: MemoryLedger(),
        "write_month": lambda *_, **__: snapshot,
        "write_plan": lambda *_, **__: plan,
        "question": lambda *_: "?",
    }.items():
        monkeypatch.setattr(planning, name, value)
    monkeypatch.setenv("AIRFLOW__MAILONCE__SENDER", "billing@example.com")
    monkeypatch.setenv("AIRFLOW__MAILONCE__SPREAD_OVER_DAYS", str(spread))
    context: Any = {
        "params": {"edition": "original", "recipients": [], "recipients_per_task": None, "dry_run": dry_run},
        "ti": SimpleNamespace(xcom_push=lambda **_: None),
        "run_id": "manual__1",
        "dag_run": SimpleNamespace(dag_id="monthly_usage_email", run_id="manual__1"),
    }
    facts = {"period": "2026-10", "left_today": left, "daily_quota": 100}
    planning.plan_month(
        context, facts, campaign="monthly_usage", statement=ROOT / "include" / "sql" / "monthly_usage.sql",
        template_root=ROOT / "include" / "templates",
    )  # fmt: skip
    assert [alert.about for alert in alerts] == [About.QUOTA] * told
    for alert in alerts:
        assert alert.where == "monthly_usage_email manual__1"
        assert "2 mails are planned, but the account may send only 1 more" in alert.what
