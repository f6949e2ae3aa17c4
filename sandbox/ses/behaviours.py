"""The ways in which the stand-in misbehaves, and who gets which, when."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from .errors import SesError, bad_request, daily_quota_exceeded, rate_exceeded, sending_paused
from .wire import Ending

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EVERYBODY = "*"


class Behaviour(str, Enum):
    """What becomes of one SendEmail request. Those named `accept_...` and `late_accept` keep the mail."""

    ACCEPT = "accept"
    """Accepted and answered: the normal case."""
    THROTTLE = "throttle"
    """Refused with 429 TooManyRequestsException "Maximum sending rate exceeded."."""
    DAILY_QUOTA = "daily_quota"
    """Refused with 429 TooManyRequestsException "Daily message quota exceeded."."""
    REJECT = "reject"
    """Refused with 400 MessageRejected."""
    BAD_REQUEST = "bad_request"
    """Refused with 400 BadRequestException."""
    PAUSED = "paused"
    """Refused with 400 SendingPausedException."""
    SUSPENDED = "suspended"
    """Refused with 400 AccountSuspendedException."""
    UNAVAILABLE_503 = "unavailable_503"
    """Not accepted, answered with 503 ServiceUnavailable."""
    DROP_BEFORE = "drop_before"
    """The request is read, the connection closed: not accepted, not answered."""
    RESET_BEFORE = "reset_before"
    """The request is read, the connection reset: not accepted, not answered."""
    ACCEPT_THEN_500 = "accept_then_500"
    """Accepted, but answered with 500 InternalFailure."""
    ACCEPT_THEN_HANG = "accept_then_hang"
    """Accepted, but not answered; the connection stays open for some seconds."""
    ACCEPT_THEN_RESET = "accept_then_reset"
    """Accepted, but the connection is reset instead of answered."""
    ACCEPT_THEN_DROP = "accept_then_drop"
    """Accepted, but the connection is closed instead of answered."""
    ACCEPT_THEN_TRUNCATE = "accept_then_truncate"
    """Accepted and answered with 200, but the connection closes halfway through the body."""
    ACCEPT_THEN_GARBLE = "accept_then_garble"
    """Accepted and answered with 200 and a complete body that is not readable JSON."""
    ACCEPT_SLOWLY = "accept_slowly"
    """Accepted at once, answered some seconds later."""
    LATE_ACCEPT = "late_accept"
    """The connection is closed without an answer, and the mail accepted some seconds later."""

    def after(self, seconds: float) -> Step:
        """The same behaviour with its own number of seconds."""
        return Step(self, seconds)


@dataclass(frozen=True)
class Step:
    """One behaviour, applied to one request. `seconds` None means the stand-in's setting."""

    behaviour: Behaviour
    seconds: float | None = None

    @classmethod
    def parse(cls, text: object) -> Step:
        """Read `accept`, or `accept_slowly:2.5` with a number of seconds. Raises ValueError or TypeError."""
        if isinstance(text, Step):
            return text
        if not isinstance(text, str):
            raise TypeError(f"a behaviour is a text, not {text!r}")
        if isinstance(text, Behaviour):
            return cls(text)
        name, _, seconds = text.partition(":")
        try:
            return cls(Behaviour(name), float(seconds) if seconds else None)
        except ValueError:
            known = ", ".join(behaviour.value for behaviour in Behaviour)
            raise ValueError(f"unknown behaviour {text!r}; known are {known}; seconds go after a colon") from None

    def __str__(self) -> str:
        return self.behaviour.value if self.seconds is None else f"{self.behaviour.value}:{self.seconds:g}"


AnyStep: TypeAlias = Step | Behaviour | str

REFUSALS: Mapping[Behaviour, SesError] = {
    Behaviour.THROTTLE: rate_exceeded(),
    Behaviour.DAILY_QUOTA: daily_quota_exceeded(),
    Behaviour.REJECT: SesError("MessageRejected", "The message was rejected: the stand-in was told to."),
    Behaviour.BAD_REQUEST: bad_request("The request was refused: the stand-in was told to."),
    Behaviour.PAUSED: sending_paused(),
    Behaviour.SUSPENDED: SesError(
        "AccountSuspendedException", "The account's ability to send email has been suspended."
    ),
    Behaviour.UNAVAILABLE_503: SesError("ServiceUnavailable", "The service is unavailable.", 503),
}

ENDINGS: Mapping[Behaviour, Ending] = {
    Behaviour.DROP_BEFORE: Ending.DROP,
    Behaviour.RESET_BEFORE: Ending.RESET,
    Behaviour.LATE_ACCEPT: Ending.DROP,
    Behaviour.ACCEPT_THEN_HANG: Ending.HANG,
    Behaviour.ACCEPT_THEN_RESET: Ending.RESET,
    Behaviour.ACCEPT_THEN_DROP: Ending.DROP,
    Behaviour.ACCEPT_THEN_TRUNCATE: Ending.TRUNCATE,
}

NEVER_ACCEPTED = frozenset({Behaviour.DROP_BEFORE, Behaviour.RESET_BEFORE})


class BehaviourBook:
    """Who gets which behaviours. Safe to use from several threads.

    A list is walked through once, one step a request, then everything is normal. A single behaviour in
    place of a list stays in force. The entry for "*" serves every recipient that has no entry of its
    own; each of them walks through its list separately, so that the outcome does not depend on which
    of two concurrent requests arrives first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lists: dict[str, tuple[Step, ...]] = {}
        self._standing: dict[str, Step] = {}
        self._position: dict[str, int] = {}

    def put(self, address: str, steps: AnyStep | Sequence[AnyStep]) -> None:
        """Replace the entry of an address (or of "*") and start it from its beginning."""
        self.put_all({address: steps})

    def put_all(self, entries: Mapping[str, AnyStep | Sequence[AnyStep]]) -> None:
        """Replace several entries. Raises ValueError or TypeError if one is wrong, and then changes none."""
        parsed = {address.strip().lower(): _parse_entry(steps) for address, steps in entries.items()}
        with self._lock:
            for name, entry in parsed.items():
                self._lists.pop(name, None)
                self._standing.pop(name, None)
                self._forget_positions(name)
                if isinstance(entry, Step):
                    self._standing[name] = entry
                else:
                    self._lists[name] = entry

    def clear(self) -> None:
        """Everything is normal again."""
        with self._lock:
            self._lists.clear()
            self._standing.clear()
            self._position.clear()

    def next_step(self, recipients: Sequence[str]) -> Step | None:
        """The step for one request; None if nothing was asked for. Uses it up.

        The first of the recipients that has an entry of its own decides, else the first of all.
        """
        with self._lock:
            if not self._lists and not self._standing:
                return None
            names = [recipient.lower() for recipient in recipients]
            owner = next((name for name in names if name in self._lists or name in self._standing), None)
            entry, walker = (owner, owner) if owner else (EVERYBODY, names[0])
            if entry in self._standing:
                return self._standing[entry]
            steps = self._lists.get(entry, ())
            position = self._position.get(walker, 0)
            if position >= len(steps):
                return None
            self._position[walker] = position + 1
            return steps[position]

    def remaining(self) -> dict[str, str | list[str]]:
        """What is still to come: lists without their used-up part ("*" in full), texts for what stays."""
        with self._lock:
            result: dict[str, str | list[str]] = {name: str(step) for name, step in self._standing.items()}
            for name, steps in self._lists.items():
                used = 0 if name == EVERYBODY else self._position.get(name, 0)
                result[name] = [str(step) for step in steps[used:]]
            return result

    def _forget_positions(self, name: str) -> None:
        if name == EVERYBODY:
            self._position = {key: value for key, value in self._position.items() if key in self._lists}
        else:
            self._position.pop(name, None)


def _parse_entry(steps: object) -> Step | tuple[Step, ...]:
    if isinstance(steps, (str, Step)):
        return Step.parse(steps)
    if not isinstance(steps, (list, tuple)):
        raise TypeError(f"behaviours are a text or a list of texts, not {steps!r}")
    return tuple(Step.parse(step) for step in steps)
