"""Which period a run reports, and what templates see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailonce.errors import InvalidInput
from mailonce.period import Period, month_before

if TYPE_CHECKING:
    from airflow.sdk import Context


def period_of_run(context: Context, time_zone: str) -> Period:
    """Return the month that a Dag run reports.

    The parameter ``period`` if given; else the calendar month before the run's own moment, in the campaign's time
    zone. That moment is the end of the data interval, else the logical date, else when the run was to start:
    right for scheduled, manual, dated and backfilled runs. A manual run of Airflow 3 may have none of the first two.

    :raises mailonce.errors.InvalidInput: the parameter is not a month.
    """
    asked = context["params"].get("period")
    if asked:
        return Period(str(asked), time_zone)
    run = context["dag_run"]
    anchor = run.data_interval_end or run.logical_date or run.run_after
    return month_before(anchor, time_zone)


def period_for_templates(period: str, time_zone: str) -> Any:
    """Return what templates see as ``period``: a :class:`mailonce.period.Period` for a month, else the text itself."""
    try:
        return Period(period, time_zone)
    except InvalidInput:
        return period
