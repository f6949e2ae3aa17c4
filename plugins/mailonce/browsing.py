"""Looking through a ledger: its months with their totals, and its rows a page at a time."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from mailonce.delivery import MAXIMUM_RECIPIENT_ID, Entry
from mailonce.errors import InvalidInput
from mailonce.events import Fate
from mailonce.states import State

PAGE = 50
"""So many rows are one page, unless asked otherwise."""

MOST_A_PAGE = 1000
"""So many rows are one page for who wants them all."""

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class MonthTotals:
    """One campaign, month and edition, counted.

    :param states: how many rows are in each state that occurs. :param fates: of the accepted ones, as far as the
        provider's events tell. :param changed_at: when a row last changed, by the ledger's clock; None: not known.
    """

    campaign: str
    period: str
    edition: str
    states: Mapping[State, int]
    fates: Mapping[Fate, int] = field(default_factory=dict)
    changed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which rows of one campaign and month to look at; what is empty is not asked about.

    :param states: any of these. :param fates: any of these. :param recipient_id: begins with this.
    """

    campaign: str
    period: str
    edition: str = ""
    states: frozenset[State] = frozenset()
    fates: frozenset[Fate] = frozenset()
    recipient_id: str = ""

    def fits(self, entry: Entry) -> bool:
        """Whether a row is searched for."""
        who = entry.identity
        return (
            (who.campaign, who.period) == (self.campaign, self.period)
            and self.edition in ("", who.edition)
            and (not self.states or entry.state in self.states)
            and (not self.fates or entry.fate in self.fates)
            and who.recipient_id.startswith(self.recipient_id)
        )

    @property
    def possible(self) -> bool:
        """Whether a row could ever be found: no ledger can store every text that can be asked for."""
        return all(map(storable, (self.campaign, self.period, self.edition, self.recipient_id)))


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some rows, by recipient id and key, and where the next page begins.

    A page may hold fewer rows than asked for, or none, and still not be the last: where what is searched for is rare,
    a ledger may stop looking before the caller stops waiting.

    :param after: give it back to get the next page; empty: this is the last.
    """

    entries: tuple[Entry, ...]
    after: str = ""


@dataclass(frozen=True, order=True)
class Place:
    """Where a page ends: ids and keys in the order of their code points. As text it is ``after``."""

    recipient_id: str = ""
    key: str = ""

    @classmethod
    def of(cls, after: str) -> Place:
        """Return the place that a page told; of an empty text, the one before everything.

        It says where to go on, and is no secret: whoever makes one up sees no more than a search shows anyway.

        :raises mailonce.errors.InvalidInput: no page told this.
        """
        if not after:
            return cls()
        try:
            told = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
            place = cls(*told) if isinstance(told, list) else cls()
            genuine = place.after == after and _KEY.fullmatch(place.key) and storable(place.recipient_id)
        except (ValueError, TypeError, RecursionError):
            genuine = False
        if not genuine or not 0 < len(place.recipient_id) <= MAXIMUM_RECIPIENT_ID:
            raise InvalidInput(
                field="after",
                reason="is not what a page of this ledger told",
                remedy="Begin with the first page, and give back what it tells as it is",
            )
        return place

    @classmethod
    def at(cls, entry: Entry) -> Place:
        """Return where a row stands."""
        return cls(entry.identity.recipient_id, entry.key)

    @property
    def after(self) -> str:
        """The place as text that can stand in a URL."""
        told = json.dumps([self.recipient_id, self.key], ensure_ascii=False, separators=(",", ":"))
        return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """So many rows of one month and edition that are in the same state and have the same fate."""

    campaign: str
    period: str
    edition: str
    state: State
    fate: Fate | None
    number: int
    changed_at: datetime | None


def page(found: Sequence[Entry], limit: int) -> Page:
    """Return the page that begins with these rows. :param found: one more than ``limit``, if there are so many."""
    entries = tuple(found[:limit])
    if len(found) <= limit:
        return Page(entries=entries)
    return Page(entries=entries, after=Place.at(entries[-1]).after)


class Browser(Protocol):
    """Answers questions about many rows, fast with millions of them; expired rows are left out. Changes nothing."""

    def months(self) -> Sequence[MonthTotals]:
        """Return every campaign, month and edition there is: the newest month first, then by campaign and edition."""
        ...

    def totals(self, campaign: str, period: str) -> Sequence[MonthTotals]:
        """Return one campaign's month, an edition each, in the editions' order."""
        ...

    def search(self, search: Search, *, after: str = "", limit: int = PAGE) -> Page:
        """Return a page of what is searched for, in the order of recipient ids.

        :param after: of the page before; empty: the first page.
        :raises mailonce.errors.InvalidInput: ``after`` is not what a page told.
        """
        ...

    def of_recipient(self, recipient_id: str) -> Iterator[Entry]:
        """Yield every row of one recipient id (exactly this one), of all campaigns and months, newest month first."""
        ...


def found(browser: Browser, search: Search, *, at_a_time: int | None = None) -> Iterator[Entry]:
    """Yield all that is searched for. :param at_a_time: so many rows are asked for in one page; None: :data:`MOST_A_PAGE`."""
    after = ""
    while True:
        page = browser.search(search, after=after, limit=at_a_time or MOST_A_PAGE)
        yield from page.entries
        if not (after := page.after):
            return


def checked(limit: int) -> int:
    """Return a page's length.

    :raises mailonce.errors.InvalidInput: there is no page of such a length.
    """
    if limit < 1:
        raise InvalidInput(field="limit", reason=f"{limit} rows are no page", remedy="Ask for 1 or more")
    return limit


def months_of(tallies: Iterable[Tally]) -> list[MonthTotals]:
    """Return what was counted by month, in the order that :meth:`mailonce.browsing.Browser.months` promises."""
    found: dict[tuple[str, str, str], list[Tally]] = {}
    for tally in tallies:
        found.setdefault((tally.campaign, tally.edition, tally.period), []).append(tally)
    in_order = sorted(sorted(found), key=lambda month: month[2], reverse=True)
    return [_totals(*month, found[month]) for month in in_order]


def newest_first(entries: Iterable[Entry]) -> list[Entry]:
    """Return one recipient's rows in the order that :meth:`mailonce.browsing.Browser.of_recipient` promises."""
    ordered = sorted(entries, key=lambda entry: (entry.identity.campaign, entry.identity.edition, entry.key))
    return sorted(ordered, key=lambda entry: entry.identity.period, reverse=True)


def storable(text: str) -> bool:
    """Tell whether a text can be in a ledger: PostgreSQL knows no NUL, and UTF-8 no half of a pair of surrogates."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _totals(campaign: str, edition: str, period: str, tallies: Sequence[Tally]) -> MonthTotals:
    states: dict[State, int] = {}
    fates: dict[Fate, int] = {}
    for tally in tallies:
        states[tally.state] = states.get(tally.state, 0) + tally.number
        if tally.fate:
            fates[tally.fate] = fates.get(tally.fate, 0) + tally.number
    changes = [tally.changed_at for tally in tallies if tally.changed_at]
    return MonthTotals(
        campaign=campaign,
        period=period,
        edition=edition,
        states=states,
        fates=fates,
        changed_at=max(changes, default=None),
    )
