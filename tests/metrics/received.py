"""Receives metrics for tests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mailonce.metrics.base import Metric


@dataclass
class Received:
    """Meets :class:`mailonce.metrics.base.Metrics`, and remembers, by full name."""

    counts: Counter[str] = field(default_factory=Counter)
    gauges: dict[str, float] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)
    calls: int = 0

    def count(self, metric: Metric, number: int = 1, *, part: str = "") -> None:
        self.calls += 1
        self.counts[metric.full_name(part)] += number

    def gauge(self, metric: Metric, value: float, *, part: str = "") -> None:
        self.calls += 1
        self.gauges[metric.full_name(part)] = value

    def time(self, metric: Metric, seconds: float) -> None:
        self.calls += 1
        self.times.setdefault(metric.full_name(), []).append(seconds)
