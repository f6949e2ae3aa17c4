"""The life of one delivery: its states, and the moves between them that are allowed.

This table is the single source: the ledgers, the tests and the drawing in :mod:`mailonce.protocol` follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(str, Enum):
    """Where one delivery stands. The value is what both ledgers store."""

    SENDING = "SENDING"
    """Claimed by one worker, whose request may be on the wire: only the claim's owner may send."""

    SENT = "SENT"
    """The provider accepted it, and said so in an answer or an event; or a person said so, with a reason."""

    RELEASED = "RELEASED"
    """Proved not to have been accepted: may be claimed again at once."""

    REJECTED = "REJECTED"
    """Refused by the provider for good: the dead letter, kept by name until a person corrects and releases it."""

    IN_DOUBT = "IN_DOUBT"
    """Nobody knows whether the provider accepted it: held, and never sent again by itself."""

    CANCELLED = "CANCELLED"
    """A person decided, with a reason, that it shall not be sent."""


ALLOWED: Mapping[State | None, frozenset[State]] = {
    # None: the key has no row yet. An event may arrive for a row that a restored ledger has forgotten.
    None: frozenset({State.SENDING, State.SENT}),
    State.SENDING: frozenset({State.SENT, State.RELEASED, State.REJECTED, State.IN_DOUBT}),
    State.RELEASED: frozenset({State.SENDING, State.SENT, State.CANCELLED}),
    State.REJECTED: frozenset({State.RELEASED, State.CANCELLED, State.SENT}),
    State.IN_DOUBT: frozenset({State.SENT, State.RELEASED, State.REJECTED, State.CANCELLED}),
    State.CANCELLED: frozenset({State.SENT, State.RELEASED}),
    # Final. A second message id is recorded beside the first, as a measured duplicate; the state stays.
    State.SENT: frozenset(),
}
"""From each state, the states that may follow it. SENT may follow every state: late truth always wins."""


def may_follow(before: State | None, after: State) -> bool:
    """Tell whether a delivery in state ``before`` (None: no row) may move to ``after``."""
    return after in ALLOWED[before]
