"""What a person decides about one delivery, and what stands in the way of it."""

from __future__ import annotations

from mailonce.delivery import Decision, Entry
from mailonce.errors import MailonceError
from mailonce.ledgers.base import Ledger
from mailonce.protocol import abandon
from mailonce.states import State, may_follow


class DecisionRefused(MailonceError):
    """The decision was not written, and the delivery stands as it did; says why, and when it may be."""


def resolve(ledger: Ledger, key: str, decision: Decision) -> Entry:
    """Write a person's decision.

    :param key: the delivery's key. :param decision: with a token, it is about that claim and no later one.
    :return: the row as it now stands.
    :raises DecisionRefused: there is no such delivery, or it is not in a state in which this can be decided.
    """
    entry = next(ledger.find([key]), None)
    if entry is None:
        raise DecisionRefused(f"the ledger has no delivery with key {key}.")
    # Nobody may have come by since its sender vanished; what the next task would do is done here.
    entry = abandon(entry, ledger)
    if decision.token is not None and decision.token != entry.token:
        raise DecisionRefused(f"{entry.identity.recipient_id} was claimed anew since it was looked at: look again.")
    if reason := obstacle(entry, decision.state):
        raise DecisionRefused(f"{entry.identity.recipient_id} is {entry.state.value}: {reason}")
    after = ledger.decide(key, Decision(**{**vars(decision), "token": entry.token}))
    if after is None or after.state is not decision.state:
        raise DecisionRefused(f"{entry.identity.recipient_id} changed at this moment: look again, then decide.")
    return after


def obstacle(entry: Entry, wanted: State) -> str:
    """Return why a row as it stands cannot become what is wanted now; empty if it can."""
    if entry.state is State.SENDING:
        return "it is being sent right now. Wait for its deadline, then decide."
    if entry.state is wanted:
        return "that is what it is already."
    if wanted is State.SENT and entry.state is not State.IN_DOUBT:
        return "only what is in doubt can be declared sent."
    if not may_follow(entry.state, wanted):
        return f"it cannot become {wanted.value}."
    if wanted is State.RELEASED and entry.state in (State.IN_DOUBT, State.CANCELLED) and not entry.settled:
        return (
            f"its last request may still be accepted until {entry.settled_at:%Y-%m-%d %H:%M:%S} UTC, so releasing it "
            "now could send it twice. Release it after that."
        )
    return ""
