"""One mail, ready to be sent: what the providers take and what the fingerprint is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mailonce.canonical import digest
from mailonce.errors import InvalidInput

MAXIMUM_HEADERS = 15
"""As many own headers as Amazon SES takes in a message (SES v2 API reference, ``Message.Headers``)."""

MAXIMUM_HEADER_LENGTH = 870
"""Longest header value that Amazon SES takes (SES v2 API reference, ``MessageHeader.Value``)."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,126}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")
_RESERVED = frozenset({"from", "to", "cc", "bcc", "subject", "reply-to", "date", "message-id", "mime-version",
                       "content-type", "content-transfer-encoding", "return-path", "sender"})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StoredTemplate:
    """A template that the provider keeps, and the data it is filled with there."""

    name: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Message:
    """One mail to one recipient.

    :param sender: address of the sender, with or without a display name.
    :param to: address of the recipient, as the provider takes it (ASCII).
    :param subject: subject line; empty when ``stored_template`` holds it.
    :param text: plain part. :param html: HTML part.
    :param reply_to: addresses that answers go to.
    :param headers: further headers, by name.
    :param stored_template: instead of subject, text and html.
    :raises mailonce.errors.InvalidInput: a value would break out of its header, or the mail has no content.
    """

    sender: str
    to: str
    subject: str = ""
    text: str = ""
    html: str = ""
    reply_to: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    stored_template: StoredTemplate | None = None

    def __post_init__(self) -> None:
        for name, value in (("sender", self.sender), ("email", self.to), ("subject", self.subject)):
            refuse_control_characters(name, value)
        for address in self.reply_to:
            refuse_control_characters("reply_to", address)
        _check_headers(self.headers)
        if not self.stored_template and not (self.subject.strip() and (self.text.strip() or self.html.strip())):
            raise InvalidInput(
                field="content",
                reason="the mail has no subject or no body",
                remedy="Let the template give a subject and a plain or an HTML part",
            )

    @cached_property
    def fingerprint(self) -> str:
        """Digest of sender, recipient, subject and content: differs when a recipient would see a difference."""
        template = self.stored_template
        content = [template.name, dict(template.data)] if template else [self.text, self.html]
        return digest([self.sender, self.to, self.subject, content])


def refuse_control_characters(name: str, value: str) -> None:
    """Refuse a value that could start another header line, or hide text.

    :raises mailonce.errors.InvalidInput: the value holds a line break or another control character.
    """
    if _CONTROL.search(value):
        raise InvalidInput(
            field=name,
            reason="holds a line break or another control character, which could add a header to the mail",
            remedy="Remove it at the source",
        )


def _check_headers(headers: Mapping[str, str]) -> None:
    if len(headers) > MAXIMUM_HEADERS:
        raise InvalidInput(
            field="headers",
            reason=f"{len(headers)} headers, but a mail takes {MAXIMUM_HEADERS}",
            remedy="Leave some out",
        )
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _RESERVED:
            raise InvalidInput(
                field=f"header {name!r}",
                reason="this header cannot be set here",
                remedy="Use letters, digits and hyphens; sender, reply_to and subject have their own places",
            )
        refuse_control_characters(f"header {name}", value)
        if not value.isascii() or not 0 < len(value) <= MAXIMUM_HEADER_LENGTH:
            raise InvalidInput(
                field=f"header {name}",
                reason=f"the value must be ASCII and 1 to {MAXIMUM_HEADER_LENGTH} characters long",
                remedy="Shorten it, and encode what is not ASCII (urlencode in a link)",
            )
