from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from mailonce.errors import InvalidInput
from mailonce.period import Period
from mailonce.workflow.periods import period_for_templates, period_of_run

OCTOBER, NOVEMBER = datetime(2026, 10, 1, 12, tzinfo=timezone.utc), datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
DECEMBER = datetime(2026, 12, 24, 9, 30, tzinfo=timezone.utc)


def run(period: Any = None, *, end: Any = None, logical: Any = None, after: Any = DECEMBER) -> Any:
    dag_run = SimpleNamespace(data_interval_end=end, logical_date=logical, run_after=after)
    return {"params": {"period": period}, "dag_run": dag_run}


@pytest.mark.parametrize(
    ("context", "month"),
    [
        # scheduled, with and without a data interval of a month
        (run(end=NOVEMBER, logical=OCTOBER, after=NOVEMBER), "2026-10"),
        (run(end=NOVEMBER, logical=NOVEMBER, after=NOVEMBER), "2026-10"),
        # by hand, with a date, and without: only the moment it was to start is left
        (run(logical=NOVEMBER, after=DECEMBER), "2026-10"),
        (run(), "2026-11"),
        # the parameter wins over everything
        (run("2026-02", end=NOVEMBER, logical=OCTOBER), "2026-02"),
        (run("", end=NOVEMBER), "2026-10"),
    ],
)
def test_the_month_of_a_run(context: Any, month: str) -> None:
    assert period_of_run(context, "UTC") == Period(month, "UTC")


def test_without_the_parameter_at_all() -> None:
    assert period_of_run({"params": {}, "dag_run": run()["dag_run"]}, "UTC").key == "2026-11"  # type: ignore[typeddict-item]


@pytest.mark.parametrize(("zone", "month"), [("Pacific/Kiritimati", "2026-11"), ("America/Los_Angeles", "2026-10")])
def test_the_month_is_the_campaign_s_not_utc_s(zone: str, month: str) -> None:
    last_evening_of_november = datetime(2026, 11, 30, 20, tzinfo=timezone.utc)
    assert period_of_run(run(logical=last_evening_of_november), zone) == Period(month, zone)


@pytest.mark.parametrize("period", ["2026-13", "October", "2026-10-01", 202610, ["2026-10"]])
def test_a_bad_parameter_is_named(period: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^period: .* is not a month"):
        period_of_run(run(period), "UTC")


def test_a_bad_time_zone_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"^timezone: 'Mars' is not a time zone"):
        period_of_run(run("2026-10"), "Mars")


def test_what_templates_see() -> None:
    assert period_for_templates("2026-10", "Europe/Berlin") == Period("2026-10", "Europe/Berlin")
    assert period_for_templates("week-44", "UTC") == "week-44"
