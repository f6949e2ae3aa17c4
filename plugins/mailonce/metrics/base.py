"""A metric, and the interface to whoever receives its values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

PREFIX = "mailonce"


class Kind(str, Enum):
    """How a metric's values add up."""

    COUNTER = "counter"
    GAUGE = "gauge"
    TIMER = "timer"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One documented metric. Where it has parts, each is a name of its own: ``mailonce.mails.sent``.

    The part stands in the name and not in a tag, because plain StatsD has no tags.

    :param name: without the prefix. :param unit: of its values.
    :param label: what the parts are, as a label in Prometheus; empty: it has none.
    :param parts: every part there is.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    label: str = ""
    parts: tuple[str, ...] = ()

    def full_name(self, part: str = "") -> str:
        """Return the name under which values are told.

        :raises ValueError: the metric has no such part.
        """
        if part not in (self.parts or ("",)):
            raise ValueError(f"{self.name} has no part {part!r}")
        return ".".join(filter(None, (PREFIX, self.name, part)))

    @property
    def full_names(self) -> tuple[str, ...]:
        """Every name under which values are told."""
        return tuple(self.full_name(part) for part in self.parts or ("",))


class Metrics(Protocol):
    """Receives values. No method ever raises: a mail does not fail because nobody counts it."""

    def count(self, metric: Metric, number: int = 1, *, part: str = "") -> None:
        """Add to a counter."""
        ...

    def gauge(self, metric: Metric, value: float, *, part: str = "") -> None:
        """Set a gauge."""
        ...

    def time(self, metric: Metric, seconds: float) -> None:
        """Tell how long something took."""
        ...


class NoMetrics:
    """Meets :class:`Metrics`, and forgets."""

    def count(self, metric: Metric, number: int = 1, *, part: str = "") -> None:
        """Forget it."""

    def gauge(self, metric: Metric, value: float, *, part: str = "") -> None:
        """Forget it."""

    def time(self, metric: Metric, seconds: float) -> None:
        """Forget it."""
