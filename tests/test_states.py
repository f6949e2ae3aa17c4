"""The table of states: what can be reached, and what is final."""

from __future__ import annotations

import pytest

from mailonce.delivery import Conclusion
from mailonce.states import ALLOWED, State, may_follow


def reachable(start: State | None) -> set[State]:
    found: set[State] = set()
    frontier = set(ALLOWED[start])
    while frontier:
        found |= frontier
        frontier = {after for state in frontier for after in ALLOWED[state]} - found
    return found


def test_every_state_has_its_line() -> None:
    assert set(ALLOWED) == {None, *State}


@pytest.mark.parametrize("state", [None, *State])
def test_late_truth_can_always_win(state: State | None) -> None:
    """In one step, not only by way of others: an event must never have to wait for a decision."""
    assert state is State.SENT or may_follow(state, State.SENT)


def test_sent_is_final_and_nothing_else_is() -> None:
    assert [state for state in State if not ALLOWED[state]] == [State.SENT]


def test_every_state_is_reached_from_nothing() -> None:
    assert reachable(None) == set(State)


def test_only_a_free_key_is_claimed() -> None:
    assert {before for before in ALLOWED if may_follow(before, State.SENDING)} == {None, State.RELEASED}


def test_doubt_comes_only_from_sending() -> None:
    """A mail that was refused, cancelled or never asked for is in no doubt."""
    assert {before for before in ALLOWED if may_follow(before, State.IN_DOUBT)} == {State.SENDING}


def test_no_state_follows_itself() -> None:
    assert not any(may_follow(state, state) for state in State)


def test_the_value_is_the_name_that_is_stored() -> None:
    assert [state.value for state in State] == [state.name for state in State]


@pytest.mark.parametrize("state", [State.SENDING, State.CANCELLED])
def test_the_wire_teaches_nobody_what_only_a_claim_or_a_person_can_say(state: State) -> None:
    with pytest.raises(ValueError, match=state.value):
        Conclusion(state=state)
