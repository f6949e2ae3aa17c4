"""The DynamoDB ledger for people who look through it.

No index holds a row's state: it would have to be written, and paid for, with every change of it, so twice more for each
mail. So what depends on the state is found by reading rows. What that costs stands with each question; prices are those
of on-demand capacity, where a million read units cost about as much as a fifth of a million writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from heapq import merge
from itertools import groupby, islice
from operator import itemgetter

from mailonce.browsing import (
    PAGE,
    MonthTotals,
    Page,
    Place,
    Search,
    Tally,
    checked,
    months_of,
    newest_first,
    page,
    storable,
)
from mailonce.delivery import Entry
from mailonce.events import Fate
from mailonce.ledgers.dynamodb import items
from mailonce.ledgers.dynamodb.clock import TableClock
from mailonce.ledgers.dynamodb.rows import KEYS_PER_QUESTION, Rows
from mailonce.ledgers.dynamodb.table import BY_MONTH
from mailonce.states import State

READ_AT_MOST = 5_000
"""A search stops after so many rows, and its page tells where to go on: nobody waits longer than some seconds for it."""

_AT_ONCE = 8
"""So many questions are asked at once; a boto3 client has ten connections unless told otherwise."""

_KIND = ("campaign", "period", "edition", "state", "fate")
_COUNTED = (*_KIND, "expires_at", "updated_at")
_FEW = 100
"""So many lines of each partition of the index make one answer, of which a page needs a few."""

_Kind = tuple[str, ...]


class DynamoDBBrowser:
    """Answers from the index by month and from the rows themselves, see :class:`mailonce.browsing.Browser`.

    The index, and a scan, follow the writes after a moment: about a second.

    :param rows: of the ledger's table. :param clock: the table's.
    """

    def __init__(self, rows: Rows, clock: TableClock) -> None:
        self._rows = rows
        self._clock = clock

    def months(self) -> Sequence[MonthTotals]:
        """See :class:`mailonce.browsing.Browser`.

        Reads the whole table, because every row has to be counted: one read unit for 8 KB, so 125,000 for a million
        rows of 1 KB. To read them one by one, by an index, would cost eight times that. Needs ``dynamodb:Scan``.
        """
        parts = [
            self._rows.scanned((part, _AT_ONCE), _COUNTED, equal=("state", ""))  # whatever has a state is a delivery
            for part in range(_AT_ONCE)
        ]
        return months_of(self._counted(parts))

    def totals(self, campaign: str, period: str) -> Sequence[MonthTotals]:
        """See :class:`mailonce.browsing.Browser`.

        Reads the month's rows, which the index by month lists: one read unit each, and one for about 60 lines of it.
        """
        if not (storable(campaign) and storable(period)):
            return []
        parts = [self._rows_of(shard) for shard in items.shards(items.month(campaign, period))]
        tallies = self._counted(parts)
        return months_of(tally for tally in tallies if (tally.campaign, tally.period) == (campaign, period))

    def search(self, search: Search, *, after: str = "", limit: int = PAGE) -> Page:
        """See :class:`mailonce.browsing.Browser`.

        A page costs about a hundred read units where most rows fit. Where few do, rows are read in the order of
        recipient ids until the page is full, and at most :data:`READ_AT_MOST`: the page is then short, perhaps empty,
        and tells where to go on. To find the last of a million costs a million units, over two hundred pages.
        """
        place, found = Place.of(after), list[Entry]()
        checked(limit)
        if not search.possible:
            return Page(entries=())
        places = self._places(search, place)
        for number, (place, entry) in enumerate(self._looked_at(places, min(limit + 1, KEYS_PER_QUESTION)), start=1):
            if entry and search.fits(entry):
                found.append(entry)
            if len(found) > limit:
                break
            if number == READ_AT_MOST:
                return Page(entries=tuple(found), after=place.after)
        return page(found, limit)

    def of_recipient(self, recipient_id: str) -> Iterator[Entry]:
        """See :class:`mailonce.browsing.Browser`.

        Reads the whole index by month, which holds keys only: one read unit for about 60 rows of the ledger, so some
        16,000 for a million. An index by recipient would answer at once, and cost every mail one more write unit.
        Needs ``dynamodb:Scan``.
        """
        if not storable(recipient_id):
            return
        parts = [
            self._rows.scanned((part, _AT_ONCE), ["key"], index=BY_MONTH, equal=("recipient_id", recipient_id))
            for part in range(_AT_ONCE)
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            keys = [key for some in pool.map(lambda part: [row["key"] for row in part], parts) for key in some]
        found: list[Entry] = []
        for first in range(0, len(keys), KEYS_PER_QUESTION):
            found += self._entries(keys[first : first + KEYS_PER_QUESTION]).values()
        yield from newest_first(entry for entry in found if entry.identity.recipient_id == recipient_id)

    def _places(self, search: Search, after: Place) -> Iterator[Place]:
        """Yield where there is, by the index, a row of the month whose recipient id begins as it should."""
        begin = max(search.recipient_id, after.recipient_id)
        rows: Iterator[items.Item] = merge(
            *(
                self._rows.look_up(BY_MONTH, "month_shard", shard, begin=("recipient_id", begin), page=_FEW)
                for shard in items.shards(items.month(search.campaign, search.period))
            ),
            key=itemgetter("recipient_id"),
        )
        for recipient_id, same in groupby(rows, key=itemgetter("recipient_id")):
            if not recipient_id.startswith(search.recipient_id):
                return
            # In which order the index has them is not said.
            places = (Place(recipient_id, key) for key in sorted(row["key"] for row in same))
            yield from (place for place in places if place > after)

    def _looked_at(self, places: Iterator[Place], at_once: int) -> Iterator[tuple[Place, Entry | None]]:
        """Yield each place with the row that stands there, if it still does; ``at_once`` are the first question."""
        while some := list(islice(places, at_once)):
            entries = self._entries(place.key for place in some)
            yield from ((place, entries.get(place.key)) for place in some)
            at_once = KEYS_PER_QUESTION  # these were not enough: few of them fit

    def _entries(self, keys: Iterable[str]) -> Mapping[str, Entry]:
        now = self._clock.now
        rows = (row for row in self._rows.read(keys) if items.is_delivery(row) and not items.expired(row, now()))
        return {row["key"]: items.entry(row, now()) for row in rows}

    def _rows_of(self, shard: str) -> Iterator[items.Item]:
        """Yield what is counted of one partition of a month."""
        listed = self._rows.look_up(BY_MONTH, "month_shard", shard)
        while some := [row["key"] for row in islice(listed, KEYS_PER_QUESTION)]:
            yield from self._rows.read(some, attributes=_COUNTED)

    def _counted(self, parts: Iterable[Iterator[items.Item]]) -> list[Tally]:
        """Count rows, several parts at once."""
        now = self._clock.now()

        def count(part: Iterator[items.Item]) -> tuple[Counter[_Kind], dict[_Kind, str]]:
            numbers, latest = Counter[_Kind](), dict[_Kind, str]()
            for row in part:
                if not items.expired(row, now):
                    kind = tuple(row.get(name, "") for name in _KIND)
                    numbers[kind] += 1
                    latest[kind] = max(latest.get(kind, ""), row["updated_at"])
            return numbers, latest

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [
                _tally(kind, number, latest[kind])
                for numbers, latest in pool.map(count, parts)
                for kind, number in numbers.items()
            ]


def _tally(kind: _Kind, number: int, changed_at: str) -> Tally:
    campaign, period, edition, state, fate = kind
    return Tally(
        campaign=campaign,
        period=period,
        edition=edition,
        state=State(state),
        fate=Fate(fate) if fate else None,
        number=number,
        changed_at=datetime.fromisoformat(changed_at),
    )
