"""The month that a run reports: from a parameter, or the calendar month before the run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import cached_property
from zoneinfo import ZoneInfo

from mailonce.errors import InvalidInput

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)
_UNBOUNDED = ("0001-01", "9999-12")
"""One of their midnights is, in some time zone, beyond what a datetime can hold."""


@dataclass(frozen=True)
class Period:
    """One calendar month in one time zone.

    :param key: ``YYYY-MM``. :param zone: IANA name of the time zone whose midnights bound it.
    :raises mailonce.errors.InvalidInput: either is not what it should be.
    """

    key: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if not _MONTH.fullmatch(self.key) or self.key.startswith("0000") or self.key in _UNBOUNDED:
            raise InvalidInput(field="period", reason=f"{self.key!r} is not a month", remedy="Write it as 2026-10")
        time_zone(self.zone)

    @cached_property
    def start(self) -> date:
        """First day of the month."""
        year, month = self.key.split("-")
        return date(int(year), int(month), 1)

    @property
    def next_start(self) -> date:
        """First day of the month after."""
        return (self.start + timedelta(days=31)).replace(day=1)

    @property
    def last_day(self) -> date:
        """Last day of the month."""
        return self.next_start - timedelta(days=1)

    @property
    def label(self) -> str:
        """The month for people: ``October 2026``."""
        return f"{self.start:%B %Y}"

    @property
    def starts_at(self) -> datetime:
        """The instant the month begins, in UTC: midnight in the time zone."""
        return self._midnight(self.start)

    @property
    def ends_at(self) -> datetime:
        """The instant the next month begins, in UTC; usage at this instant belongs to the next month."""
        return self._midnight(self.next_start)

    def _midnight(self, day: date) -> datetime:
        local = datetime(day.year, day.month, day.day, tzinfo=time_zone(self.zone))
        return local.astimezone(timezone.utc)


def month_before(anchor: datetime, zone: str) -> Period:
    """Return the calendar month before the one in which ``anchor`` lies, in the time zone.

    :param anchor: an instant; must know its time zone.
    :raises ValueError: it does not.
    """
    if anchor.tzinfo is None:
        raise ValueError("the anchor must be an instant: give it a time zone")
    local = anchor.astimezone(time_zone(zone)).date()
    return Period(f"{local.replace(day=1) - timedelta(days=1):%Y-%m}", zone)


def time_zone(name: str) -> ZoneInfo:
    """Return the time zone of that IANA name.

    :raises mailonce.errors.InvalidInput: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidInput(
            field="timezone",
            reason=f"{name!r} is not a time zone",
            remedy="Use an IANA name such as Europe/Berlin or UTC",
        ) from error
