"""The clock that stamps and ages the rows of a DynamoDB table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

_PRECISION = timedelta(seconds=2)
"""A ``Date`` header is cut to a second, and servers are known to write it once a second: it may be two old."""


def utc_now() -> datetime:
    """Return this machine's wall clock."""
    return datetime.now(timezone.utc)


class TableClock:
    """DynamoDB's own time, as far as its answers tell it.

    DynamoDB lends no clock to its expressions, so the worker stamps what it writes. Workers disagree; so every
    answer's ``Date`` header is compared with the worker's clock, and a clock that is provably wrong is corrected.
    A clock that may be right, to the header's precision, is left alone: it is the finer one.

    :param clock: the worker's wall clock.
    """

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._offset = timedelta(0)

    def now(self) -> datetime:
        """Return the table's time; before the first answer, the worker's."""
        return self._clock() + self._offset

    def unadjusted(self) -> datetime:
        """Return the worker's time, to be taken before a request and given to :meth:`hear` with the answer."""
        return self._clock()

    def hear(self, answer: Mapping[str, Any], asked_at: datetime) -> None:
        """Learn from one answer, whether it was good or bad.

        :param answer: as boto3 returns it, or as its ``ClientError`` holds it.
        :param asked_at: :meth:`unadjusted`, just before the request.
        """
        heard_at = self._clock()
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date is None:
            return
        try:
            said = parsedate_to_datetime(date)
        except ValueError:
            return
        if said.tzinfo is None:
            return
        # The server wrote `said` somewhere between the two moments, so its clock is ahead of ours by …
        at_least, at_most = said - heard_at, said + _PRECISION - asked_at
        self._offset = min(max(timedelta(0), at_least), at_most)
