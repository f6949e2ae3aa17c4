"""What leaves the PostgreSQL ledger again. What each step does to a row stands in ``sql/privacy.sql``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg.types.json import Jsonb

from mailonce.ledgers.postgres.database import Database
from mailonce.privacy.erasure import Erasure
from mailonce.privacy.purges import Purge
from mailonce.suppression import normal

AT_ONCE = 1000
"""So many rows are deleted in one transaction: short enough that nobody who sends waits for it."""

WALKED_AT_ONCE = 10_000
"""So many rows are looked at for those that have expired in one."""


class PostgresPrivacy:
    """See :class:`mailonce.ledgers.base.Privacy`. To delete takes ``DELETE`` on the tables, which no run needs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def erase(self, erasure: Erasure) -> bool:
        """See :class:`mailonce.ledgers.base.Privacy`. An erasure whose answer was lost finds its own work."""
        values = {**vars(erasure), "history": Jsonb(list(erasure.history))}
        if self._database.row("erase", values) is not None:
            return True
        row = self._database.row("row", {"key": erasure.key})
        return row is not None and (row["email"], len(row["history"])) == (erasure.email, len(erasure.history))

    def forget_suppression(self, address: str) -> bool:
        """See :class:`mailonce.ledgers.base.Privacy`."""
        return self._database.row("forget_suppression", {"address": normal(address)}) is not None

    def mark(self, purge: Purge) -> Purge:
        """See :class:`mailonce.ledgers.base.Privacy`."""
        while True:
            self._database.row("mark", vars(purge))
            if mark := self.purged(purge.campaign, purge.period, purge.edition):
                return mark
            # Opened again by somebody between our two statements.

    def purged(self, campaign: str, period: str, edition: str) -> Purge | None:
        """See :class:`mailonce.ledgers.base.Privacy`."""
        row = self._database.row("purged", {"campaign": campaign, "period": period, "edition": edition})
        return _purge(row) if row else None

    def purges(self) -> Iterator[Purge]:
        """See :class:`mailonce.ledgers.base.Privacy`."""
        yield from map(_purge, self._database.rows("purges", {}))

    def reopen(self, campaign: str, period: str, edition: str, *, by: str, reason: str) -> Purge | None:
        """See :class:`mailonce.ledgers.base.Privacy`."""
        values = {"campaign": campaign, "period": period, "edition": edition, "by": by, "reason": reason}
        row = self._database.row("reopen", values)
        return _purge(row) if row else None

    def purge(self, campaign: str, period: str, *, unsettled: bool = False) -> int:
        """See :class:`mailonce.ledgers.base.Privacy`."""
        values = {"campaign": campaign, "period": period, "unsettled": unsettled, "page": AT_ONCE}
        return len(self._database.rows("purge", values))

    def purge_expired(self) -> int:
        """See :class:`mailonce.ledgers.base.Privacy`. Reads the whole table, a part at a time."""
        deleted, after = 0, ""
        while (row := self._database.row("purge_expired", {"after": after, "page": WALKED_AT_ONCE})) and row["last"]:
            deleted, after = deleted + row["deleted"], row["last"]
        return deleted


def _purge(row: Mapping[str, Any]) -> Purge:
    return Purge(
        campaign=row["campaign"],
        period=row["period"],
        edition=row["edition"],
        by=row["purged_by"],
        reason=row["reason"],
        at=row["purged_at"],
    )
