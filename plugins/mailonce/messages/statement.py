"""From a row to a delivery: everything that can fail without sending happens here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mailonce.delivery import Delivery
from mailonce.errors import InvalidInput
from mailonce.keys import Identity, KeyRecipe, statement_key
from mailonce.messages.content import Content
from mailonce.messages.rows import Row

ORIGINAL = "original"
"""The first edition of a statement; every other one corrects it."""
ORIGINAL_SENT_AT = "original_sent_at"
"""Column of a correction's row, and what its templates see: when the original was sent; None: not known."""


@dataclass(frozen=True, kw_only=True)
class StatementMaker:
    """Makes the deliveries of one campaign and period.

    :param campaign: the campaign's name. :param period: its key, ``2026-10`` or whatever the campaign counts by.
    :param period_fields: what the templates see as ``period``.
    :param edition: a corrected statement is a new edition, and so a new key.
    :param content: renders the mail. :param sender: :param reply_to: addresses on every mail.
    :param recipe: makes the key.
    """

    campaign: str
    period: str
    content: Content
    sender: str
    period_fields: Any = None
    reply_to: tuple[str, ...] = ()
    edition: str = ORIGINAL
    recipe: KeyRecipe = field(default=statement_key)

    def delivery(self, row: Row) -> Delivery:
        """Render one row's mail and give it its key.

        :raises mailonce.errors.InvalidInput: names the row and the field.
        """
        identity = Identity(
            campaign=self.campaign, period=self.period, recipient_id=row.recipient_id, edition=self.edition
        )
        fields = {
            **row.fields,
            "recipient_id": row.recipient_id,
            "email": row.email,
            "campaign": self.campaign,
            "period": self.period_fields if self.period_fields is not None else self.period,
            "edition": self.edition,
        }
        # An original is told nothing of corrections, so that its mail and fingerprint stay what they were before.
        if self.edition != ORIGINAL:
            fields |= {"is_correction": True, ORIGINAL_SENT_AT: row.fields.get(ORIGINAL_SENT_AT)}
        try:
            message = self.content.message(fields, sender=self.sender, to=row.email, reply_to=self.reply_to)
            return Delivery(identity=identity, key=self.recipe(identity, row.fields, message), message=message)
        except InvalidInput as complaint:
            raise complaint.at_row(row.recipient_id) from complaint
