"""Which months may be purged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mailonce.browsing import MonthTotals
from mailonce.delivery import Conclusion
from mailonce.errors import InvalidInput
from mailonce.states import State
from mailonce.workflow.kept_files import KeptFiles
from mailonce.workflow.purging import QUIET, OldMonth, old_months, refuse_unfinished
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeClock, make_claim, make_delivery

NOW = datetime(2030, 2, 1, tzinfo=timezone.utc)


def month(changed_at: datetime | None = None, **states: int) -> OldMonth:
    totals = MonthTotals(
        campaign="usage",
        period="2029-10",
        edition="original",
        states={State[name]: number for name, number in states.items()},
        changed_at=changed_at,
    )
    return OldMonth(campaign="usage", period="2029-10", editions=(totals,))


def test_one_that_is_over_may_go() -> None:
    refuse_unfinished([month(NOW - QUIET - timedelta(seconds=1), SENT=3, RELEASED=1)], now=NOW, unsettled=False)
    refuse_unfinished([month(NOW - timedelta(days=30), IN_DOUBT=3)], now=NOW, unsettled=True)


@pytest.mark.parametrize(
    ("old", "unsettled", "reason"),
    [
        (month(NOW - timedelta(days=6), SENT=3), False, "something changed in it less than 7 days ago"),
        (month(NOW - timedelta(days=6), SENT=3), True, "something changed in it less than 7 days ago"),
        (month(SENT=3, IN_DOUBT=2, SENDING=1), False, "3 of its mails are in doubt or being sent"),
    ],
)
def test_one_that_is_not_over_is_refused(old: OldMonth, unsettled: bool, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        refuse_unfinished([month(SENT=1), old], now=NOW, unsettled=unsettled)


@pytest.fixture
def found(tmp_path: Path) -> Callable[[str], list[str]]:
    """In February 2030, a ledger with mails of several periods, and files of one month that it has forgotten."""
    ledger = MemoryLedger(now=FakeClock().now)
    for period in ("2029-11", "2029-12", "2030-01", "2029-W44"):
        claim = make_claim(make_delivery(period=period))
        ledger.claim(claim)
        ledger.conclude(claim.delivery.key, claim.token, Conclusion(state=State.SENT, message_id="m"))
    file = tmp_path / "usage" / "2029-10" / "original" / "0f0f" / "rows.jsonl"
    file.parent.mkdir(parents=True)
    file.touch()

    def ask(before: str) -> list[str]:
        files = KeptFiles(f"file://{tmp_path}")
        return [each.period for each in old_months(ledger, files, campaign="usage", before=before, zone="UTC")]

    return ask


def test_they_are_found_in_the_ledger_and_in_files_the_oldest_first(found: Callable[[str], list[str]]) -> None:
    assert found("2029-12") == ["2029-10", "2029-11"]
    assert found("2030-01") == ["2029-10", "2029-11", "2029-12"]
    assert found("2029-10") == []


@pytest.mark.parametrize(("before", "reason"), [("2030-02", "later than 2030-01"), ("2029-W44", "is not a month")])
def test_what_is_mailed_now_is_refused(found: Callable[[str], list[str]], before: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        found(before)
