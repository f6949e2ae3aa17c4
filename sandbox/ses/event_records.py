"""The records that the service publishes about a mail, in the shape of its event publishing."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

from .records import Mail, bare_address, moment_of, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ACCOUNT = "123456789012"
REPORTING_AGENT = "dsn; a8-1.smtp-out.amazonses.com"
EVENT_NAMES = {
    "Send": "SEND",
    "Delivery": "DELIVERY",
    "DeliveryDelay": "DELIVERY_DELAY",
    "Bounce": "BOUNCE",
    "Complaint": "COMPLAINT",
    "Reject": "REJECT",
    "Rendering Failure": "RENDERING_FAILURE",
}
"""What a record calls its type, and what an event destination calls it."""


class Fate(str, Enum):
    """What becomes of an accepted mail, as its events tell it."""

    DELIVERY = "delivery"
    """Send, Delivery: the normal case."""
    BOUNCE = "bounce"
    """Send, Bounce (Permanent/General)."""
    TRANSIENT_BOUNCE = "transient_bounce"
    """Send, Bounce (Transient/MailboxFull)."""
    COMPLAINT = "complaint"
    """Send, Delivery, Complaint."""
    SUPPRESSED = "suppressed"
    """Send, Bounce (Permanent/OnAccountSuppressionList): accepted, never delivered."""
    DELAYED = "delayed"
    """Send, DeliveryDelay, Delivery."""
    REJECT = "reject"
    """Reject only: accepted, then a virus was found."""
    RENDERING_FAILURE = "rendering_failure"
    """Rendering Failure only: accepted, then the template lacked a variable."""
    SEND_ONLY = "send_only"
    """Send, and never anything else."""
    NO_EVENTS = "no_events"
    """Nothing at all: event publishing is best effort."""
    REPEATED = "repeated"
    """Delivery, Send, Delivery, Send: out of order, and each of them twice."""


EVENTS_OF_FATE: dict[Fate, tuple[str, ...]] = {
    Fate.DELIVERY: ("Send", "Delivery"),
    Fate.BOUNCE: ("Send", "Bounce"),
    Fate.TRANSIENT_BOUNCE: ("Send", "Bounce"),
    Fate.COMPLAINT: ("Send", "Delivery", "Complaint"),
    Fate.SUPPRESSED: ("Send", "Bounce"),
    Fate.DELAYED: ("Send", "DeliveryDelay", "Delivery"),
    Fate.REJECT: ("Reject",),
    Fate.RENDERING_FAILURE: ("Rendering Failure",),
    Fate.SEND_ONLY: ("Send",),
    Fate.NO_EVENTS: (),
    Fate.REPEATED: ("Delivery", "Send", "Delivery", "Send"),
}

FATE_OF_LOCAL_PART = {
    "success": Fate.DELIVERY,
    "bounce": Fate.BOUNCE,
    "complaint": Fate.COMPLAINT,
    "suppressionlist": Fate.SUPPRESSED,
}

# bounceType, bounceSubType, status, diagnosticCode
BOUNCES = {
    Fate.BOUNCE: ("Permanent", "General", "5.1.1", "smtp; 550 5.1.1 user unknown"),
    Fate.TRANSIENT_BOUNCE: ("Transient", "MailboxFull", "4.2.2", "smtp; 452 4.2.2 mailbox full"),
    Fate.SUPPRESSED: (
        *("Permanent", "OnAccountSuppressionList", "5.1.1"),
        "Amazon SES did not send the message to this address because it is on the account's suppression list.",
    ),
}


def fate_by_address(address: str) -> Fate:
    """The fate that the local part asks for: `bounce@...`, `complaint+label@...`; else delivery."""
    local_part = bare_address(address).partition("@")[0].partition("+")[0]
    return FATE_OF_LOCAL_PART.get(local_part, Fate.DELIVERY)


def records_of(mail: Mail, fate: Fate) -> list[dict[str, Any]]:
    """The records of a mail with this fate, in the order in which they are published."""
    recipients = mail.recipients
    details: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
        "Send": ("send", dict),
        "Delivery": ("delivery", lambda: _delivery(mail, recipients)),
        "DeliveryDelay": ("deliveryDelay", lambda: _delay(recipients)),
        "Bounce": ("bounce", lambda: _bounce(recipients, fate)),
        "Complaint": ("complaint", lambda: _complaint(mail, recipients)),
        "Reject": ("reject", lambda: {"reason": "Bad content"}),
        "Rendering Failure": ("failure", lambda: _failure(mail)),
    }
    records = []
    for event_type in EVENTS_OF_FATE[fate]:
        name, detail = details[event_type]
        described = _mail(mail)
        if event_type == "Delivery":
            described["tags"]["ses:outgoing-ip"] = ["192.0.2.10"]
        records.append({"eventType": event_type, "mail": described, name: detail()})
    return records


def _mail(mail: Mail) -> dict[str, Any]:
    sender = bare_address(mail.from_address)
    content_type = "multipart/alternative" if mail.text is not None and mail.html is not None else "text/plain"
    headers = [
        *_header("From", [mail.from_address]),
        *_header("Reply-To", mail.reply_to),
        *_header("To", mail.to),
        *_header("Cc", mail.cc),
        *_header("Subject", [mail.subject]),
        *_header("MIME-Version", ["1.0"]),
        *_header("Content-Type", [f"{content_type}; charset=UTF-8"]),
    ]
    common: dict[str, Any] = {
        "from": [mail.from_address],
        **({"replyTo": mail.reply_to} if mail.reply_to else {}),
        "to": mail.to,
        **({"cc": mail.cc} if mail.cc else {}),
        "messageId": mail.message_id,
        "subject": mail.subject,
    }
    return {
        "timestamp": mail.accepted_at,
        "source": mail.from_address,
        "sourceArn": f"arn:aws:ses:{mail.region}:{ACCOUNT}:identity/{sender}",
        "sendingAccountId": ACCOUNT,
        "messageId": mail.message_id,
        "destination": [*mail.to, *mail.cc, *mail.bcc],
        "headersTruncated": False,
        "headers": mail.headers if mail.raw else [*headers, *mail.headers],
        "commonHeaders": common,
        "tags": {
            "ses:operation": ["SendEmail"],
            "ses:configuration-set": [mail.configuration_set or ""],
            "ses:source-ip": [mail.source_address],
            "ses:from-domain": [sender.rpartition("@")[2]],
            "ses:caller-identity": [mail.caller],
            **{name: [value] for name, value in mail.tags.items()},
        },
    }


def _header(name: str, values: Sequence[str]) -> list[dict[str, str]]:
    return [{"name": name, "value": ", ".join(values)}] if values else []


def _delivery(mail: Mail, recipients: list[str]) -> dict[str, Any]:
    elapsed = datetime.now(timezone.utc) - moment_of(mail.accepted_at)
    return {
        "timestamp": timestamp(),
        "processingTimeMillis": max(0, int(elapsed.total_seconds() * 1000)),
        "recipients": recipients,
        "smtpResponse": "250 2.6.0 Message received",
        "reportingMTA": "a8-1.smtp-out.amazonses.com",
    }


def _delay(recipients: list[str]) -> dict[str, Any]:
    return {
        "timestamp": timestamp(),
        "delayType": "TransientCommunicationFailure",
        "expirationTime": timestamp(datetime.now(timezone.utc) + timedelta(hours=14)),
        "delayedRecipients": [
            {
                "emailAddress": recipient,
                "status": "4.4.1",
                "diagnosticCode": "smtp; 421 4.4.1 Unable to connect",
            }
            for recipient in recipients
        ],
    }


def _bounce(recipients: list[str], fate: Fate) -> dict[str, Any]:
    bounce_type, bounce_sub_type, status, diagnosis = BOUNCES[fate]
    return {
        "feedbackId": feedback_id(),
        "bounceType": bounce_type,
        "bounceSubType": bounce_sub_type,
        "bouncedRecipients": [
            {"emailAddress": recipient, "action": "failed", "status": status, "diagnosticCode": diagnosis}
            for recipient in recipients
        ],
        "timestamp": timestamp(),
        "reportingMTA": REPORTING_AGENT,
    }


def _complaint(mail: Mail, recipients: list[str]) -> dict[str, Any]:
    return {
        "feedbackId": feedback_id(),
        "complaintSubType": None,
        "complainedRecipients": [{"emailAddress": recipient} for recipient in recipients],
        "timestamp": timestamp(),
        "userAgent": "Amazon SES Mailbox Simulator",
        "complaintFeedbackType": "abuse",
        "arrivalDate": mail.accepted_at,
    }


def _failure(mail: Mail) -> dict[str, Any]:
    reason = mail.rendering_error or "Attribute 'name' is not present in the rendering data."
    return {"errorMessage": reason, "templateName": mail.template_name or "inline"}


def feedback_id() -> str:
    """An id in the form of the service's feedback ids."""
    return f"0100{uuid.uuid4().hex[:12]}-{uuid.uuid4()}-000000"
