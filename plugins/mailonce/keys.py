"""What makes two mails the same mail: the key of a delivery, and the fingerprint of its content.

The key decides whether a mail may go out. By default it never depends on the content, so that a one-cent
restatement does not become a second mail; the fingerprint tells when the content has changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import jmespath
import jmespath.exceptions
import jmespath.parser

from mailonce.canonical import digest
from mailonce.errors import InvalidInput

if TYPE_CHECKING:
    from mailonce.messages.message import Message


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which statement a mail is: whose, of which campaign and period, and which edition of it."""

    campaign: str
    period: str
    recipient_id: str
    edition: str = "original"

    @property
    def key(self) -> str:
        """The default key of this statement: 64 hexadecimal digits."""
        return digest([self.campaign, self.period, self.recipient_id, self.edition])


class KeyRecipe(Protocol):
    """Makes the key of one delivery: 64 hexadecimal digits."""

    def __call__(self, identity: Identity, row: Mapping[str, Any], message: Message) -> str:
        """Return the key.

        :raises mailonce.errors.InvalidInput: the row lacks what the key is made of.
        """
        ...


def statement_key(identity: Identity, row: Mapping[str, Any], message: Message) -> str:
    """Return the default key: one mail per campaign, period, recipient and edition."""
    return identity.key


def content_key(identity: Identity, row: Mapping[str, Any], message: Message) -> str:
    """Return a key made of the content alone: one mail per sender, recipient, subject and content."""
    return message.fingerprint


@dataclass(frozen=True)
class ExpressionKey:
    """A key made of whatever a JMESPath expression finds in the row, within the campaign and the edition.

    The period is not part of it: ``[account_id, period]`` says so when it should be.

    :param expression: a JMESPath expression, for example ``invoice.number`` or ``[account_id, invoice_id]``.
    """

    expression: str

    def __post_init__(self) -> None:
        _compiled(self.expression)

    def __call__(self, identity: Identity, row: Mapping[str, Any], message: Message) -> str:
        """Return the key of one row."""
        fields = {"period": identity.period, "recipient_id": identity.recipient_id, **row}
        try:
            value = _compiled(self.expression).search(fields)
        except (jmespath.exceptions.JMESPathError, TypeError) as error:
            raise InvalidInput(
                row=identity.recipient_id,
                field="key_expression",
                reason=f"{self.expression!r} fails on this row ({error})",
                remedy="Mend the expression, or this row's values",
            ) from error
        if _empty(value):
            raise InvalidInput(
                row=identity.recipient_id,
                field="key_expression",
                reason=f"{self.expression!r} finds nothing, or something empty, in this row",
                remedy="Give the row a value there, or choose an expression that every row answers",
            )
        return digest([identity.campaign, identity.edition, value])


def _empty(value: Any) -> bool:
    """Tell whether a value, or any member of a list or mapping, says nothing: two rows would share the key."""
    if isinstance(value, Mapping):
        return not value or any(_empty(member) for member in value.values())
    if isinstance(value, (list, tuple)):
        return not value or any(_empty(member) for member in value)
    return value is None or value == ""


@lru_cache(maxsize=32)
def _compiled(expression: str) -> jmespath.parser.ParsedResult:
    try:
        return jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        raise InvalidInput(
            field="key_expression",
            reason=f"{expression!r} is not a JMESPath expression ({error})",
            remedy="Write one such as invoice.number or [account_id, period]",
        ) from error


def key_recipe(key: str) -> KeyRecipe:
    """Return the recipe that a name stands for.

    :param key: ``statement`` (the default), ``content``, or a JMESPath expression over the row.
    """
    named: dict[str, KeyRecipe] = {"statement": statement_key, "content": content_key}
    return named.get(key) or ExpressionKey(key)
