"""Which ledger a table holds: one item beside the deliveries, under a key that no delivery can have."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from mailonce.epoch import Epoch
from mailonce.ledgers.dynamodb import items
from mailonce.ledgers.dynamodb.clock import TableClock
from mailonce.ledgers.dynamodb.expressions import Write
from mailonce.ledgers.dynamodb.rows import Rows
from mailonce.ledgers.dynamodb.table import LedgerTable

_KEY = "ledger#epoch"
_MAKE = Write(
    "SET #id = :id, #home = :home, #made_at = :now, #runs = :zero, #earlier = :nothing", "attribute_not_exists(#key)"
)
# Who asks again because the answer was lost counts twice. That is harmless: a ledger is suspect when its count is
# lower than one that somebody was told, and nobody was told the one between.
_ADVANCE = Write("SET #runs = #runs + :one", "attribute_exists(#key)")
_DRAINED = Write(
    "SET #events_drained_at = :moment",
    "attribute_exists(#key) AND (attribute_not_exists(#events_drained_at) OR #events_drained_at < :moment)",
)
_ADOPT = Write("SET #id = :id, #home = :home, #earlier = list_append(#earlier, :lines)", "#id = :earlier_id")


class DynamoDBEpochStore:
    """Keeps the epoch in the ledger's table, see :class:`mailonce.ledgers.base.EpochStore`.

    A table is known by its ARN and by the id that DynamoDB gives each table when it makes it (``TableId``, see
    "TableDescription" in the API reference): a backup that is restored, and a table deleted and made anew, is
    another table. The item itself travels with the data, and so tells where it was made.

    :param rows: of the ledger's table. :param table: that table, which is asked for its name once.
    :param clock: the table's.
    """

    def __init__(self, rows: Rows, table: LedgerTable, clock: TableClock) -> None:
        self._rows = rows
        self._table = table
        self._clock = clock
        self._here: str | None = None

    def read(self) -> Epoch:
        """See :class:`mailonce.ledgers.base.EpochStore`."""
        return self._epoch(self._item())

    def advance(self) -> Epoch:
        """See :class:`mailonce.ledgers.base.EpochStore`. A count whose answer was lost may count twice: harmless."""
        return self._epoch(self._change(_ADVANCE, {"one": 1}, lambda _item: False))

    def drained(self, moment: datetime) -> None:
        """See :class:`mailonce.ledgers.base.EpochStore`."""
        text = items.moment(moment)
        self._change(_DRAINED, {"moment": text}, lambda item: item.get("events_drained_at", "") >= text)

    def adopt(self, *, by: str, reason: str) -> Epoch:
        """See :class:`mailonce.ledgers.base.EpochStore`."""
        self._here = None
        new = str(uuid.uuid4())
        item = self._item()
        while item["id"] != new:  # a rival may have adopted it since we looked
            until = items.moment(self._clock.now())
            earlier = {"id": item["id"], "home": item["home"], "until": until, "by": by, "reason": reason}
            values = {"id": new, "home": self._store(), "lines": [earlier], "earlier_id": item["id"]}
            item = self._change(_ADOPT, values, lambda _item: True)
        return self._epoch(item)

    def _item(self) -> items.Item:
        """Return the item, made if it is not there."""
        while (item := next(self._rows.read([_KEY]), None)) is None:
            self._make()
        return item

    def _change(self, write: Write, values: Mapping[str, Any], unneeded: Callable[[items.Item], bool]) -> items.Item:
        """Make a change to the item, which is made if it is not there; return it as it then stands.

        :param unneeded: whether a refusal was right. If not, the item was made just after our write.
        """
        while True:
            written, item = self._rows.write(_KEY, write, lambda _now: values)
            if item is None:
                self._make()
            elif written or unneeded(item):
                return item

    def _make(self) -> None:
        self._here = None  # the table may have been made anew since
        values = {"id": str(uuid.uuid4()), "home": self._store(), "zero": 0, "nothing": []}
        self._rows.write(_KEY, _MAKE, lambda now: {**values, "now": items.moment(now)})

    def _store(self) -> str:
        """Return how the table names itself."""
        here = self._here
        if here is None:
            table = self._table.describe()
            # Not every stand-in for DynamoDB gives its tables ids.
            made = table.get("TableId") or items.moment(table["CreationDateTime"])
            self._here = here = f"{table['TableArn']} {made}"
        return here

    def _epoch(self, item: items.Item) -> Epoch:
        if self._store() != item["home"]:
            self._here = None  # what we remember is doubted before the ledger is
        return Epoch(
            id=item["id"],
            home=item["home"],
            here=self._store(),
            runs=int(item["runs"]),
            events_drained_at=items.moment_of(item, "events_drained_at"),
            read_at=self._clock.now(),
        )
