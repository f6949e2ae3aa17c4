"""The suppressions of the PostgreSQL ledger. What each step does to a row stands in ``sql/suppressions.sql``."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from mailonce.ledgers.postgres.database import PAGE, Database
from mailonce.suppression import Suppression, normal


class PostgresSuppressions:
    """Keeps the suppressions in a table beside the deliveries, see :class:`mailonce.ledgers.base.Suppressions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, suppression: Suppression) -> bool:
        """See :class:`mailonce.ledgers.base.Suppressions`."""
        values = {
            "address": suppression.address,
            "reason": suppression.reason,
            "since": suppression.since,
            "by": suppression.by,
            "key": suppression.key,
            "token": uuid.uuid4(),
        }
        return self._database.row("suppress", values) is not None

    def of(self, addresses: Iterable[str]) -> Iterator[Suppression]:
        """See :class:`mailonce.ledgers.base.Suppressions`."""
        wanted = map(normal, addresses)
        while some := list(islice(wanted, PAGE)):
            yield from map(_suppression, self._database.rows("suppressed", {"addresses": some}))

    def lift(self, address: str, *, by: str, reason: str) -> Suppression | None:
        """See :class:`mailonce.ledgers.base.Suppressions`."""
        values = {"address": normal(address), "by": by, "reason": reason, "token": uuid.uuid4()}
        row = self._database.row("lift", values)
        return _suppression(row) if row else None

    def all(self) -> Iterator[Suppression]:
        """See :class:`mailonce.ledgers.base.Suppressions`; by address."""
        after = ""
        while page := self._database.rows("every_suppression", {"after": after, "page": PAGE}):
            yield from map(_suppression, page)
            after = page[-1]["address"]


def _suppression(row: Mapping[str, Any]) -> Suppression:
    return Suppression(
        address=row["address"], reason=row["reason"], since=row["since"], by=row["told_by"], key=row["key"]
    )
