"""How fast mails may leave, as PostgreSQL keeps it. What each step does to the row stands in ``sql/rates.sql``."""

from __future__ import annotations

from mailonce.ledgers.postgres.database import Database
from mailonce.rate import FORBEARANCE, RECOVERY, SLOWDOWN, SLOWEST, Reservation


class PostgresRateStore:
    """Keeps the timetables in a table beside the deliveries, see :class:`mailonce.ledgers.base.RateStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(self, account: str, slots: int) -> Reservation | None:
        """See :class:`mailonce.ledgers.base.RateStore`."""
        row = self._database.row("reserve", {"account": account, "slots": slots, "recovery": RECOVERY})
        return Reservation(wait=max(0.0, row["wait"]), spacing=row["spacing"]) if row else None

    def throttled(self, account: str) -> None:
        """See :class:`mailonce.ledgers.base.RateStore`."""
        values = {"slowest": SLOWEST, "slowdown": SLOWDOWN, "recovery": RECOVERY, "forbearance": FORBEARANCE}
        self._database.row("throttled", {"account": account, **values})

    def limit(self, account: str, maximum: float) -> None:
        """See :class:`mailonce.ledgers.base.RateStore`."""
        self._database.row("limit", {"account": account, "maximum": maximum})
