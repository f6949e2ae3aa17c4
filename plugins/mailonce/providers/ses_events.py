"""Amazon SES's events, as they lie in a queue: from a message's body to an :class:`mailonce.events.Event`.

What a record holds: SES Developer Guide, "Contents of event data that Amazon SES publishes to Amazon SNS". No input or
output here.

Only event publishing (a configuration set with an event destination) tells the tags of a mail. The feedback
notifications of an identity, whose records say ``notificationType``, do not: they can be matched to no delivery.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

import pendulum

from mailonce.delivery import MAXIMUM_RECIPIENT_ID, from_tag
from mailonce.errors import EventUnreadable
from mailonce.events import Event, EventKind
from mailonce.keys import Identity
from mailonce.privacy.pseudonyms import without_addresses
from mailonce.providers.ses_envelopes import Record, record_in


class Ignored(str, Enum):
    """Why a message that can be read is none of our business."""

    NOT_OURS = "not ours"
    """It is about a mail without our tag: another one of the same account."""

    TELLS_NOTHING = "tells nothing"
    """It says nothing about acceptance or delivery: an open, a click, a greeting of the service."""


def read_event(body: str) -> Event | Ignored:
    """Read the body of one message.

    A complaint of the type ``not-spam`` is the opposite of one: a recipient took the mail out of the spam folder
    (RFC 6430). It is read as what it proves, a delivery; a complaint that was told before stands.

    :raises mailonce.errors.EventUnreadable: it is no event that can be understood; says what is wrong.
    """
    record = record_in(body)
    if record is None:
        return Ignored.TELLS_NOTHING
    kind = record.get("eventType") or record.get("notificationType")
    if not isinstance(kind, str):
        raise EventUnreadable("has neither eventType nor notificationType, so it is no record of SES")
    kind = kind.replace(" ", "")
    if kind == "AmazonSnsSubscriptionSucceeded":
        return Ignored.TELLS_NOTHING  # comes once, when feedback notifications are set up
    mail = _part(record, "mail")
    tags = _part(mail, "tags") if mail.get("tags") else {}
    if "mailonce_key" not in tags:
        return Ignored.NOT_OURS
    if kind in ("Open", "Click", "Subscription"):
        return Ignored.TELLS_NOTHING
    if kind not in _FORMS:
        raise EventUnreadable(f"is of the unknown kind {kind[:50]!r}")
    return _event(_FORMS[kind], record, mail, tags)


def _event(form: _Form, record: Record, mail: Record, tags: Record) -> Event:
    told = _part(record, form.part)
    kind, detail = form.kind, _in_words(form.describe(told))
    suppresses = ""
    if kind is EventKind.COMPLAINT and told.get("complaintFeedbackType") == "not-spam":
        kind, detail = EventKind.DELIVERY, "a recipient reported that it is not spam"
    elif kind is EventKind.COMPLAINT:
        suppresses = f"complaint ({detail})"
    elif kind is EventKind.BOUNCE and _matching(_WORD, told, "bounceType") == "Permanent":
        suppresses = f"hard bounce ({detail})"
    return Event(
        kind=kind,
        key=_matching(_KEY, _singly(tags, "mailonce_key"), "mailonce_key"),
        message_id=_matching(_MESSAGE_ID, mail, "messageId"),
        at=_moment(told if form.dated else mail),
        # Whom we would mail again: what a bounce or a complaint names may be where the mail was forwarded to.
        address=_matching(_ADDRESS, _singly(mail, "destination"), "destination"),
        detail=detail,
        identity=_identity(tags),
        suppresses=suppresses,
    )


def _part(record: Record, name: str) -> Record:
    value = record.get(name)
    if not isinstance(value, dict):
        raise EventUnreadable(f"has no object {name}")
    return value


def _matching(form: re.Pattern[str], record: Record, name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise EventUnreadable(f"has no {name}, or one that cannot be right")
    return value


def _singly(record: Record, *names: str) -> dict[str, Any]:
    """Return the one value of each list: a tag has one, and each of our mails has one recipient."""
    lists = {name: record.get(name) for name in names}
    return {name: value[0] for name, value in lists.items() if isinstance(value, list) and len(value) == 1}


def _moment(record: Record) -> datetime:
    text = _matching(_MOMENT, record, "timestamp")
    try:
        moment = pendulum.parse(text)
        assert isinstance(moment, datetime)
        return datetime.fromtimestamp(moment.timestamp(), timezone.utc)
    except (ValueError, OverflowError) as error:
        raise EventUnreadable(f"has the timestamp {text[:50]!r}, which is no moment") from error


def _identity(tags: Record) -> Identity | None:
    """Return whose statement it is; None where a tag is missing or not as we write it: the ledger may know by the key."""
    told = _singly(tags, *_IDENTITY)
    if len(told) < len(_IDENTITY) or not all(isinstance(tag, str) and _TAG.fullmatch(tag) for tag in told.values()):
        return None
    campaign, period, edition, recipient = told.values()
    try:
        recipient_id = from_tag(recipient)
    except ValueError:
        return None
    if not 0 < len(recipient_id) <= MAXIMUM_RECIPIENT_ID or "\0" in recipient_id:
        return None
    return Identity(campaign=campaign, period=period, recipient_id=recipient_id, edition=edition)


def _in_words(parts: tuple[Any, ...]) -> str:
    """Join texts, without addresses and without what no store could keep (control characters, halves of characters)."""
    text = ": ".join(part for part in parts if isinstance(part, str) and part)
    visible = re.sub(r"[\s\x00-\x1f\x7f]+", " ", text.encode(errors="replace").decode())
    return without_addresses(visible).strip()


def _first(record: Record, name: str) -> Record:
    value = record.get(name)
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else {}


def _bounce(told: Record) -> tuple[Any, ...]:
    recipient = _first(told, "bouncedRecipients")
    kinds = "/".join(str(told[name]) for name in ("bounceType", "bounceSubType") if told.get(name))
    return kinds, recipient.get("diagnosticCode") or recipient.get("status")


def _delay(told: Record) -> tuple[Any, ...]:
    return told.get("delayType"), _first(told, "delayedRecipients").get("diagnosticCode")


def _complaint(told: Record) -> tuple[Any, ...]:
    return told.get("complaintSubType"), told.get("complaintFeedbackType") or "no reason given"


@dataclass(frozen=True)
class _Form:
    """How one kind of record is read. :param dated: whether its part tells the moment; if not, the mail's own counts."""

    kind: EventKind
    part: str
    describe: Callable[[Record], tuple[Any, ...]]
    dated: bool = True


_FORMS = {
    "Send": _Form(EventKind.SEND, "send", lambda _: (), dated=False),
    "Delivery": _Form(EventKind.DELIVERY, "delivery", lambda told: (told.get("smtpResponse"),)),
    "DeliveryDelay": _Form(EventKind.DELIVERY_DELAY, "deliveryDelay", _delay),
    "Bounce": _Form(EventKind.BOUNCE, "bounce", _bounce),
    "Complaint": _Form(EventKind.COMPLAINT, "complaint", _complaint),
    "Reject": _Form(EventKind.REJECT, "reject", lambda told: (told.get("reason"),), dated=False),
    "RenderingFailure": _Form(
        EventKind.RENDERING_FAILURE, "failure", lambda told: (told.get("errorMessage"),), dated=False
    ),
}

_IDENTITY = ("mailonce_campaign", "mailonce_period", "mailonce_edition", "mailonce_recipient")

_WORD = re.compile(r"[A-Za-z]+")
_KEY = re.compile(r"[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_MESSAGE_ID = re.compile(r"[!-~]{1,256}")
_ADDRESS = re.compile(r"[^\s@\x00-\x1f\x7f\ud800-\udfff]{1,256}@[^\s@\x00-\x1f\x7f\ud800-\udfff]{1,256}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
"""The library also takes a time of day, a duration or the word "now" for a moment."""
