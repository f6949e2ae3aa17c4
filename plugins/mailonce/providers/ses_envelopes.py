"""What Amazon SES's records travel in: bare (SNS's raw delivery), in the envelope of SNS, in that of EventBridge, or both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mailonce.errors import EventUnreadable

Record = Mapping[str, Any]

_GREETING = "Successfully validated SNS topic for Amazon SES event publishing."
"""Comes once, in plain text, when an event destination is set up."""


def record_in(body: str) -> Record | None:
    """Take a record of SES out of a message's body.

    :return: None for what is about no mail: a greeting of the service, news of the account.
    :raises mailonce.errors.EventUnreadable: there is none in it; says what there is.
    """
    inside = _json(body)
    if isinstance(inside, Mapping) and "Type" in inside:
        inside = _json(_notification(inside))
    if isinstance(inside, Mapping) and "detail-type" in inside:
        # "Email Sent", "Email Bounced" and so on; the others are about the account (EventBridge Reference, "Amazon SES").
        inside = inside.get("detail") if str(inside["detail-type"]).startswith("Email ") else _GREETING
    if inside == _GREETING:
        return None
    if not isinstance(inside, Mapping):
        raise EventUnreadable(f"holds a JSON {type(inside).__name__}, not a record of SES")
    return inside


def _notification(envelope: Record) -> str:
    """Take the message out of the envelope of SNS (SNS Developer Guide, "Parsing Amazon SNS message formats")."""
    kind, message = envelope["Type"], envelope.get("Message")
    if kind == "Notification" and isinstance(message, str):
        return message
    if kind in ("SubscriptionConfirmation", "UnsubscribeConfirmation"):
        # Never answered by ourselves: whoever may write to the queue could have it flooded by a topic of their own.
        raise EventUnreadable(
            f"is a {kind} of SNS: somebody must decide whether the queue shall get the messages of the topic in it, and if "
            "so, open the SubscribeURL in it"
        )
    raise EventUnreadable(f"is an SNS message of the type {str(kind)[:50]!r}, or one without a message")


def _json(text: str) -> Any:
    if text.strip() == _GREETING:
        return _GREETING
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EventUnreadable(f"is not JSON ({type(error).__name__})") from error
