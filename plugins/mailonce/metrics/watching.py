"""Watches the deliveries of one task from outside: by the steps of the protocol, and by how they ended."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from types import TracebackType

from typing_extensions import Self

from mailonce.batch import Tally
from mailonce.errors import (
    BatchIncomplete,
    DailyQuotaExceeded,
    InDoubt,
    InFlight,
    InvalidInput,
    NotSent,
    Rejected,
    RunBlocked,
    Throttled,
)
from mailonce.ledgers.base import RateStore
from mailonce.metrics.base import Metric, Metrics, NoMetrics
from mailonce.metrics.catalogue import CLAIM, MAILS, RECORD, RUN_SECONDS, SEND, SLOTS, THROTTLED
from mailonce.metrics.gathering import Gathering
from mailonce.protocol import Result, Step
from mailonce.rate import Reservation

_PARTS = {
    Result.SENT: "sent",
    Result.ALREADY_SENT: "already_sent",
    Result.CONTENT_CHANGED: "content_changed",
    Result.CANCELLED: "cancelled",
}
_ERRORS: dict[type[BaseException], str] = {
    DailyQuotaExceeded: "quota_used_up",
    RunBlocked: "blocked",
    Throttled: "throttled",
    NotSent: "not_sent",
    Rejected: "rejected",
    InDoubt: "in_doubt",
    InFlight: "in_flight",
    InvalidInput: "invalid",
}
"""The most specific class that fits counts; anything else is ``failed``."""

_TIMERS = {Step.CLAIMED: CLAIM, Step.ACCEPTED: SEND, Step.RECORDED: RECORD}
"""Which stretch ends with a step; :attr:`Step.LEAVING` divides none."""


class Watch:
    """Counts and times one task's deliveries; to be entered, so that what is left is told at the end.

    :param metrics: where to; None: nowhere. :param began: when the run did; None: that is not known.
    :param clock: seconds, that nobody sets.
    """

    def __init__(
        self,
        metrics: Metrics | None = None,
        *,
        began: datetime | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._metrics = Gathering(metrics or NoMetrics())
        self._began = began
        self._clock = clock
        self._since = threading.local()
        self._lock = threading.Lock()
        self._steps: Counter[Step] = Counter()
        self._granted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for each in error.errors if isinstance(error, BatchIncomplete) else (error,):
                self._metrics.count(MAILS, part=part_of(each))
            if isinstance(error, BatchIncomplete):
                self._ended_well(error.results)
        self._metrics.count(SLOTS, max(0, self._granted - self._steps[Step.BEFORE_CLAIM]), part="wasted")
        if self._began and self._steps[Step.RECORDED]:
            self._metrics.gauge(RUN_SECONDS, (datetime.now(timezone.utc) - self._began).total_seconds())
        self._metrics.flush()

    def reached(self, step: Step) -> None:
        """See :attr:`mailonce.protocol.Tools.reached`: a thread takes one mail through the steps, then the next."""
        now = self._clock()
        if step is Step.BEFORE_CLAIM:
            with self._lock:
                self._steps[step] += 1
            self._since.moment = now
        elif metric := _TIMERS.get(step):
            self._metrics.time(metric, now - getattr(self._since, "moment", now))
            self._since.moment = now
            if step is Step.RECORDED:
                with self._lock:
                    self._steps[step] += 1
                self._metrics.count(MAILS, part="sent")

    def rates(self, store: RateStore) -> RateStore:
        """Return the same store of rates, counted."""
        return _CountedRates(store, self)

    def told(self, tally: Tally) -> Tally:
        """Count what a complete batch says beyond the steps. :return: the same."""
        self._ended_well(tally.results)
        return tally

    def _ended_well(self, results: Mapping[Result, int]) -> None:
        for result, number in results.items():
            # Sent without a record: proved by an event that was faster than the answer.
            known = self._steps[Step.RECORDED] if result is Result.SENT else 0
            self._metrics.count(MAILS, max(0, number - known), part=_PARTS[result])

    def granted(self, slots: int) -> None:
        """Count slots that the governor granted."""
        with self._lock:
            self._granted += slots
        self._metrics.count(SLOTS, slots, part="granted")

    def count(self, metric: Metric) -> None:
        """Count one."""
        self._metrics.count(metric)


class _CountedRates:
    """Meets :class:`mailonce.ledgers.base.RateStore`."""

    def __init__(self, store: RateStore, watch: Watch) -> None:
        self._store = store
        self._watch = watch

    def reserve(self, account: str, slots: int) -> Reservation | None:
        if reservation := self._store.reserve(account, slots):
            self._watch.granted(slots)
        return reservation

    def throttled(self, account: str) -> None:
        self._store.throttled(account)
        self._watch.count(THROTTLED)

    def limit(self, account: str, maximum: float) -> None:
        self._store.limit(account, maximum)


def part_of(error: BaseException) -> str:
    """Return how the deliveries that ended with an error are counted."""
    return next((_ERRORS[kind] for kind in type(error).__mro__ if kind in _ERRORS), "failed")
