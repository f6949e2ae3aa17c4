"""What leaves the DynamoDB ledger again, and the marks that stay: items under keys that no delivery can have.

A mark stands in the index by month as long as it holds, as a suppression does: in partitions of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import chain
from typing import Any

from mailonce.canonical import digest
from mailonce.ledgers.dynamodb import items, suppressions
from mailonce.ledgers.dynamodb.expressions import Write
from mailonce.ledgers.dynamodb.rows import Rows
from mailonce.privacy.erasure import Erasure
from mailonce.privacy.purges import Purge
from mailonce.suppression import normal

_KEY = "purge"
_LIST = "purges"
_LOG = "#history = list_append(if_not_exists(#history, :nothing), :lines)"

_MARK = Write(
    f"SET #month_shard = :month_shard, #recipient_id = :name, #purged_at = :now, #by = :by, #reason = :reason, {_LOG}",
    "attribute_not_exists(#month_shard)",
)
_REOPEN = Write(f"SET {_LOG} REMOVE #month_shard, #recipient_id", "attribute_exists(#month_shard)")

_ERASE = "SET #email = :email, #fingerprint = :empty, #history = :history"
_AS_READ = "#email = :email_before AND size(#history) = :lines_before AND #state IN (:SENT, :REJECTED, :CANCELLED)"

_OF_THE_MONTH = "#campaign = :campaign AND #period = :period"
_DONE = "#state IN (:SENT, :RELEASED, :REJECTED, :CANCELLED)"
_FINISHED = Write("", f"{_OF_THE_MONTH} AND {_DONE}")
_SETTLED = Write("", f"{_OF_THE_MONTH} AND ({_DONE} OR #settled_at < :now)")
_EXPIRED = Write("", "#expires_at <= :unix_time")
_SUPPRESSED = Write("", "attribute_exists(#key)")

_AT_ONCE = 8
"""So many requests are made at once; a boto3 client has ten connections unless told otherwise."""

Values = Callable[[datetime], Mapping[str, Any]]


class DynamoDBPrivacy:
    """See :class:`mailonce.ledgers.base.Privacy`. A row is deleted by a request of its own: no batch takes conditions.

    :param rows: of the ledger's table.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def erase(self, erasure: Erasure) -> bool:
        """See :class:`mailonce.ledgers.base.Privacy`. An erasure whose answer was lost finds its own work."""
        texts = {name: text for name in ("error", "fate_detail") if (text := getattr(erasure, name)) is not None}
        sets = "".join(f", #{name} = :{name}" for name in texts)
        values = {
            "email": erasure.email, "empty": "", "history": [dict(line) for line in erasure.history],
            "email_before": erasure.email_before, "lines_before": erasure.lines_before, **texts,
        }  # fmt: skip
        # What a person decided, and why, stands in the history too, there without addresses.
        write = Write(f"{_ERASE}{sets} REMOVE #decision_reason", _AS_READ)
        written, row = self._rows.write(erasure.key, write, lambda _now: values)
        if written or row is None:
            return written
        return (row["email"], len(row["history"])) == (erasure.email, len(erasure.history))

    def forget_suppression(self, address: str) -> bool:
        """See :class:`mailonce.ledgers.base.Privacy`."""
        return self._rows.delete(suppressions.KEY + normal(address), _SUPPRESSED, lambda _now: {})

    def mark(self, purge: Purge) -> Purge:
        """See :class:`mailonce.ledgers.base.Privacy`."""
        name = (purge.campaign, purge.period, purge.edition)
        values = {
            "month_shard": items.shard(_LIST, digest(name)),
            "name": " ".join(name),
            "by": purge.by,
            "reason": purge.reason,
        }
        while True:
            item = self._write(name, _MARK, {"state": "PURGED", "by": purge.by, "note": purge.reason}, values)[1]
            if item and "month_shard" in item:
                return _purge(item)

    def purged(self, campaign: str, period: str, edition: str) -> Purge | None:
        """See :class:`mailonce.ledgers.base.Privacy`."""
        return next(self._held([_key((campaign, period, edition))]), None)

    def purges(self) -> Iterator[Purge]:
        """See :class:`mailonce.ledgers.base.Privacy`. The index follows the table after a moment."""
        marks = chain.from_iterable(self._held(keys) for keys in self._rows.listed(_LIST))
        yield from sorted(marks, key=lambda mark: (mark.campaign, mark.period, mark.edition))

    def reopen(self, campaign: str, period: str, edition: str, *, by: str, reason: str) -> Purge | None:
        """See :class:`mailonce.ledgers.base.Privacy`."""
        name = (campaign, period, edition)
        written, item = self._write(name, _REOPEN, {"state": "REOPENED", "by": by, "note": reason})
        return _purge(item) if written and item else None

    def purge(self, campaign: str, period: str, *, unsettled: bool = False) -> int:
        """See :class:`mailonce.ledgers.base.Privacy`. Deletes all of the month at once; the index may lag by a second."""
        keys = chain.from_iterable(self._rows.listed(items.month(campaign, period)))
        month = {"campaign": campaign, "period": period}
        return self._delete(keys, _SETTLED if unsettled else _FINISHED, lambda now: {**month, "now": items.moment(now)})

    def purge_expired(self) -> int:
        """See :class:`mailonce.ledgers.base.Privacy`. Reads the whole table; needs ``dynamodb:Scan``. DynamoDB's own
        deletion, if it is switched on, costs nothing.
        """
        found = self._rows.scanned((0, 1), ["key", "expires_at"], equal=("expires_at", ""))
        keys = (str(row["key"]) for row in found)
        return self._delete(keys, _EXPIRED, lambda now: {"unix_time": items.unix_time(now)})

    def _delete(self, keys: Iterable[str], condition: Write, values: Values) -> int:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return sum(pool.map(lambda key: self._rows.delete(key, condition, values), keys))

    def _held(self, keys: Iterable[str]) -> Iterator[Purge]:
        return (_purge(item) for item in self._rows.read(keys) if "month_shard" in item)

    def _write(
        self, name: tuple[str, str, str], write: Write, line: Mapping[str, str], values: Mapping[str, Any] | None = None
    ) -> tuple[bool, items.Item | None]:
        def at(now: datetime) -> dict[str, Any]:
            moment = items.moment(now)
            return {**(values or {}), "now": moment, "lines": [{"at": moment, **line}], "nothing": []}

        return self._rows.write(_key(name), write, at)


def _key(name: tuple[str, str, str]) -> str:
    # None of the three can hold the separator: all are tags of mails.
    return "#".join((_KEY, *name))


def _purge(item: items.Item) -> Purge:
    _, campaign, period, edition = item["key"].split("#")
    return Purge(
        campaign=campaign,
        period=period,
        edition=edition,
        by=item["by"],
        reason=item["reason"],
        at=items.moment_of(item, "purged_at"),
    )
