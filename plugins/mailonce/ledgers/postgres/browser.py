"""The PostgreSQL ledger for people who look through it. The questions stand in ``sql/browsing.sql``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mailonce.browsing import PAGE, MonthTotals, Page, Place, Search, Tally, checked, months_of, page, storable
from mailonce.delivery import Entry
from mailonce.events import Fate
from mailonce.ledgers.postgres.database import Database
from mailonce.ledgers.postgres.rows import entry_of
from mailonce.states import State

_SURROGATES = (0xD800, 0xDFFF)


class PostgresBrowser:
    """Answers from indexes alone, see :class:`mailonce.browsing.Browser`.

    With a million rows in a month a page of any search and :meth:`of_recipient` take some milliseconds. To count them
    takes a tenth of a second or two; half a second with 200,000 rows written since the table was last vacuumed, because
    PostgreSQL must then look at these rows themselves (by default it vacuums after a fifth of the table has changed).
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def months(self) -> Sequence[MonthTotals]:
        """See :class:`mailonce.browsing.Browser`."""
        return months_of(map(_tally, self._database.rows("months", {})))

    def totals(self, campaign: str, period: str) -> Sequence[MonthTotals]:
        """See :class:`mailonce.browsing.Browser`."""
        if not (storable(campaign) and storable(period)):
            return []
        return months_of(map(_tally, self._database.rows("totals", {"campaign": campaign, "period": period})))

    def search(self, search: Search, *, after: str = "", limit: int = PAGE) -> Page:
        """See :class:`mailonce.browsing.Browser`."""
        place, more = Place.of(after), checked(limit) + 1
        if not search.possible:
            return Page(entries=())
        kinds = _kinds(search)
        values = {
            "campaign": search.campaign,
            "period": search.period,
            "edition": search.edition,
            "states": [state.value for state, _ in kinds],
            "fates": [fate and fate.value for _, fate in kinds],
            "begin": max(search.recipient_id, place.recipient_id),
            "end": following(search.recipient_id),
            "after_recipient": place.recipient_id,
            "after_key": place.key,
            "page": more,
        }
        return page([entry_of(row) for row in self._database.rows("search", values)], limit)

    def of_recipient(self, recipient_id: str) -> Iterator[Entry]:
        """See :class:`mailonce.browsing.Browser`."""
        if storable(recipient_id):
            yield from map(entry_of, self._database.rows("of_recipient", {"recipient_id": recipient_id}))


def _kinds(search: Search) -> list[tuple[State, Fate | None]]:
    """Return the states and fates in which rows that are searched for can be: only what was sent has a fate."""
    kinds = [(state, None) for state in State] + [(State.SENT, fate) for fate in Fate]
    return [
        (state, fate)
        for state, fate in kinds
        if (not search.states or state in search.states) and (not search.fates or fate in search.fates)
    ]


def following(prefix: str) -> str | None:
    """Return the first text, in the order of code points, after all that begin with a prefix; None: there is none."""
    text = prefix.rstrip(chr(sys.maxunicode))
    if not text:
        return None
    character = ord(text[-1]) + 1
    return text[:-1] + chr(_SURROGATES[1] + 1 if character == _SURROGATES[0] else character)


def _tally(row: Mapping[str, Any]) -> Tally:
    return Tally(**{**row, "state": State(row["state"]), "fate": Fate(row["fate"]) if row["fate"] else None})
