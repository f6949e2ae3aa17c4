from __future__ import annotations

import pytest

from mailonce.notifiers.alert import About, Alert
from mailonce.workflow import run_metrics
from mailonce.workflow.reporting.counting import Report
from mailonce.workflow.run_metrics import tell_report
from tests.metrics.received import Received


@pytest.fixture
def alerts(monkeypatch: pytest.MonkeyPatch) -> list[Alert]:
    told: list[Alert] = []
    monkeypatch.setattr(run_metrics, "tell", told.append)
    return told


def report() -> Report:
    made = Report()
    made.counts.update({"SENT": 90, "REJECTED": 2, "IN_DOUBT": 3, "RELEASED": 1, "CANCELLED": 1, "not yet": 3})
    made.fates.update({"DELIVERED": 80, "BOUNCED": 4, "COMPLAINED": 1})
    return made


def test_the_funnel_is_told(alerts: list[Alert]) -> None:
    received = Received()
    tell_report(report(), campaign="usage", period="2026-10", planned=100, failing=True, metrics=received)
    assert received.gauges == {
        "mailonce.run.planned": 100, "mailonce.run.accepted": 90, "mailonce.run.delivered": 80,
        "mailonce.run.bounced": 4, "mailonce.run.complained": 1, "mailonce.run.rejected": 2,
        "mailonce.run.held": 3, "mailonce.run.not_yet": 4, "mailonce.held": 3,
    }  # fmt: skip
    assert alerts == []  # that it fails is told by the task's callback


def test_held_mails_are_told_though_the_run_succeeds(alerts: list[Alert]) -> None:
    tell_report(report(), campaign="usage", period="2026-10", planned=100, failing=False)
    (alert,) = alerts
    assert (alert.about, alert.where) == (About.HELD, "usage 2026-10")
    assert alert.what.startswith("3 mails are held. Held mails are not sent again by themselves.")


def test_duplicates_are_told_with_names(alerts: list[Alert]) -> None:
    made = Report()
    for number in range(7):
        made.add("duplicates", f"C-{number}", state="duplicate", why="two")
    tell_report(made, campaign="usage", period="2026-10", planned=7, failing=False)
    (alert,) = alerts
    assert alert.about is About.DUPLICATE
    assert alert.what.startswith("7 recipients have more than one mail for the same key (C-0, C-1, C-2, C-3, C-4, …).")


def test_a_report_that_cannot_be_told_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    tell_report(None, campaign="usage", period="2026-10", planned=1, failing=False)  # type: ignore[arg-type]
    assert "could not be told in numbers" in caplog.text
