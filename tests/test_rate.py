"""The timetable: whatever happens in whatever order, slots are evenly spaced, and nobody has another's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.rate import FORBEARANCE, RECOVERY, SLOWDOWN, SLOWEST, Timetable

NOON = datetime(2030, 2, 1, 12, tzinfo=timezone.utc)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def new(rate: float = 10) -> Timetable:
    return Timetable.new(rate, NOON)


def test_an_idle_account_begins_at_once_and_saves_no_slots_up() -> None:
    later = NOON + timedelta(hours=1)
    assert new().reserved(5, later).free_from == later + seconds(0.5)


def test_whoever_comes_second_begins_where_the_first_ends() -> None:
    table = new().reserved(5, NOON).reserved(3, NOON + seconds(0.1))
    assert table.free_from == NOON + seconds(0.8)


def test_one_throttling_costs_a_share_and_comes_back_in_time() -> None:
    table = new().throttled(NOON)
    assert table.spacing(NOON) == seconds(0.1) / SLOWDOWN
    recovered = NOON + seconds((1 - SLOWDOWN) / RECOVERY)
    assert table.spacing(recovered - seconds(1)) > seconds(0.1)
    assert table.spacing(recovered) == table.spacing(recovered + timedelta(days=9)) == seconds(0.1)


def test_throttled_again_counts_once_a_second_and_only_behind_what_had_the_old_pace() -> None:
    table = new().reserved(20, NOON).throttled(NOON)
    begins = NOON + seconds(2)
    assert table.slower_from == begins
    for moment in (NOON, begins, begins + FORBEARANCE - seconds(0.001)):
        assert table.throttled(moment) is table
    assert table.throttled(begins + FORBEARANCE).share == pytest.approx(SLOWDOWN * (SLOWDOWN + RECOVERY))


def test_it_never_comes_to_a_stop() -> None:
    table, now = new(), NOON
    for _ in range(50):
        table, now = table.throttled(now), now + FORBEARANCE
    assert table.share == SLOWEST


def test_another_rate_keeps_the_share_and_shrinks_what_is_reserved() -> None:
    table = new(1).throttled(NOON).reserved(10, NOON)
    faster = table.limited(10, NOON)
    assert (faster.share, faster.maximum) == (SLOWDOWN, 10)
    assert faster.free_from - NOON == (table.free_from - NOON) / 10
    assert table.limited(0.5, NOON) == replace(table, maximum=0.5)


# What may happen: seconds pass, somebody reserves with a clock that is off, a mail is throttled.
HAPPENINGS = st.lists(
    st.tuples(
        st.floats(0, 3),
        st.one_of(st.just(0), st.integers(1, 40)),
        st.floats(-2, 2),
    ),
    max_size=60,
)


def slots_of(happenings: list[tuple[float, int, float]], rate: float) -> Iterator[list[float]]:
    """Yield the slots of each reservation, as seconds since noon on the timetable; 0 slots: a throttling."""
    table, true = new(rate), NOON
    for passed, slots, skew in happenings:
        true += seconds(passed)
        now = true + seconds(skew)
        if slots == 0:
            table = table.throttled(now)
            continue
        after = table.reserved(slots, now)
        spacing = (after.free_from - max(now, table.free_from)) / slots
        first = after.free_from - slots * spacing
        yield [(first + number * spacing - NOON).total_seconds() for number in range(slots)]
        table = after


@given(HAPPENINGS, st.sampled_from([0.2, 1, 14, 50, 999]))
def test_whoever_reserves_dies_or_has_a_wrong_clock_no_two_slots_are_closer_than_the_rate_allows(
    happenings: list[tuple[float, int, float]], rate: float
) -> None:
    slots = [slot for reservation in slots_of(happenings, rate) for slot in reservation]
    assert all(after - before >= 1 / rate - 1e-5 for before, after in itertools.pairwise(slots))
    # The same in the words of the limit: in any stretch of time, no more than the rate allows, and one.
    for begin in range(0, len(slots), 7):
        stretch = slots[-1] - slots[begin]
        assert len(slots) - begin <= rate * stretch * (1 + 1e-4) + 1.001


@given(HAPPENINGS, st.sampled_from([1, 50]))
def test_a_rate_is_used_up_as_long_as_somebody_asks(happenings: list[tuple[float, int, float]], rate: float) -> None:
    """Without throttling: the slots of those who come while some are reserved follow without a gap."""
    calm = [(0.0, slots, 0.0) for _, slots, _ in happenings if slots]
    slots = [slot for reservation in slots_of(calm, rate) for slot in reservation]
    assert slots == pytest.approx([number / rate for number in range(len(slots))], abs=1e-3)
