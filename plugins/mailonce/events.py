"""What the provider's events tell about a mail, in the ledger's own terms. How they arrive is the providers' business.

What became of a mail is a maximum: each event names a fate, and the highest that was ever told stands. A maximum
does not care about order or repetition, and neither may we: queues give out of order, and more than once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum

from mailonce.keys import Identity

MAXIMUM_DETAIL_LENGTH = 500
"""Longer texts are cut before they are stored: a receiving server may answer with a whole page."""


class EventKind(str, Enum):
    """What happened. Each of them proves that the provider had accepted the mail."""

    SEND = "Send"
    DELIVERY_DELAY = "DeliveryDelay"
    DELIVERY = "Delivery"
    BOUNCE = "Bounce"
    REJECT = "Reject"
    RENDERING_FAILURE = "RenderingFailure"
    COMPLAINT = "Complaint"


class Fate(str, Enum):
    """What became of a mail after the provider accepted it; a later member outranks those before it."""

    DELAYED = "DELAYED"
    """The recipient's server is not taking it yet; the provider goes on trying."""

    DELIVERED = "DELIVERED"
    """The recipient's server took it."""

    BOUNCED = "BOUNCED"
    """The recipient's server refused it, or gave it back after taking it."""

    DROPPED = "DROPPED"
    """The provider itself dropped it after accepting it: a virus, or a stored template that could not be rendered."""

    COMPLAINED = "COMPLAINED"
    """The recipient called it spam."""

    @property
    def rank(self) -> int:
        """Where it stands among the fates, from 1 on."""
        return list(Fate).index(self) + 1


_FATES = {
    EventKind.DELIVERY_DELAY: Fate.DELAYED,
    EventKind.DELIVERY: Fate.DELIVERED,
    EventKind.BOUNCE: Fate.BOUNCED,
    EventKind.REJECT: Fate.DROPPED,
    EventKind.RENDERING_FAILURE: Fate.DROPPED,
    EventKind.COMPLAINT: Fate.COMPLAINED,
}


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event about one mail.

    :param key: the delivery's key, which the mail carried as a tag.
    :param message_id: the provider's. :param at: the provider's clock.
    :param detail: the provider's or the receiving server's own words, if any.
    :param address: whom the mail was addressed to.
    :param identity: which statement it is, as far as the mail's tags tell: enough to write a row that the ledger
        has forgotten. None: they do not.
    :param suppresses: why this address must not be mailed again (a hard bounce, a complaint); empty: it may.
    """

    kind: EventKind
    key: str
    message_id: str
    at: datetime
    address: str
    detail: str = ""
    identity: Identity | None = None
    suppresses: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", self.detail[:MAXIMUM_DETAIL_LENGTH])
        object.__setattr__(self, "suppresses", self.suppresses[:MAXIMUM_DETAIL_LENGTH])

    @property
    def id(self) -> str:
        """What makes two messages the same event: the same kind about the same mail at the same moment."""
        moment = self.at.astimezone(timezone.utc).isoformat()
        return hashlib.sha256(f"{self.kind.value}|{self.message_id}|{moment}".encode()).hexdigest()[:20]

    @property
    def fate(self) -> Fate | None:
        """What the event says became of the mail; None: no more than that it was accepted."""
        return _FATES.get(self.kind)

    @property
    def note(self) -> str:
        """What the ledger's history says of it: its own words, and when it happened."""
        moment = self.at.astimezone(timezone.utc).isoformat()
        return f"{self.detail} ({moment})" if self.detail else moment

    @property
    def evidence(self) -> str:
        """How the ledger's history names its source."""
        return f"event {self.kind.value}"
