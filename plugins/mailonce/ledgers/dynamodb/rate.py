"""How fast mails may leave: one item an account beside the deliveries, under a key that no delivery can have.

The decisions are those of :class:`mailonce.rate.Timetable`. Moments are whole microseconds since 1970, so that
DynamoDB can count on from them: a reservation needs no look at the item first, and rivals do not refuse each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from mailonce.ledgers.dynamodb.clock import TableClock
from mailonce.ledgers.dynamodb.expressions import Write
from mailonce.ledgers.dynamodb.items import Item
from mailonce.ledgers.dynamodb.rows import Rows
from mailonce.rate import Reservation, Timetable

_KEY = "ledger#rate#"
_1970 = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

# The version counts the changes of the rate: no slots are taken at a spacing that holds no more. No expression can say
# "the later of the two", so there is one write for a timetable with slots taken ahead, and one for an idle one.
_TAKE_NEXT = Write("SET #free_from = #free_from + :taken", "#version = :version AND #free_from > :now")
_TAKE_NOW = Write("SET #free_from = :now + :taken", "#version = :version AND #free_from <= :now")
_SLOW_DOWN = Write(
    "SET #share = :share, #slower_from = :slower_from, #version = #version + :one", "#version = :version"
)
_SET = "SET #maximum = :maximum, #share = :share, #free_from = :free_from, #slower_from = :slower_from"
_MAKE = Write(f"{_SET}, #version = :one", "attribute_not_exists(#key)")
_LIMIT = Write(f"{_SET}, #version = #version + :one", "#version = :version AND #free_from = :known_free_from")


class DynamoDBRateStore:
    """Keeps the timetables in the ledger's table, see :class:`mailonce.ledgers.base.RateStore`.

    The moments are the workers', as :class:`~mailonce.ledgers.dynamodb.clock.TableClock` corrects them. A worker whose
    clock runs ahead of the others' uses its slots earlier than it should, always by as much: all together stay within
    the rate, but it may get more than its turn.

    :param rows: of the ledger's table. :param clock: the table's.
    """

    def __init__(self, rows: Rows, clock: TableClock) -> None:
        self._rows = rows
        self._clock = clock
        self._known: dict[str, Item] = {}
        """Each account's item, as it was last seen."""

    def reserve(self, account: str, slots: int) -> Reservation | None:
        """See :class:`mailonce.ledgers.base.RateStore`. One whose answer was lost is made twice: harmless."""
        item = self._known.get(account) or self._read(account)
        while item is not None:
            timetable, now = _timetable(item), self._clock.now()
            spacing = timetable.spacing(max(now, timetable.free_from))
            taken = slots * spacing
            written, item = self._write(
                account,
                _TAKE_NEXT if timetable.free_from > now else _TAKE_NOW,
                {"taken": taken // _MICROSECOND, "version": item["version"]},
            )
            if written and item is not None:
                wait = _timetable(item).free_from - taken - self._clock.now()
                return Reservation(wait=max(0.0, wait.total_seconds()), spacing=spacing.total_seconds())
            # Another rate by now, or the other of the two writes: the refusal tells the item as it stands.
        return None

    def throttled(self, account: str) -> None:
        """See :class:`mailonce.ledgers.base.RateStore`."""
        if item := self._read(account):
            known = _timetable(item)
            slower = known.throttled(self._clock.now())
            if slower != known:
                # Refused: somebody else has just slowed down, for everybody.
                self._write(account, _SLOW_DOWN, {**_values(slower), "version": item["version"]})

    def limit(self, account: str, maximum: float) -> None:
        """See :class:`mailonce.ledgers.base.RateStore`."""
        written = False
        while not written:
            item, now = self._read(account), self._clock.now()
            if item is None:
                written, _ = self._write(account, _MAKE, _values(Timetable.new(maximum, now)))
                continue
            known = _timetable(item)
            if known.maximum == maximum:
                return
            values = {"version": item["version"], "known_free_from": item["free_from"]}
            written, _ = self._write(account, _LIMIT, {**_values(known.limited(maximum, now)), **values})

    def _read(self, account: str) -> Item | None:
        item = next(self._rows.read([_KEY + account]), None)
        if item is not None:
            self._known[account] = item
        return item

    def _write(self, account: str, write: Write, values: Mapping[str, Any]) -> tuple[bool, Item | None]:
        written, item = self._rows.write(
            _KEY + account, write, lambda now: {**values, "now": _microseconds(now), "one": 1}
        )
        if item is None:
            self._known.pop(account, None)
        else:
            self._known[account] = item
        return written, item


def _microseconds(moment: datetime) -> int:
    return (moment - _1970) // _MICROSECOND


def _moment(microseconds: Decimal) -> datetime:
    return _1970 + int(microseconds) * _MICROSECOND


def _values(timetable: Timetable) -> dict[str, Any]:
    return {
        "maximum": Decimal(str(timetable.maximum)),
        "share": Decimal(str(timetable.share)),
        "slower_from": _microseconds(timetable.slower_from),
        "free_from": _microseconds(timetable.free_from),
    }


def _timetable(item: Item) -> Timetable:
    return Timetable(
        maximum=float(item["maximum"]),
        share=float(item["share"]),
        slower_from=_moment(item["slower_from"]),
        free_from=_moment(item["free_from"]),
    )
