"""How fast an account's mails may leave: one timetable for all workers, of which each reserves some slots.

The timetable is virtual: it holds the moment from which slots are free. Whoever reserves begins there, or now if that
is later, and moves it on by as many slots as it takes. So however many workers there are, no two have the same slot,
slots are evenly spaced, workers take turns in the order of their asking, and a worker that dies wastes no more than
the slots that it held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

SLOWDOWN = 0.7
"""When the provider throttles, the rate falls to this share of what it was …"""

SLOWEST = 0.1
"""… but never below this share of the account's rate …"""

RECOVERY = 0.02
"""… and rises again by this share of the account's rate a second: from one throttling it recovers in 15 seconds."""

FORBEARANCE = timedelta(seconds=1)
"""Throttled answers count once in so long, however many workers get one; and not before the slower pace has begun."""

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Some slots, one mail each.

    :param wait: seconds until the first one, from the moment of the answer. :param spacing: seconds from each to the next.
    """

    wait: float
    spacing: float


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """An account's slots, as a ledger keeps them. All moments are the ledger's clock. Pure.

    The PostgreSQL ledger says the same in SQL (``ledgers/postgres/sql/rates.sql``).

    :param maximum: mails a second that the account may send.
    :param share: what was left of that by the latest throttling. :param slower_from: the first slot of that pace.
    :param free_from: the first slot that nobody has.
    """

    maximum: float
    share: float
    slower_from: datetime
    free_from: datetime

    @classmethod
    def new(cls, maximum: float, now: datetime) -> Timetable:
        """Return the timetable of an account of which nothing was known."""
        return cls(maximum=maximum, share=1.0, slower_from=now, free_from=now)

    def spacing(self, moment: datetime) -> timedelta:
        """Return the time from one slot to the next, at a moment."""
        return _SECOND / (self.maximum * self._share(moment))

    def reserved(self, slots: int, now: datetime) -> Timetable:
        """Return the timetable after somebody took so many slots."""
        starts_at = max(now, self.free_from)
        return replace(self, free_from=starts_at + slots * self.spacing(starts_at))

    def throttled(self, now: datetime) -> Timetable:
        """Return the timetable after the provider refused a mail for coming too fast; the same if that is known.

        Slots that somebody holds already are not taken back: the slower pace begins behind them.
        """
        if now < self.slower_from + FORBEARANCE and self.share < 1:
            return self
        return replace(self, share=max(SLOWEST, SLOWDOWN * self._share(now)), slower_from=max(now, self.free_from))

    def limited(self, maximum: float, now: datetime) -> Timetable:
        """Return the timetable for another rate of the account.

        What is reserved shrinks with a higher rate: else all would wait for slots that were reserved at a snail's pace.
        """
        ahead = max(timedelta(0), self.free_from - now) * min(1.0, self.maximum / maximum)
        free_from = now + ahead
        return replace(self, maximum=maximum, free_from=free_from, slower_from=min(self.slower_from, free_from))

    def _share(self, moment: datetime) -> float:
        recovering = max(timedelta(0), moment - self.slower_from).total_seconds()
        return min(1.0, self.share + RECOVERY * recovering)
