"""How every ledger hands out slots: the same tests as :mod:`tests.test_rate` asks of the timetable, and races."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from mailonce.ledgers.base import Ledger
from mailonce.rate import RECOVERY, SLOWDOWN, SLOWEST, Reservation
from tests.ledgers.conftest import THREADS, MakeLedger
from tests.ledgers.tools import at_once

ACCOUNT = "aws_default eu-central-1"


@dataclass(frozen=True)
class Held:
    """Reserved slots, on this test's own clock."""

    first: float
    spacing: float
    slots: int

    @property
    def end(self) -> float:
        return self.first + self.slots * self.spacing


def reserve(ledger: Ledger, slots: int = 1, account: str = ACCOUNT) -> Held:
    reservation = ledger.rate.reserve(account, slots)
    assert reservation is not None
    return Held(time.monotonic() + reservation.wait, reservation.spacing, slots)


def spacing(ledger: Ledger) -> float:
    return reserve(ledger).spacing


def test_without_a_limit_nobody_waits_and_nothing_is_written(ledger: Ledger) -> None:
    for _ in range(2):
        assert ledger.rate.reserve(ACCOUNT, 5) is None
        ledger.rate.throttled(ACCOUNT)
    assert list(ledger.of_month("usage", "2030-01")) == []


def test_an_idle_account_waits_for_nothing(ledger: Ledger) -> None:
    ledger.rate.limit(ACCOUNT, 50)
    assert ledger.rate.reserve(ACCOUNT, 1) == Reservation(wait=0, spacing=0.02)
    time.sleep(0.1)
    assert ledger.rate.reserve(ACCOUNT, 1) == Reservation(wait=0, spacing=0.02)


@pytest.mark.parametrize("rate", [0.5, 14, 50, 300, 10_000])
def test_reservations_follow_each_other_without_a_gap(make_ledger: MakeLedger, rate: float) -> None:
    """The workers have clocks of their own; to the breadth of an answer's way they agree."""
    ledgers = [make_ledger(), make_ledger()]
    ledgers[0].rate.limit(ACCOUNT, rate)
    first = reserve(ledgers[0], slots=round(3 * rate) or 1)
    held = [reserve(ledgers[number % 2], slots) for number, slots in enumerate([1, 7, 1, 20])]
    for before, after in zip([first, *held], held, strict=False):
        assert after.first == pytest.approx(before.end, abs=0.1)
        assert after.spacing == pytest.approx(1 / rate, abs=1e-6)


def test_accounts_do_not_wait_for_each_other(ledger: Ledger) -> None:
    for account, rate in ((ACCOUNT, 1), ("other", 2)):
        ledger.rate.limit(account, rate)
    assert reserve(ledger, 100).spacing == 1
    answer = ledger.rate.reserve("other", 1)
    assert answer == Reservation(wait=0, spacing=0.5)
    assert ledger.rate.reserve("third", 1) is None


def test_throttled_slows_down_once_however_many_tell_it(make_ledger: MakeLedger, pool: ThreadPoolExecutor) -> None:
    ledgers = [make_ledger() for _ in range(8)]
    ledgers[0].rate.limit(ACCOUNT, 10)
    at_once(pool, [functools.partial(ledger.rate.throttled, ACCOUNT) for ledger in ledgers])
    # Each knows of it, whatever it knew before.
    for ledger in ledgers:
        assert 0.1 < spacing(ledger) <= 0.1 / SLOWDOWN + 1e-6
    assert spacing(ledgers[0]) == pytest.approx(0.1 / SLOWDOWN, rel=0.1)


def test_the_slower_pace_begins_behind_what_is_reserved_and_is_not_slowed_before(ledger: Ledger) -> None:
    ledger.rate.limit(ACCOUNT, 10)
    reserve(ledger, 30)
    time.sleep(0.01)
    ledger.rate.throttled(ACCOUNT)
    held = reserve(ledger)
    assert held.spacing == pytest.approx(0.1 / SLOWDOWN, abs=1e-5), "nothing is recovered yet, on its first slot"
    time.sleep(1.1)
    ledger.rate.throttled(ACCOUNT)
    assert spacing(ledger) == pytest.approx(0.1 / SLOWDOWN, rel=0.05), "those who complain had the old pace"


def test_it_slows_down_again_and_recovers(ledger: Ledger) -> None:
    ledger.rate.limit(ACCOUNT, 1000)
    for share in (SLOWDOWN, SLOWDOWN * (SLOWDOWN + 1.1 * RECOVERY)):
        ledger.rate.throttled(ACCOUNT)
        assert spacing(ledger) == pytest.approx(0.001 / share, rel=0.03)
        time.sleep(1.1)
    assert spacing(ledger) == pytest.approx(0.001 / (share + 1.1 * RECOVERY), rel=0.03)


def test_it_never_comes_to_a_stop(ledger: Ledger) -> None:
    """A timetable with slots far ahead is one of the future: each slowing there would have to wait for it."""
    ledger.rate.limit(ACCOUNT, 1)
    ledger.rate.throttled(ACCOUNT)
    assert SLOWEST < SLOWDOWN
    assert 1 <= spacing(ledger) <= 1 / SLOWEST


def test_another_rate_holds_from_the_next_reservation_on(make_ledger: MakeLedger) -> None:
    ledgers = [make_ledger(), make_ledger()]
    for rate in (10, 40, 40, 0.25):
        ledgers[0].rate.limit(ACCOUNT, rate)
        assert [spacing(ledger) for ledger in ledgers] == pytest.approx([1 / rate] * 2)


def test_nobody_waits_for_slots_that_were_reserved_at_a_snails_pace(ledger: Ledger) -> None:
    ledger.rate.limit(ACCOUNT, 0.01)
    reserve(ledger, 10)
    ledger.rate.limit(ACCOUNT, 100)
    held = reserve(ledger)
    assert 0 < held.first - time.monotonic() < 0.11
    ledger.rate.limit(ACCOUNT, 1)
    assert reserve(ledger).first - time.monotonic() < 0.2, "a lower rate moves nothing"


def test_the_same_limit_again_forgets_no_throttling(ledger: Ledger) -> None:
    ledger.rate.limit(ACCOUNT, 10)
    ledger.rate.throttled(ACCOUNT)
    ledger.rate.limit(ACCOUNT, 10)
    assert spacing(ledger) > 0.12


def test_timetables_are_no_deliveries_and_no_suppressions(ledger: Ledger) -> None:
    ledger.rate.limit(ACCOUNT, 10)
    ledger.epoch.read()
    assert list(ledger.find([ACCOUNT, f"ledger#rate#{ACCOUNT}"])) == []
    assert list(ledger.suppressions.all()) == []


def test_of_many_at_once_no_two_have_the_same_slot(make_ledger: MakeLedger, pool: ThreadPoolExecutor) -> None:
    """Whole seconds apart, so that the way of an answer hides nothing."""
    ledgers = [make_ledger() for _ in range(4)]
    ledgers[0].rate.limit(ACCOUNT, 2)
    begun = reserve(ledgers[0]).end
    works: list[Callable[[], Held]] = [
        functools.partial(reserve, ledgers[number % 4], 1 + number % 3) for number in range(THREADS)
    ]
    for _ in range(3):
        held = sorted(at_once(pool, works), key=lambda each: each.first)
        for each in held:
            assert each.first == pytest.approx(begun, abs=0.2)
            begun = each.end


def test_many_set_the_first_limit_at_once(make_ledger: MakeLedger, pool: ThreadPoolExecutor) -> None:
    ledgers = [make_ledger() for _ in range(8)]
    at_once(pool, [functools.partial(ledger.rate.limit, ACCOUNT, 10) for ledger in ledgers])
    assert spacing(ledgers[0]) == pytest.approx(0.1)


def test_limits_and_reservations_at_once(make_ledger: MakeLedger, pool: ThreadPoolExecutor) -> None:
    ledgers = [make_ledger() for _ in range(2)]
    ledgers[0].rate.limit(ACCOUNT, 100)
    works: list[Callable[[], object]] = [functools.partial(reserve, ledgers[0], 2) for _ in range(12)]
    works += [functools.partial(ledgers[1].rate.limit, ACCOUNT, rate) for rate in (200, 100, 200, 100)]
    works += [functools.partial(ledgers[1].rate.throttled, ACCOUNT)] * 4
    at_once(pool, works)
    assert 1 / 200 <= spacing(ledgers[0]) <= 1 / 100 / SLOWDOWN + 1e-6
