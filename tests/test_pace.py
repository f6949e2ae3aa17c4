"""The pace of one process, and of many that share a ledger, on a clock that only tests move."""

from __future__ import annotations

import heapq
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.errors import LedgerUnavailable, NeverLeft
from mailonce.pace import AHEAD, LATE, NO_LIMIT_SECONDS, PAUSE, Pace
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeClock

ACCOUNT = "aws_default"


class World:
    """A ledger, and workers that live by one clock. Sleeping moves it."""

    def __init__(self, rate: float | None = 50) -> None:
        self.clock = FakeClock()
        self.begun = self.clock.seconds()
        self.ledger = MemoryLedger(self.clock.now)
        if rate:
            self.ledger.rate.limit(ACCOUNT, rate)
        self.ledger.calls.clear()

    def pace(self) -> Pace:
        return Pace(self.ledger.rate, ACCOUNT, clock=self.clock.seconds, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @property
    def now(self) -> float:
        return self.clock.seconds() - self.begun


def passing(world: World, pace: Pace, count: int, *, busy: float = 0) -> list[float]:
    """The moments at which so many mails pass, if each keeps its only thread busy for so long."""
    moments = []
    for _ in range(count):
        pace.wait()
        moments.append(world.now)
        world.sleep(busy)
    return moments


def test_mails_pass_one_a_slot() -> None:
    world = World(50)
    assert passing(world, world.pace(), 100) == pytest.approx([number / 50 for number in range(100)], abs=1e-3)


@pytest.mark.parametrize(("rate", "calls"), [(50, 102), (1000, 20), (1, 500)])
def test_slots_are_reserved_in_bulk_a_tenth_of_a_second_at_once(rate: float, calls: int) -> None:
    world = World(rate)
    passing(world, world.pace(), 500)
    assert len(world.ledger.calls) <= calls
    reserved = world.ledger.rate.timetables[ACCOUNT].free_from - world.clock.now()
    assert reserved <= timedelta(seconds=AHEAD + 1 / rate), "a worker that dies here wastes no more"


def test_nobody_asks_for_more_than_it_uses() -> None:
    """One thread whose mails take half a second each, where 50 a second are allowed: the others get the rest."""
    world = World(50)
    slow = world.pace()
    passing(world, slow, 10, busy=0.5)
    world.ledger.calls.clear()
    begun = world.now
    passing(world, slow, 60, busy=0.5)
    assert world.now - begun == pytest.approx(30, abs=2), "it is not held up"
    assert 50 <= world.ledger.calls.count("rate.reserve") <= 60, "one slot at a time, now and then two"


def test_slots_whose_moment_is_long_past_are_not_used_up_in_one_burst() -> None:
    world = World(50)
    pace = world.pace()
    passing(world, pace, 15)
    world.sleep(3600)
    moments = passing(world, pace, 50)
    assert moments[49] - moments[0] >= 49 / 50 - LATE - 1e-3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.sampled_from([5, 50, 200]), st.integers(0, 200))
def test_many_workers_together_stay_within_the_rate_whenever_one_dies(
    busy: list[float], rate: float, dies_after: int
) -> None:
    """Each worker is one thread, busy with each mail for its own time; one of them is killed and holds its slots."""
    world = World(rate)
    moments: list[float] = []
    # Each worker's next arrival at its pace; on one clock, so a worker that sleeps is one that comes later.
    paces = [world.pace() for _ in busy]
    arrivals = [(0.0, number) for number in range(len(busy))]
    for _ in range(120):
        at, number = heapq.heappop(arrivals)
        if len(moments) == dies_after and number == 0 and len(busy) > 1:
            continue
        world.sleep(max(0.0, at - world.now))
        slot = max(world.now, paces[number]._next_slot(world.ledger.rate) - world.begun)
        moments.append(slot)
        heapq.heappush(arrivals, (slot + busy[number], number))
    moments.sort()
    for begin in range(0, len(moments), 5):
        for end in range(begin, len(moments), 9):
            allowed = rate * (moments[end] - moments[begin] + LATE) + 1.001
            assert end - begin + 1 <= allowed + 1e-3 * rate


def test_without_a_store_and_without_a_limit_nobody_waits() -> None:
    world = World(None)
    alone = Pace()
    assert (alone.governed, world.pace().governed) == (False, True)
    for pace in (alone, world.pace()):
        passing(world, pace, 1000)
        pace.throttled()
    assert world.now == 0
    assert world.ledger.calls == ["rate.reserve"], "asked once in a while, not once a mail"


def test_a_limit_that_is_set_later_is_found() -> None:
    world = World(None)
    pace = world.pace()
    passing(world, pace, 10)
    world.ledger.rate.limit(ACCOUNT, 1)
    world.sleep(NO_LIMIT_SECONDS)
    moments = passing(world, pace, 3)
    assert moments[2] - moments[0] == pytest.approx(2)


def test_throttled_without_a_limit_pauses_this_process() -> None:
    world = World(None)
    pace = world.pace()
    passing(world, pace, 3)
    pace.throttled()
    assert passing(world, pace, 2) == pytest.approx([PAUSE, PAUSE])


def test_throttled_slows_all_down_and_a_process_tells_it_once_a_second() -> None:
    world = World(50)
    pace, other = world.pace(), world.pace()
    passing(world, pace, 20)
    world.ledger.calls.clear()
    for _ in range(8):
        pace.throttled()
    assert world.ledger.calls == ["rate.throttled"]
    moments = passing(world, other, 60)
    assert 50 * 0.7 < 59 / (moments[-1] - moments[0]) < 50 * 0.75
    world.sleep(1)
    pace.throttled()
    assert world.ledger.calls.count("rate.throttled") == 2


def test_a_ledger_that_is_away_is_said_and_the_next_may_try() -> None:
    world = World(50)
    pace = world.pace()
    world.ledger.fail_next = "after"
    with pytest.raises(LedgerUnavailable):
        pace.wait()
    pace.wait()


class TestWithThreads:
    @pytest.fixture
    def ledger(self) -> MemoryLedger:
        return MemoryLedger()

    def test_each_slot_goes_to_one_thread(self, ledger: MemoryLedger) -> None:
        ledger.rate.limit(ACCOUNT, 200)
        paces = [Pace(ledger.rate, ACCOUNT) for _ in range(3)]

        def pass_one(number: int) -> float:
            paces[number % 3].wait()
            return time.monotonic()

        with ThreadPoolExecutor(24) as pool:
            moments = sorted(pool.map(pass_one, range(200)))
        assert moments[-1] - moments[0] > 1 - LATE - 0.01

    def test_stopping_wakes_everybody_who_waits(self, ledger: MemoryLedger) -> None:
        ledger.rate.limit(ACCOUNT, 0.01)
        pace = Pace(ledger.rate, ACCOUNT)
        pace.wait()
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(pace.wait) for _ in range(8)]
            time.sleep(0.1)
            assert not any(each.done() for each in waiting)
            pace.stop()
            for each in waiting:
                with pytest.raises(NeverLeft, match="stopped while this mail waited"):
                    each.result(timeout=30)
        assert ledger.calls.count("rate.reserve") == 2, "nobody reserves slots that nobody will use"

    def test_who_is_interrupted_while_waiting_lets_the_next_one_in(self, ledger: MemoryLedger) -> None:
        ledger.rate.limit(ACCOUNT, 20)
        told = threading.Event()

        def interrupted(_seconds: float) -> None:
            if not told.is_set():
                told.set()
                raise KeyboardInterrupt

        pace = Pace(ledger.rate, ACCOUNT, sleep=interrupted)
        with pytest.raises(KeyboardInterrupt):
            pace.wait()
        pace.wait()
