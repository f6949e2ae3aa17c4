"""Gathers the values of many threads, so that a thousand mails a second do not become thousands of datagrams."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from typing_extensions import Self

from mailonce.metrics.base import Metric, Metrics

FLUSH_SECONDS = 5.0
"""How often what was gathered is passed on."""

SAMPLE = 20
"""So many times of one timer are passed on a flush, at most: a fair sample, whose quantiles are those of all. Of how
many it was taken no receiver can tell, so count with a counter."""


class Gathering:
    """Meets :class:`mailonce.metrics.base.Metrics`. Passes on sums and samples every few seconds, and at its end.

    There is no thread behind it: whoever tells something when it is time passes on what is there.

    :param metrics: receives them. :param clock: seconds, that nobody sets.
    """

    def __init__(self, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[tuple[Metric, str]] = Counter()
        self._times: dict[Metric, list[float]] = {}
        self._timed: Counter[Metric] = Counter()
        self._due = clock() + FLUSH_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def count(self, metric: Metric, number: int = 1, *, part: str = "") -> None:
        """See :class:`mailonce.metrics.base.Metrics`."""
        with self._lock:
            self._counts[metric, part] += number
        self._flush_if_due()

    def gauge(self, metric: Metric, value: float, *, part: str = "") -> None:
        """See :class:`mailonce.metrics.base.Metrics`. Passed on at once."""
        self._metrics.gauge(metric, value, part=part)

    def time(self, metric: Metric, seconds: float) -> None:
        """See :class:`mailonce.metrics.base.Metrics`."""
        with self._lock:
            self._timed[metric] += 1
            kept = self._times.setdefault(metric, [])
            if len(kept) < SAMPLE:
                kept.append(seconds)
            elif (place := int(random.random() * self._timed[metric])) < SAMPLE:  # noqa: S311 - guards nothing
                kept[place] = seconds  # each of all has the same chance (Vitter's algorithm R)
        self._flush_if_due()

    def flush(self) -> None:
        """Pass on what was gathered."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            times, self._times, self._timed = self._times, {}, Counter()
            self._due = self._clock() + FLUSH_SECONDS
        for (metric, part), number in counts.items():
            if number:
                self._metrics.count(metric, number, part=part)
        for metric, sample in times.items():
            for seconds in sample:
                self._metrics.time(metric, seconds)

    def _flush_if_due(self) -> None:
        if self._clock() >= self._due:
            self.flush()
