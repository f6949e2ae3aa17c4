"""The interface between a row of data and the mail made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mailonce.messages.message import Message, StoredTemplate


class Content(Protocol):
    """Makes the mail of one recipient: :class:`mailonce.messages.templates.Templates`, or a stored template."""

    def message(self, fields: Mapping[str, Any], *, sender: str, to: str, reply_to: tuple[str, ...] = ()) -> Message:
        """Return the mail.

        :param fields: what the templates may use.
        :raises mailonce.errors.InvalidInput: the mail cannot be made from these fields.
        """
        ...


@dataclass(frozen=True)
class ProviderTemplate:
    """Content that the provider renders, from a template it stores under ``name``.

    Amazon SES accepts a mail whose template lacks a variable, and fails afterwards: only its Rendering Failure
    event tells. So :func:`mailonce.workflow.account.check_stored_template` asks before.
    """

    name: str

    def message(self, fields: Mapping[str, Any], *, sender: str, to: str, reply_to: tuple[str, ...] = ()) -> Message:
        """See :class:`Content`. The period goes as its label, because a stored template takes plain values only."""
        data = {name: getattr(value, "label", value) for name, value in fields.items()}
        return Message(
            sender=sender, to=to, reply_to=reply_to, stored_template=StoredTemplate(name=self.name, data=data)
        )
