"""What the tests of ledgers share: bringing a row into a state, and looking at what became of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import TypeVar

from mailonce.delivery import Claim, Conclusion, Decision, Entry, Timing
from mailonce.events import Event, EventKind
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from tests.fakes import make_claim, make_delivery

ZERO = timedelta(0)
SETTLED_AT_ONCE = Timing(window=ZERO, settle=ZERO)
FORGOTTEN_AT_ONCE = Timing(retention=timedelta(seconds=-1))

SENT = Conclusion(state=State.SENT, message_id="m-1")
RELEASED = Conclusion(state=State.RELEASED, error="slow down")
REJECTED = Conclusion(state=State.REJECTED, error="no such address")
IN_DOUBT = Conclusion(state=State.IN_DOUBT, error="no answer")

ROUNDS = int(os.environ.get("MAILONCE_RACE_ROUNDS", "40"))
"""How often each race is run: 40 for every day, 1000 before a release."""

Answer = TypeVar("Answer")

NOON = datetime(2030, 2, 1, 12, tzinfo=timezone.utc)


def decision(state: State, token: str | None = None) -> Decision:
    return Decision(state=state, by="support", reason=f"I looked: {state.value}", token=token)


def make_event(claim: Claim, kind: EventKind, message_id: str = "m-1", *, known: bool = False, **changes) -> Event:
    """Return an event about a claim's mail. ``known``: its tags tell whose mail it is."""
    delivery = claim.delivery
    told = {"at": NOON, "address": delivery.message.to, "identity": delivery.identity if known else None, **changes}
    return Event(kind=kind, key=delivery.key, message_id=message_id, **told)


def drive(ledger: Ledger, state: State | None, recipient_id: str, timing: Timing = SETTLED_AT_ONCE) -> Claim:
    """Bring a fresh row into a state, and return the claim that it went through (None: no row at all)."""
    claim = make_claim(make_delivery(recipient_id), timing=timing)
    if state is None:
        return claim
    ledger.claim(claim)
    ends = {State.SENT: SENT, State.RELEASED: RELEASED, State.REJECTED: REJECTED, State.IN_DOUBT: IN_DOUBT}
    if state in ends:
        ledger.conclude(claim.delivery.key, claim.token, ends[state])
    elif state is State.CANCELLED:
        ledger.conclude(claim.delivery.key, claim.token, IN_DOUBT)
        ledger.decide(claim.delivery.key, decision(State.CANCELLED))
    assert look(ledger, claim).state is state
    return claim


def look(ledger: Ledger, claim: Claim) -> Entry:
    (entry,) = ledger.find([claim.delivery.key])
    return entry


def gist(entry: Entry | None) -> object:
    """Everything of a row but the moment of reading."""
    return entry and {**vars(entry), "read_at": None}


def states_told(entry: Entry) -> list[tuple[str | None, str | None, str | None]]:
    return [(line["state"], line["by"], line["note"]) for line in entry.history]


def at_once(pool: ThreadPoolExecutor, works: list[Callable[[], Answer]]) -> list[Answer]:
    """Start all at the same moment; return their answers in order."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], Answer]) -> Answer:
        start.wait()
        return work()

    return list(pool.map(run, works))
