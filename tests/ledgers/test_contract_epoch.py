"""How every ledger knows which one it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from mailonce.epoch import Epoch
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from tests.ledgers.conftest import MakeLedger
from tests.ledgers.tools import NOON, at_once, drive


def gist(epoch: Epoch) -> Epoch:
    """Everything of it but the moment of reading."""
    return replace(epoch, read_at=NOON)


def test_it_is_made_on_first_use_and_stays(make_ledger: MakeLedger) -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=3)
    first = make_ledger().epoch.read()
    assert (first.runs, first.events_drained_at, first.moved) == (0, None, False)
    assert first.id
    assert first.home
    assert before < first.read_at < before + timedelta(minutes=1)
    ledger = make_ledger()
    drive(ledger, State.SENT, "C-1")
    assert gist(ledger.epoch.read()) == gist(first)


@pytest.mark.parametrize("first", ["advance", "drained", "adopt"])
def test_any_use_may_be_the_first(ledger: Ledger, first: str) -> None:
    uses = {
        "advance": ledger.epoch.advance,
        "drained": lambda: ledger.epoch.drained(NOON),
        "adopt": lambda: ledger.epoch.adopt(by="support", reason="restored"),
    }
    uses[first]()
    epoch = ledger.epoch.read()
    assert (epoch.runs, epoch.events_drained_at) == (int(first == "advance"), NOON if first == "drained" else None)
    assert not epoch.moved


def test_runs_are_counted(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    first = ledger.epoch.read()
    assert [make_ledger().epoch.advance().runs for _ in range(3)] == [1, 2, 3]
    assert gist(ledger.epoch.read()) == gist(replace(first, runs=3))


def test_what_is_drained_never_goes_back(ledger: Ledger) -> None:
    later = NOON + timedelta(microseconds=1)
    for moment, stands in ((NOON, NOON), (later, later), (NOON - timedelta(days=400), later), (later, later)):
        ledger.epoch.drained(moment)
        assert ledger.epoch.read().events_drained_at == stands


def test_an_adopted_ledger_is_a_new_one_that_knows_what_the_old_one_knew(ledger: Ledger) -> None:
    ledger.epoch.advance()
    ledger.epoch.drained(NOON)
    before = ledger.epoch.read()
    after = ledger.epoch.adopt(by="support", reason="restored from a backup")
    assert after.id != before.id
    assert gist(after) == gist(replace(before, id=after.id))
    assert gist(ledger.epoch.read()) == gist(after)
    assert ledger.epoch.adopt(by="support", reason="and again").id not in (before.id, after.id)


def test_the_epoch_is_no_delivery_and_no_suppression(ledger: Ledger) -> None:
    ledger.epoch.advance()
    assert list(ledger.of_month("usage", "2030-01")) == []
    assert list(ledger.suppressions.all()) == []


def test_many_at_once_make_one_epoch_and_no_count_is_lost(make_ledger: MakeLedger, pool: ThreadPoolExecutor) -> None:
    ledgers = [make_ledger() for _ in range(8)]
    epochs = at_once(pool, [ledger.epoch.advance for ledger in ledgers])
    assert len({epoch.id for epoch in epochs}) == 1
    assert sorted(epoch.runs for epoch in epochs) == list(range(1, 9))
