"""The suppressions, the epoch, the timetables and the browser of the ledger in memory."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mailonce.browsing import PAGE, MonthTotals, Page, Place, Search, Tally, checked, months_of, newest_first, page
from mailonce.delivery import Entry
from mailonce.epoch import Epoch
from mailonce.rate import Reservation, Timetable
from mailonce.suppression import Suppression, normal

Call = Callable[[str, Callable[[], Any]], Any]
"""How the ledger makes a call: its name, and the work."""


@dataclass(frozen=True)
class Lifting:
    """Who let an address be mailed again, and why. :param at: no event of this moment or before brings it back."""

    at: datetime
    by: str
    reason: str


class MemorySuppressions:
    """Meets :class:`mailonce.ledgers.base.Suppressions`. ``liftings`` is the latest one of each address."""

    def __init__(self, now: Callable[[], datetime], call: Call) -> None:
        self._now = now
        self._call = call
        self._held: dict[str, Suppression] = {}
        self.liftings: dict[str, Lifting] = {}

    def add(self, suppression: Suppression) -> bool:
        return self._call("suppressions.add", lambda: self._add(suppression))

    def of(self, addresses: Iterable[str]) -> Iterator[Suppression]:
        wanted = dict.fromkeys(map(normal, addresses))
        return iter(self._call("suppressions.of", lambda: [self._held[one] for one in wanted if one in self._held]))

    def lift(self, address: str, *, by: str, reason: str) -> Suppression | None:
        return self._call("suppressions.lift", lambda: self._lift(normal(address), by, reason))

    def all(self) -> Iterator[Suppression]:
        return iter(self._call("suppressions.all", lambda: list(self._held.values())))

    def _add(self, suppression: Suppression) -> bool:
        address = suppression.address
        lifted = self.liftings.get(address)
        if address in self._held or (lifted and suppression.since <= lifted.at):
            return False
        self._held[address] = suppression
        return True

    def _lift(self, address: str, by: str, reason: str) -> Suppression | None:
        held = self._held.pop(address, None)
        if held is not None:
            # The provider's clock may run ahead of ours: what is lifted stays lifted all the same.
            self.liftings[address] = Lifting(max(self._now(), held.since), by, reason)
        return held


class MemoryEpoch:
    """Meets :class:`mailonce.ledgers.base.EpochStore`. To move the ledger elsewhere, set ``here``."""

    def __init__(self, now: Callable[[], datetime], call: Call) -> None:
        self._now = now
        self._call = call
        self._epoch = Epoch(
            id=str(uuid.uuid4()), home="memory", here="memory", runs=0, events_drained_at=None, read_at=now()
        )
        self.here = "memory"
        self.adoptions: list[tuple[Epoch, str, str]] = []
        """The epochs of before: each with who ended it, and why."""

    def read(self) -> Epoch:
        return self._call("epoch.read", self._change)

    def advance(self) -> Epoch:
        return self._call("epoch.advance", lambda: self._change(runs=self._epoch.runs + 1))

    def drained(self, moment: datetime) -> None:
        def work() -> None:
            latest = max(moment, self._epoch.events_drained_at or moment)
            self._change(events_drained_at=latest)

        self._call("epoch.drained", work)

    def adopt(self, *, by: str, reason: str) -> Epoch:
        def work() -> Epoch:
            self.adoptions.append((self._change(), by, reason))
            return self._change(id=str(uuid.uuid4()), home=self.here)

        return self._call("epoch.adopt", work)

    def _change(self, **changes: Any) -> Epoch:
        self._epoch = replace(self._epoch, **{"here": self.here, "read_at": self._now(), **changes})
        return self._epoch


class MemoryRates:
    """Meets :class:`mailonce.ledgers.base.RateStore`."""

    def __init__(self, now: Callable[[], datetime], call: Call) -> None:
        self._now = now
        self._call = call
        self.timetables: dict[str, Timetable] = {}

    def reserve(self, account: str, slots: int) -> Reservation | None:
        return self._call("rate.reserve", lambda: self._reserve(account, slots))

    def throttled(self, account: str) -> None:
        def work() -> None:
            if account in self.timetables:
                self.timetables[account] = self.timetables[account].throttled(self._now())

        self._call("rate.throttled", work)

    def limit(self, account: str, maximum: float) -> None:
        def work() -> None:
            known = self.timetables.get(account)
            if known is None:
                self.timetables[account] = Timetable.new(maximum, self._now())
            elif known.maximum != maximum:
                self.timetables[account] = known.limited(maximum, self._now())

        self._call("rate.limit", work)

    def _reserve(self, account: str, slots: int) -> Reservation | None:
        before, now = self.timetables.get(account), self._now()
        if before is None:
            return None
        after = self.timetables[account] = before.reserved(slots, now)
        starts_at = max(now, before.free_from)
        spacing = (after.free_from - starts_at) / slots
        return Reservation(wait=(starts_at - now).total_seconds(), spacing=spacing.total_seconds())


class MemoryBrowser:
    """Meets :class:`mailonce.ledgers.base.Browser`: looks at every row. :param rows: those that have not expired."""

    def __init__(self, call: Call, rows: Callable[[], Iterable[Entry]]) -> None:
        self._call = call
        self._rows = rows

    def months(self) -> Sequence[MonthTotals]:
        return self._call("browser.months", lambda: months_of(map(self._tally, self._rows())))

    def totals(self, campaign: str, period: str) -> Sequence[MonthTotals]:
        month = (campaign, period)

        def work() -> Sequence[MonthTotals]:
            same = (row for row in self._rows() if (row.identity.campaign, row.identity.period) == month)
            return months_of(map(self._tally, same))

        return self._call("browser.totals", work)

    def search(self, search: Search, *, after: str = "", limit: int = PAGE) -> Page:
        place = Place.of(after)
        checked(limit)

        def work() -> Page:
            rows = (row for row in self._rows() if search.fits(row) and Place.at(row) > place)
            return page(sorted(rows, key=Place.at)[: limit + 1], limit)

        return self._call("browser.search", work)

    def of_recipient(self, recipient_id: str) -> Iterator[Entry]:
        def work() -> list[Entry]:
            return newest_first(row for row in self._rows() if row.identity.recipient_id == recipient_id)

        return iter(self._call("browser.of_recipient", work))

    @staticmethod
    def _tally(row: Entry) -> Tally:
        who = row.identity
        return Tally(
            campaign=who.campaign, period=who.period, edition=who.edition, state=row.state, fate=row.fate, number=1,
            changed_at=None,
        )  # fmt: skip
