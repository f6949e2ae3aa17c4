from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from mailonce.browsing import MonthTotals
from mailonce.events import Fate
from mailonce.notifiers.alert import About, Alert
from mailonce.states import State
from mailonce.workflow.events import watching
from mailonce.workflow.events.observing import Observation, Outcome, observe_all
from mailonce.workflow.events.queue import Depth, Message
from mailonce.workflow.events.watching import EventsWatch
from mailonce.workflow.settings import Settings
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery
from tests.metrics.received import Received
from tests.workflow.events.made_events import body

QUEUE: Any = SimpleNamespace(depth=lambda: Depth(waiting=4, hidden=0))


@pytest.fixture
def alerts(monkeypatch: pytest.MonkeyPatch) -> list[Alert]:
    told: list[Alert] = []
    monkeypatch.setattr(watching, "tell", told.append)
    return told


def message(text: str) -> Message:
    return Message(id="1", body=text, receipt="r", again=False)


def sent(ledger: MemoryLedger, count: int) -> list[Any]:
    deliveries = [make_delivery(f"C-{number}") for number in range(count)]
    for delivery in deliveries:
        ledger.claim(make_claim(delivery))
    return deliveries


def make_entry(delivery: Any) -> Any:
    return MemoryLedger().claim(make_claim(delivery))


def run(ledger: Any, texts: list[str], **settings: Any) -> Received:
    received = Received()
    with EventsWatch(lambda **_tags: received, Settings(**settings)) as watch:
        watch.observed(list(observe_all([message(text) for text in texts], ledger)))
        watch.drained(ledger, QUEUE)
    return received


def test_what_events_did_is_counted(alerts: list[Alert]) -> None:
    ledger = MemoryLedger()
    ann, bob = sent(ledger, 2)
    delivered = body(ann, "Delivery", "m-1")
    received = run(ledger, [body(ann, "Send", "m-1"), delivered, delivered, "poison", body(bob, "Bounce", "m-2"),
                            body(ann, "Delivery", "m-3")])  # fmt: skip
    assert received.counts == {
        "mailonce.events.applied": 4, "mailonce.events.already_known": 1, "mailonce.events.set_aside": 1,
        "mailonce.fates.delivered": 1, "mailonce.fates.bounced": 1, "mailonce.duplicates": 1,
    }  # fmt: skip
    assert len(received.times["mailonce.events_lag"]) == 4
    assert all(seconds >= 0 for seconds in received.times["mailonce.events_lag"])
    assert received.gauges["mailonce.events_waiting"] == 4
    assert received.gauges["mailonce.month_rate.bounced"] == 0.5
    assert received.gauges["mailonce.month_rate.complained"] == 0
    assert alerts == []  # of two mails a rate says nothing


def test_the_lag_is_from_the_event_to_the_ledger(alerts: list[Alert]) -> None:
    (ann,) = sent(MemoryLedger(), 1)
    received, now = Received(), datetime.now(timezone.utc)
    ours = Observation(message=message(""), outcome=Outcome.APPLIED, entry=make_entry(ann), at=now - timedelta(hours=2))
    with EventsWatch(lambda **_tags: received, Settings()) as watch:
        watch.observed([ours, replace(ours, at=now + timedelta(hours=2))])  # the second by a clock that is ahead
    late, early = sorted(received.times["mailonce.events_lag"], reverse=True)
    assert 7200 <= late < 7260
    assert early == 0


def test_a_rate_alerts_once_when_it_passes_its_limit(alerts: list[Alert]) -> None:
    ledger = MemoryLedger()
    deliveries = sent(ledger, 200)
    run(ledger, [body(each, "Send", f"m-{n}") for n, each in enumerate(deliveries)])
    run(ledger, [body(each, "Bounce", f"m-{n}") for n, each in enumerate(deliveries[:10])])
    assert alerts == []  # 5 % is the limit, and not above it
    run(ledger, [body(deliveries[10], "Bounce", "m-10")])
    run(ledger, [body(deliveries[11], "Bounce", "m-11")])
    assert [alert.about for alert in alerts] == [About.BOUNCES]
    assert alerts[0].what.startswith(
        "11 of 200 accepted mails of usage 2030-01 bounced: 5.50%, above 5.00%. Safe next: "
    )
    run(ledger, [body(deliveries[50], "Complaint", "m-50")])
    assert [alert.about for alert in alerts[1:]] == [About.COMPLAINTS]


def test_limits_are_settings(alerts: list[Alert]) -> None:
    ledger = MemoryLedger()
    deliveries = sent(ledger, 100)
    run(ledger, [body(each, "Send", f"m-{n}") for n, each in enumerate(deliveries)])
    run(ledger, [body(deliveries[0], "Complaint", "m-0"), body(deliveries[1], "Bounce", "m-1")],
        most_complaints=0.01, most_bounces=0.001)  # fmt: skip
    assert [alert.about for alert in alerts] == [About.BOUNCES]


def test_all_editions_of_a_month_count(alerts: list[Alert]) -> None:
    totals = [
        MonthTotals(campaign="usage", period="2030-01", edition=edition, states={State.SENT: 100},
                    fates={Fate.BOUNCED: bounced}) for edition, bounced in (("original", 1), ("corrected", 2))
    ]  # fmt: skip
    ledger = MemoryLedger()
    (ann,) = sent(ledger, 1)
    ledger.browser = SimpleNamespace(totals=lambda *_: totals)  # type: ignore[assignment]
    received = run(ledger, [body(ann, "Bounce", "m-1")])
    assert received.gauges["mailonce.month_rate.bounced"] == 3 / 200


def test_counting_that_fails_loses_no_event(alerts: list[Alert], caplog: pytest.LogCaptureFixture) -> None:
    ledger = MemoryLedger()
    (ann,) = sent(ledger, 1)

    def broken(*_: Any) -> Any:
        raise OSError("away")

    ledger.browser = SimpleNamespace(totals=broken)  # type: ignore[assignment]
    received = run(ledger, [body(ann, "Bounce", "m-1")])
    assert received.counts["mailonce.events.applied"] == 1
    assert "the next run tries again" in caplog.text
