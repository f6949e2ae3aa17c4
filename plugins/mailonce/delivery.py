"""What the protocol speaks of: the delivery, the claim on it, the ledger's row of it, and the receipt."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mailonce.errors import InvalidInput
from mailonce.events import Event, Fate
from mailonce.keys import Identity
from mailonce.messages.message import Message
from mailonce.states import State
from mailonce.tokens import new_token, successor_of

_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_ENCODED = "b64_"
MAXIMUM_RECIPIENT_ID = 256
MAXIMUM_ERROR_LENGTH = 1000
"""Longer error texts are cut before they are stored: a provider may answer with a whole page."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One mail to deliver once.

    :param identity: which statement it is. :param key: what makes it one, see :mod:`mailonce.keys`.
    :param message: the rendered mail.
    :raises mailonce.errors.InvalidInput: campaign, period or edition cannot be a provider's tag.
    """

    identity: Identity
    key: str
    message: Message

    def __post_init__(self) -> None:
        identity = self.identity
        for name in ("campaign", "period", "edition"):
            if not _TAG.fullmatch(getattr(identity, name)):
                raise InvalidInput(
                    field=name,
                    reason=f"{getattr(identity, name)!r} cannot be a tag of a mail",
                    remedy="Use 1 to 256 ASCII letters, digits, hyphens and underscores",
                )
        if not 0 < len(identity.recipient_id) <= MAXIMUM_RECIPIENT_ID:
            raise InvalidInput(
                field="recipient_id",
                reason=f"must be 1 to {MAXIMUM_RECIPIENT_ID} characters long",
                remedy="Give every row the id that your product knows the customer by",
            )

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags that the mail carries, so that the provider's own events can be matched to the ledger."""
        identity = self.identity
        tags = {
            "mailonce_key": self.key,
            "mailonce_campaign": identity.campaign,
            "mailonce_period": identity.period,
            "mailonce_edition": identity.edition,
            # So that an event can tell whose mail it is to a ledger that was restored and has forgotten.
            "mailonce_recipient": as_tag(identity.recipient_id),
        }
        return {name: value for name, value in tags.items() if value}


@dataclass(frozen=True, kw_only=True)
class PlannedDelivery:
    """A delivery that was planned before and can be made again: enough to tell that nothing need be done for it.

    :param fingerprint: of its message, when it was planned. :param make: makes it, or raises InvalidInput.
    """

    key: str
    recipient_id: str
    fingerprint: str
    make: Callable[[], Delivery]

    def __call__(self) -> Delivery:
        return self.make()


def as_tag(text: str) -> str:
    """Return a text as the value of a tag; empty if it is too long for one. :func:`from_tag` reads it back."""
    if _TAG.fullmatch(text) and not text.startswith(_ENCODED):
        return text
    encoded = _ENCODED + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    return encoded if _TAG.fullmatch(encoded) else ""


def from_tag(value: str) -> str:
    """Return the text that :func:`as_tag` made a tag of.

    :raises ValueError: it did not make this one.
    """
    if not value.startswith(_ENCODED):
        return value
    encoded = value[len(_ENCODED) :]
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long each stage of a claim lasts.

    :param window: from the claim on, how long its owner may still sign a request. Afterwards others take the
        claim for abandoned.
    :param settle: from then on, how long a request that was signed in time may still be accepted. AWS refuses a
        signature older than 5 minutes, for some services 15 (AWS General Reference, "Signature Version 4");
        15 minutes and 5 for clocks that disagree.
    :param clock_tolerance: how far the worker's clock, which dates its signatures, may be ahead of the ledger's.
    :param record_patience: how long to keep trying to write down an answer while the ledger is away.
    :param retention: how long a finished row is kept; None: for ever. Once it is gone its key can be sent again.
    """

    window: timedelta = timedelta(seconds=60)
    settle: timedelta = timedelta(minutes=20)
    clock_tolerance: timedelta = timedelta(minutes=5)
    record_patience: timedelta = timedelta(minutes=3)
    retention: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A request to become the only sender of one delivery.

    :param by: who claims, for people: Dag run, task, try, process.
    :param token: names this claim and no other. A repeated write recognises its own token.
    """

    delivery: Delivery
    timing: Timing
    by: str
    token: str = field(default_factory=new_token)


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """A wish to ask the provider once more about a mail in doubt, under the same idempotency key.

    From then on the claim goes by the successor's name: whatever its former owner still comes to know can no longer free
    the key, for this asking may be accepted meanwhile.

    :param token: the claim's, as the row has it. :param by: who asks, for people.
    :param successor: takes its place. A repeated write recognises its own.
    """

    token: str
    by: str
    successor: str = ""
    note: str = "asks the provider once more, under the same idempotency key"

    def __post_init__(self) -> None:
        object.__setattr__(self, "successor", self.successor or successor_of(self.token))


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What the owner of a claim learned from the wire.

    :param message_id: the provider's, when it accepted. :param error: what it said, when it did not.
    """

    state: State
    message_id: str | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if self.state not in (State.SENT, State.RELEASED, State.REJECTED, State.IN_DOUBT):
            raise ValueError(f"the wire cannot teach {self.state.value}")
        if (self.state is State.SENT) != (self.message_id is not None):
            raise ValueError("a conclusion has a message id exactly when the mail was accepted")
        object.__setattr__(self, "error", self.error[:MAXIMUM_ERROR_LENGTH] if self.error else None)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person, or a policy that a person chose, makes of a delivery.

    :param state: SENT ("it was sent"), RELEASED or CANCELLED. :param by: who. :param reason: why.
    :param token: the claim that the decision is about; a newer claim is left alone. None: whichever it is.
    """

    state: State
    by: str
    reason: str
    token: str | None = None

    def __post_init__(self) -> None:
        if self.state not in (State.SENT, State.RELEASED, State.CANCELLED):
            raise ValueError("a decision is SENT, RELEASED or CANCELLED")
        if not self.by.strip() or not self.reason.strip():
            raise ValueError("a decision names who made it and why")


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Proof that the provider accepted a mail.

    :param evidence: where the proof comes from: ``answer``, ``event``, ``kept receipt``.
    """

    key: str
    message_id: str
    evidence: str = "answer"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the ledger, as it stands.

    :param read_at: the ledger's own clock at the moment of reading: the only clock that ages a claim.
    :param deadline_at: the claim's owner signs nothing after this moment.
    :param settled_at: nothing that the owner signed can be accepted after this moment.
    :param history: every change of state and every event, oldest first: ``at``, ``state``, ``by``, ``note``.
    :param fate: what became of the accepted mail, as far as the provider's events tell. :param fate_at: when, by the
        provider's clock. :param fate_detail: in the words of the event.
    :param event_ids: the events that are in the row already, see :attr:`mailonce.events.Event.id`.
    """

    key: str
    identity: Identity
    email: str
    state: State
    fingerprint: str
    attempt: int
    token: str | None
    claimed_by: str | None
    claimed_at: datetime | None
    deadline_at: datetime | None
    settled_at: datetime | None
    message_id: str | None
    duplicate_message_ids: tuple[str, ...]
    sent_at: datetime | None
    error: str | None
    history: tuple[Mapping[str, str | None], ...]
    read_at: datetime
    fate: Fate | None = None
    fate_at: datetime | None = None
    fate_detail: str | None = None
    event_ids: frozenset[str] = frozenset()

    def has_message(self, message_id: str) -> bool:
        """Whether the row knows of this acceptance."""
        return message_id == self.message_id or message_id in self.duplicate_message_ids

    def holds(self, event: Event) -> bool:
        """Whether the row tells all that the event tells, so that nothing need be written."""
        return self.has_message(event.message_id) and (event.fate is None or event.id in self.event_ids)

    @property
    def overdue(self) -> bool:
        """Whether the claim's owner is past the moment at which it could still sign."""
        return self.deadline_at is not None and self.read_at > self.deadline_at

    @property
    def settled(self) -> bool:
        """Whether no request of the claim can be accepted any more."""
        return self.settled_at is None or self.read_at > self.settled_at
