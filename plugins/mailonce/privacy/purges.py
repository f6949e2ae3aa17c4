"""What stays of a month that was deleted from the ledger: a mark, so that nobody mails it again without meaning to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Purge:
    """One edition of a campaign's month that was deleted on purpose.

    :param by: :param reason: who, and why. :param at: when it began, by the ledger's clock; None: not yet written.
    """

    campaign: str
    period: str
    edition: str
    by: str
    reason: str
    at: datetime | None = None

    def __str__(self) -> str:
        when = f" on {self.at:%Y-%m-%d}" if self.at else ""
        return (
            f"{self.campaign} {self.period} ({self.edition}) was purged{when} by {self.by}: {self.reason}. The ledger no "
            "longer knows who got it."
        )
