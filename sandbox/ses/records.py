"""What the journal keeps: requests to send, and accepted mails."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

KEY_TAG = "mailonce_key"
NO_ANSWER = "no answer"


def timestamp(moment: datetime | None = None) -> str:
    """A moment (now, unless given) as the service writes it: UTC, milliseconds, `Z`."""
    moment = moment or datetime.now(timezone.utc)
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_of(text: str) -> datetime:
    """The moment that `timestamp` wrote."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@dataclass
class Mail:
    """One accepted mail, whole."""

    message_id: str
    accepted_at: str
    from_address: str
    to: list[str]
    cc: list[str] = field(default_factory=list)
    bcc: list[str] = field(default_factory=list)
    reply_to: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    subject: str = ""
    text: str | None = None
    html: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    configuration_set: str | None = None
    attachments: list[dict[str, Any]] = field(default_factory=list)
    template_name: str | None = None
    template_data: dict[str, Any] | None = None
    rendering_error: str | None = None
    """Why the stored template could not be rendered. Accepted all the same, but never delivered."""
    raw: str | None = None
    """The message as it came, in base64, if it came as `Raw`."""
    region: str = "us-east-1"
    source_address: str = "127.0.0.1"
    caller: str = "unsigned"

    @property
    def recipients(self) -> list[str]:
        """To, Cc and Bcc, as bare lower-case addresses."""
        return [bare_address(address) for address in [*self.to, *self.cc, *self.bcc]]

    @property
    def key(self) -> str | None:
        """The key that the sender put into the tag `mailonce_key`."""
        return self.tags.get(KEY_TAG)

    def as_dict(self) -> dict[str, Any]:
        """The mail as JSON can carry it. Shares its lists with the mail: for reading only."""
        return dict(vars(self))


@dataclass
class Request:
    """One SendEmail request. `status` None means that it was not answered."""

    number: int
    arrived_at: str
    recipient: str
    recipients: list[str]
    subject: str
    tags: dict[str, str]
    accepted: bool
    message_id: str | None
    behaviour: str | None
    status: int | None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The request as JSON can carry it."""
        content = dict(vars(self))
        content["status"] = self.status if self.status is not None else NO_ANSWER
        return content


def bare_address(address: str) -> str:
    """`Ann <Ann@example.com>` without its name, in lower case."""
    if "<" in address:
        address = address.rsplit("<", 1)[1].partition(">")[0]
    return address.strip().lower()
