"""What a person may decide, and what is refused with a reason."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailonce.decisions import DecisionRefused, resolve
from mailonce.delivery import Conclusion, Decision, Timing
from mailonce.states import State
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeClock, make_claim, make_delivery

DELIVERY = make_delivery()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock) -> MemoryLedger:
    return MemoryLedger(clock.now)


def decision(state: State) -> Decision:
    return Decision(state=state, by="support", reason="looked at the provider's log")


def stands(ledger: MemoryLedger, state: State) -> None:
    """Bring the delivery into a state, as the protocol would."""
    claim = make_claim(DELIVERY)
    ledger.claim(claim)
    details = {"message_id": "m-1"} if state is State.SENT else {"error": "said so"}
    if state is State.CANCELLED:
        ledger.conclude(DELIVERY.key, claim.token, Conclusion(state=State.IN_DOUBT, error="?"))
        ledger.decide(DELIVERY.key, decision(State.CANCELLED))
    elif state is not State.SENDING:
        ledger.conclude(DELIVERY.key, claim.token, Conclusion(state=state, **details))


ALLOWED = {
    (State.IN_DOUBT, State.SENT), (State.IN_DOUBT, State.RELEASED), (State.IN_DOUBT, State.CANCELLED),
    (State.REJECTED, State.RELEASED), (State.REJECTED, State.CANCELLED),
    (State.RELEASED, State.CANCELLED), (State.CANCELLED, State.RELEASED),
}  # fmt: skip


@pytest.mark.parametrize("wanted", [State.SENT, State.RELEASED, State.CANCELLED])
@pytest.mark.parametrize("before", State)
def test_every_state_and_every_decision(ledger: MemoryLedger, clock: FakeClock, before: State, wanted: State) -> None:
    stands(ledger, before)
    timing = Timing()
    if before is not State.SENDING:
        clock.advance(timing.window + timing.settle + timedelta(seconds=1))
    if (before, wanted) in ALLOWED:
        entry = resolve(ledger, DELIVERY.key, decision(wanted))
        assert entry.state is wanted
        assert entry.history[-1]["by"] == "support"
    else:
        with pytest.raises(DecisionRefused, match=f"is {before.value}"):
            resolve(ledger, DELIVERY.key, decision(wanted))
        assert next(iter(ledger.find([DELIVERY.key]))).state is before


@pytest.mark.parametrize("before", [State.IN_DOUBT, State.CANCELLED])
def test_released_only_once_settled_and_the_refusal_says_when(ledger: MemoryLedger, before: State) -> None:
    stands(ledger, before)
    (entry,) = ledger.find([DELIVERY.key])
    with pytest.raises(DecisionRefused, match=f"until {entry.settled_at:%Y-%m-%d %H:%M:%S} UTC"):
        resolve(ledger, DELIVERY.key, decision(State.RELEASED))


def test_a_claim_that_nobody_came_back_to_is_in_doubt_first(ledger: MemoryLedger, clock: FakeClock) -> None:
    stands(ledger, State.SENDING)
    clock.advance(Timing().window + timedelta(seconds=1))
    assert resolve(ledger, DELIVERY.key, decision(State.SENT)).state is State.SENT
    (entry,) = ledger.find([DELIVERY.key])
    assert [move["state"] for move in entry.history] == ["SENDING", "IN_DOUBT", "SENT"]


def test_what_the_ledger_does_not_know(ledger: MemoryLedger) -> None:
    with pytest.raises(DecisionRefused, match="no delivery with key"):
        resolve(ledger, "f" * 64, decision(State.SENT))
