"""The addresses that must not be mailed: items beside the deliveries, under keys that no delivery can have.

An item stands in the index by month exactly as long as its suppression holds, in partitions of its own: all of them
are found without a look at any delivery, and no month finds them (a month's partition is named with two separators,
these with one). An item is never deleted, because it keeps who lifted it, why, and when.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from mailonce.canonical import digest
from mailonce.ledgers.dynamodb import items
from mailonce.ledgers.dynamodb.expressions import Write
from mailonce.ledgers.dynamodb.rows import KEYS_PER_QUESTION, Rows
from mailonce.suppression import Suppression, normal

KEY = "suppression#"
_LIST = "suppressions"
_LOG = "#token = :token, #history = list_append(if_not_exists(#history, :nothing), :lines)"

# What happened before a suppression was lifted does not bring it back, and neither does the event that made it, even
# if the provider's clock was ahead of ours.
_ADD = Write(
    "SET #month_shard = :month_shard, #recipient_id = :address, #reason = :reason, #since = :since, #by = :by, "
    f"#delivery = :delivery, {_LOG} REMOVE #lifted_at",
    "attribute_not_exists(#key) OR (attribute_not_exists(#month_shard) AND #lifted_at < :since AND #since < :since)",
)
_LIFT = Write(f"SET #lifted_at = :now, {_LOG} REMOVE #month_shard, #recipient_id", "attribute_exists(#month_shard)")


class DynamoDBSuppressions:
    """Keeps the suppressions in the ledger's table, see :class:`mailonce.ledgers.base.Suppressions`.

    :param rows: of the ledger's table.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def add(self, suppression: Suppression) -> bool:
        """See :class:`mailonce.ledgers.base.Suppressions`."""
        address = suppression.address
        values = {
            "month_shard": items.shard(_LIST, digest(address)),
            "address": address,
            "reason": suppression.reason,
            "since": items.moment(suppression.since),
            "by": suppression.by,
            "delivery": suppression.key,
        }
        line = {"state": "SUPPRESSED", "by": suppression.by, "note": suppression.reason}
        return self._write(address, _ADD, line, values) is not None

    def of(self, addresses: Iterable[str]) -> Iterator[Suppression]:
        """See :class:`mailonce.ledgers.base.Suppressions`; 100 addresses are one question."""
        wanted = iter(dict.fromkeys(map(normal, addresses)))
        while some := list(islice(wanted, KEYS_PER_QUESTION)):
            yield from self._held(KEY + address for address in some)

    def lift(self, address: str, *, by: str, reason: str) -> Suppression | None:
        """See :class:`mailonce.ledgers.base.Suppressions`."""
        item = self._write(normal(address), _LIFT, {"state": "LIFTED", "by": by, "note": reason})
        return _suppression(item) if item else None

    def all(self) -> Iterator[Suppression]:
        """See :class:`mailonce.ledgers.base.Suppressions`; by address. The index follows the table after a moment."""
        for keys in self._rows.listed(_LIST):
            yield from sorted(self._held(keys), key=lambda held: held.address)

    def _held(self, keys: Iterable[str]) -> Iterator[Suppression]:
        return (_suppression(item) for item in self._rows.read(keys) if "month_shard" in item)

    def _write(
        self, address: str, write: Write, line: Mapping[str, str], values: Mapping[str, Any] | None = None
    ) -> items.Item | None:
        """Make one change, with its line of the item's history; return the item, or None if nothing was to be changed."""
        token = str(uuid.uuid4())

        def at(now: datetime) -> dict[str, Any]:
            moment = items.moment(now)
            return {**(values or {}), "now": moment, "token": token, "lines": [{"at": moment, **line}], "nothing": []}

        written, item = self._rows.write(KEY + address, write, at)
        # A write whose answer was lost is refused when it is repeated, and finds its own token.
        return item if item and (written or item.get("token") == token) else None


def _suppression(item: items.Item) -> Suppression:
    return Suppression(
        address=item["key"].removeprefix(KEY),
        reason=item["reason"],
        since=datetime.fromisoformat(item["since"]),
        by=item["by"],
        key=item["delivery"],
    )
