"""Metrics through Airflow's own Stats: StatsD, Datadog or OpenTelemetry, whichever Airflow is set up for.

Airflow prepares Stats in every task's process (``airflow.sdk.execution_time.task_runner.main``, Airflow 3.3.2); where
nothing is set up, or nobody prepared it, values go nowhere. Tags reach InfluxDB-style StatsD
(``[metrics] statsd_influxdb_enabled``), Datadog and OpenTelemetry; plain StatsD drops them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from mailonce.compatibility import stats
from mailonce.metrics.base import Metric

log = logging.getLogger(__name__)


class AirflowMetrics:
    """Meets :class:`mailonce.metrics.base.Metrics`.

    :param tags: go with every value; few values each, or a time series becomes thousands.
    """

    def __init__(self, **tags: str) -> None:
        self._tags = tags
        self._complained = False

    def count(self, metric: Metric, number: int = 1, *, part: str = "") -> None:
        """See :class:`mailonce.metrics.base.Metrics`."""
        self._tell(stats.incr, metric, part, number)

    def gauge(self, metric: Metric, value: float, *, part: str = "") -> None:
        """See :class:`mailonce.metrics.base.Metrics`."""
        self._tell(stats.gauge, metric, part, value)

    def time(self, metric: Metric, seconds: float) -> None:
        """See :class:`mailonce.metrics.base.Metrics`."""
        self._tell(stats.timing, metric, "", timedelta(seconds=seconds))

    def _tell(self, how: Callable[..., None], metric: Metric, part: str, value: Any) -> None:
        try:
            how(metric.full_name(part), value, tags=self._tags)
        except Exception:
            if not self._complained:
                log.warning("metrics could not be told; nothing else is the worse for it", exc_info=True)
            self._complained = True
