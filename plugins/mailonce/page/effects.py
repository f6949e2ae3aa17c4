"""What each decision would do to a delivery, in words, before anybody takes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from mailonce.decisions import obstacle
from mailonce.delivery import Entry
from mailonce.states import State


class Choice(str, Enum):
    """A decision, as the page's addresses name it."""

    SENT = "sent"
    RELEASE = "release"
    CANCEL = "cancel"

    @property
    def state(self) -> State:
        """What the delivery becomes."""
        return {Choice.SENT: State.SENT, Choice.RELEASE: State.RELEASED, Choice.CANCEL: State.CANCELLED}[self]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one decision would do.

    :param title: of its button. :param meaning: sentences, for who decides. :param risky: whether it may send a mail
        twice, or leave somebody without. :param obstacle: why it cannot be taken now; empty: it can.
    """

    choice: Choice
    title: str
    meaning: tuple[str, ...]
    risky: bool
    obstacle: str


_OFFERED: dict[State, Sequence[Choice]] = {
    State.IN_DOUBT: (Choice.SENT, Choice.RELEASE, Choice.CANCEL),
    State.REJECTED: (Choice.RELEASE, Choice.CANCEL),
    State.RELEASED: (Choice.CANCEL,),
    State.CANCELLED: (Choice.RELEASE,),
}


def effects_of(entry: Entry) -> tuple[Effect, ...]:
    """Return the decisions that make sense for a delivery, those that must wait included."""
    return tuple(effect_of(entry, choice) for choice in _OFFERED.get(entry.state, ()))


def effect_of(entry: Entry, choice: Choice) -> Effect:
    """Return what one decision would do."""
    return Effect(
        choice=choice,
        title=_title(entry.state, choice),
        meaning=_meaning(entry.state, choice),
        risky=entry.state is State.IN_DOUBT or (entry.state is State.CANCELLED and choice is Choice.RELEASE),
        obstacle=_capital(obstacle(entry, choice.state)),
    )


def version_of(entry: Entry) -> str:
    """Return what tells this standing of a row from every other: a decision is about what was shown, or about nothing.

    A digest, so that the claim's token itself stands in no page.
    """
    standing = f"{entry.state.value}\n{entry.attempt}\n{entry.token}\n{len(entry.history)}"
    return hashlib.sha256(standing.encode()).hexdigest()[:32]


def _title(state: State, choice: Choice) -> str:
    if choice is Choice.SENT:
        return "It was sent"
    if choice is Choice.CANCEL:
        return "Cancel"
    return "Try again" if state is State.REJECTED else "Release"


def _meaning(state: State, choice: Choice) -> tuple[str, ...]:
    match choice:
        case Choice.SENT:
            return (
                "The ledger will say that the provider accepted this mail, because you say so.",
                "It is never sent again. If it was not accepted after all, this customer has no statement.",
                "Say so only after you found it at the provider, or with the customer.",
            )
        case Choice.CANCEL:
            return (
                "This mail is not sent, by no run, until somebody releases it.",
                *(
                    ("It may have gone out already: nobody knows. Cancelling does not call it back.",)
                    if state is State.IN_DOUBT
                    else ()
                ),
            )
        case Choice.RELEASE:
            return (
                "This mail may be sent again: the next run of the month, or its task when it is cleared, sends it.",
                {
                    State.IN_DOUBT: "If the provider did accept the first one, this customer gets the statement twice.",
                    State.CANCELLED: "If it had gone out before it was cancelled, this customer gets it twice.",
                }.get(state, "The provider refused it, so there is no first one: this cannot make a second copy."),
                *(
                    ("Correct what it was refused for first, or it is refused again.",)
                    if state is State.REJECTED
                    else ()
                ),
                "Nothing is sent by this decision alone.",
            )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
