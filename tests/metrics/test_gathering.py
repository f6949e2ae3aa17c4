from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from statistics import median

import pytest

from mailonce.events import Fate
from mailonce.metrics.base import Kind, NoMetrics
from mailonce.metrics.catalogue import ALERTS, CLAIM, EVENTS, FATES, HELD, MAILS, METRICS, SEND
from mailonce.metrics.gathering import FLUSH_SECONDS, SAMPLE, Gathering
from mailonce.notifiers.alert import About
from mailonce.workflow.events.observing import Outcome
from tests.metrics.received import Received


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_many_values_become_one() -> None:
    received, clock = Received(), Clock()
    with Gathering(received, clock=clock) as gathering:
        for _ in range(10_000):
            gathering.count(MAILS, part="sent")
        assert received.calls == 0
        clock.now += FLUSH_SECONDS
        gathering.count(MAILS, 2, part="rejected")
        assert received.counts == {"mailonce.mails.sent": 10_000, "mailonce.mails.rejected": 2}
        gathering.count(MAILS, part="sent")
    assert received.counts["mailonce.mails.sent"] == 10_001
    assert received.calls == 3


def test_times_are_sampled_fairly() -> None:
    medians = []
    for _ in range(200):
        received = Received()
        with Gathering(received, clock=Clock()) as gathering:
            for number in range(1000):
                gathering.time(SEND, float(number))
        (sample,) = received.times.values()
        assert len(sample) == SAMPLE
        medians.append(median(sample))
    # The median of 20 fair draws from 0…999 has a standard deviation of about 110; of 200 of them, 8.
    assert 440 < sum(medians) / len(medians) < 560


def test_few_times_are_all_told_and_a_gauge_at_once() -> None:
    received = Received()
    with Gathering(received) as gathering:
        gathering.time(CLAIM, 0.5)
        gathering.gauge(HELD, 3)
        assert received.gauges == {"mailonce.held": 3}
    assert received.times == {"mailonce.claim": [0.5]}


def test_no_thread_s_value_is_lost() -> None:
    received, clock = Received(), Clock()
    with Gathering(received, clock=clock) as gathering, ThreadPoolExecutor(8) as pool:

        def work(_: int) -> None:
            for _ in range(2000):
                clock.now += 0.01
                gathering.count(MAILS, part="sent")

        list(pool.map(work, range(8)))
    assert received.counts["mailonce.mails.sent"] == 16_000


def test_nobody_need_receive_them() -> None:
    with Gathering(NoMetrics()) as gathering:
        gathering.count(MAILS, part="sent")
        gathering.time(SEND, 1)
        gathering.gauge(HELD, 1)


class TestTheCatalogue:
    def test_names_are_distinct_and_described(self) -> None:
        names = [name for metric in METRICS for name in metric.full_names]
        assert len(set(names)) == len(names)
        assert all(name.startswith("mailonce.") and name.replace(".", "").replace("_", "").isalpha() for name in names)
        assert all(metric.meaning and metric.unit and bool(metric.label) == bool(metric.parts) for metric in METRICS)
        assert all(not metric.parts for metric in METRICS if metric.kind is Kind.TIMER)

    def test_a_part_that_does_not_exist_is_refused(self) -> None:
        for metric, part in ((MAILS, "sned"), (MAILS, ""), (HELD, "sent")):
            with pytest.raises(ValueError, match="has no part"):
                metric.full_name(part)

    def test_every_outcome_fate_and_alert_has_its_part(self) -> None:
        assert {outcome.value.replace(" ", "_") for outcome in Outcome} == set(EVENTS.parts)
        assert {fate.value.lower() for fate in Fate} == set(FATES.parts)
        assert {about.value for about in About} == set(ALERTS.parts)
