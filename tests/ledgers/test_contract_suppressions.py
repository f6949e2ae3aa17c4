"""What every ledger knows of the addresses that must not be mailed."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from mailonce.ledgers.base import Ledger
from mailonce.states import State
from mailonce.suppression import Suppression
from tests.fakes import make_delivery
from tests.ledgers.conftest import MakeLedger
from tests.ledgers.tools import at_once, drive

TODAY = datetime.now(timezone.utc)
HOUR = timedelta(hours=1)


def bounced(address: str = "ann@example.org", **changes: Any) -> Suppression:
    told = {"reason": "hard bounce (550)", "since": TODAY - HOUR, "by": "event Bounce", "key": make_delivery().key}
    return Suppression(address=address, **{**told, **changes})


def test_an_address_is_suppressed_once(make_ledger: MakeLedger) -> None:
    suppressions = make_ledger().suppressions
    assert suppressions.add(bounced()) is True
    assert suppressions.add(bounced()) is False
    assert make_ledger().suppressions.add(bounced(reason="complaint", since=TODAY)) is False
    assert list(suppressions.of(["ann@example.org"])) == [bounced()]
    assert list(suppressions.all()) == [bounced()]


def test_everything_of_it_comes_back(ledger: Ledger) -> None:
    by_hand = bounced("jörg@exämple.org", reason="Ünïcode " * 60, key=None, by="support", since=TODAY)
    ledger.suppressions.add(by_hand)
    ledger.suppressions.add(bounced())
    assert list(ledger.suppressions.of(["JÖRG@exämple.org"])) == [by_hand]
    assert {each.address: each for each in ledger.suppressions.all()} == {
        by_hand.address: by_hand,
        "ann@example.org": bounced(),
    }


def test_upper_and_lower_case_make_no_second_mailbox(ledger: Ledger) -> None:
    ledger.suppressions.add(bounced(" Ann@Example.ORG "))
    assert ledger.suppressions.add(bounced("ANN@example.org")) is False
    for spelling in ("ann@example.org", "Ann@Example.org", " ann@example.org\n"):
        assert [each.address for each in ledger.suppressions.of([spelling])] == ["ann@example.org"]
    assert ledger.suppressions.lift("aNN@example.org", by="support", reason="she asked") is not None
    assert list(ledger.suppressions.all()) == []


def test_nobody_is_suppressed_at_first(ledger: Ledger) -> None:
    assert list(ledger.suppressions.all()) == []
    assert list(ledger.suppressions.of([])) == []
    assert list(ledger.suppressions.of(["ann@example.org"])) == []
    assert ledger.suppressions.lift("ann@example.org", by="support", reason="she asked") is None


def test_what_is_lifted_is_told_and_gone(ledger: Ledger) -> None:
    ledger.suppressions.add(bounced())
    ledger.suppressions.add(bounced("bob@example.org"))
    assert ledger.suppressions.lift("ann@example.org", by="support", reason="mailbox mended") == bounced()
    assert ledger.suppressions.lift("ann@example.org", by="support", reason="mailbox mended") is None
    assert [each.address for each in ledger.suppressions.all()] == ["bob@example.org"]
    assert [each.address for each in ledger.suppressions.of(["ann@example.org", "bob@example.org"])] == [
        "bob@example.org"
    ]


@pytest.mark.parametrize("ahead", [-HOUR, HOUR], ids=["in the past", "by a clock ahead of ours"])
def test_what_happened_before_the_lifting_does_not_bring_it_back(ledger: Ledger, ahead: timedelta) -> None:
    ledger.suppressions.add(bounced(since=TODAY + ahead))
    ledger.suppressions.lift("ann@example.org", by="support", reason="mailbox mended")
    for since in (TODAY + ahead, TODAY - timedelta(days=400)):
        assert ledger.suppressions.add(bounced(since=since, reason="told late")) is False
    assert list(ledger.suppressions.of(["ann@example.org"])) == []
    assert list(ledger.suppressions.all()) == []


def test_what_happens_after_the_lifting_does(ledger: Ledger) -> None:
    again = bounced(since=TODAY + HOUR, reason="hard bounce, again", by="event Bounce", key=None)
    ledger.suppressions.add(bounced())
    ledger.suppressions.lift("ann@example.org", by="support", reason="mailbox mended")
    assert ledger.suppressions.add(again) is True
    assert ledger.suppressions.add(again) is False
    assert ledger.suppressions.add(bounced()) is False
    assert list(ledger.suppressions.of(["ann@example.org"])) == list(ledger.suppressions.all()) == [again]
    assert ledger.suppressions.lift("ann@example.org", by="support", reason="mended again") == again
    assert ledger.suppressions.add(again) is False


def test_any_number_of_addresses_is_asked_for(ledger: Ledger) -> None:
    held = {f"c{number}@example.org" for number in range(230)}
    for address in held:
        ledger.suppressions.add(bounced(address))
    asked = (
        address
        for pair in zip(sorted(held), (f"x{n}@example.org" for n in range(230)), strict=True)
        for address in pair
    )
    assert sorted(each.address for each in ledger.suppressions.of(asked)) == sorted(held)
    assert [each.address for each in ledger.suppressions.of(["c1@example.org", "C1@example.org"])] == ["c1@example.org"]
    assert sorted(each.address for each in ledger.suppressions.all()) == sorted(held)


def test_suppressions_may_be_changed_while_they_are_listed(ledger: Ledger) -> None:
    for number in range(5):
        ledger.suppressions.add(bounced(f"c{number}@example.org"))
    for each in ledger.suppressions.all():
        assert ledger.suppressions.lift(each.address, by="support", reason="all of them") == each
    assert list(ledger.suppressions.all()) == []


def test_deliveries_and_suppressions_keep_out_of_each_others_way(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    address = claim.delivery.message.to
    ledger.suppressions.add(bounced(address, key=claim.delivery.key))
    assert [entry.key for entry in ledger.of_month("usage", "2030-01")] == [claim.delivery.key]
    assert [entry.key for entry in ledger.of_address(address)] == [claim.delivery.key]
    assert [each.address for each in ledger.suppressions.all()] == [address.lower()]


def test_of_many_at_once_one_suppresses_and_one_lifts(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    ledger.prepare()
    for number in range(5):
        address = f"c{number}@example.org"
        tellings = [bounced(address, reason=f"told by {nth}") for nth in range(8)]
        added = at_once(pool, [functools.partial(ledger.suppressions.add, each) for each in tellings])
        assert added.count(True) == 1
        assert list(ledger.suppressions.of([address])) == [tellings[added.index(True)]]
        lift = functools.partial(ledger.suppressions.lift, address, by="support", reason="mended")
        lifted = at_once(pool, [lift] * 8)
        assert [each for each in lifted if each] == [tellings[added.index(True)]]
