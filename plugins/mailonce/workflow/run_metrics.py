"""What the finished report of a run says in numbers, and what of it a person must hear though the run succeeds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailonce.events import Fate
from mailonce.metrics.base import Metrics
from mailonce.metrics.catalogue import HELD, RUN
from mailonce.notifiers.alert import About, Alert
from mailonce.states import State
from mailonce.workflow.alerts import tell
from mailonce.workflow.metrics import AirflowMetrics

if TYPE_CHECKING:
    from mailonce.workflow.reporting.counting import Report

log = logging.getLogger(__name__)

_HELD_NEXT = "Held mails are not sent again by themselves. Look for each at the provider, then: mailonce resolve KEY."


def tell_report(
    report: Report, *, campaign: str, period: str, planned: int, failing: bool, metrics: Metrics | None = None
) -> None:
    """Tell the funnel of a run, and alert people of what its failure would not tell. Never raises.

    :param planned: how many recipients the run had. :param failing: whether the run fails for its unresolved recipients.
    :param metrics: None: Airflow's, with campaign and month as tags.
    """
    try:
        _tell_funnel(metrics or AirflowMetrics(campaign=campaign, period=period), report.counts, report.fates, planned)
        _alert(report, campaign, period, failing=failing)
    except Exception:
        log.warning("the report could not be told in numbers; it is written all the same", exc_info=True)


def _tell_funnel(metrics: Metrics, counts: Mapping[str, int], fates: Mapping[str, int], planned: int) -> None:
    accepted, rejected, held = (counts.get(state.value, 0) for state in (State.SENT, State.REJECTED, State.IN_DOUBT))
    stages = {
        "planned": planned,
        "accepted": accepted,
        "delivered": fates.get(Fate.DELIVERED.value, 0),
        "bounced": fates.get(Fate.BOUNCED.value, 0),
        "complained": fates.get(Fate.COMPLAINED.value, 0),
        "rejected": rejected,
        "held": held,
        "not_yet": max(0, planned - accepted - rejected - held - counts.get(State.CANCELLED.value, 0)),
    }
    for stage, value in stages.items():
        metrics.gauge(RUN, value, part=stage)
    metrics.gauge(HELD, held)


def _alert(report: Report, campaign: str, period: str, *, failing: bool) -> None:
    month = f"{campaign} {period}"
    if duplicates := report.total("duplicates"):
        names = ", ".join(report.duplicates[:5])
        what = (
            f"{duplicates} recipients have more than one mail for the same key ({names}{', …' if duplicates > 5 else ''}). "
            "It cannot be taken back; mailonce show KEY tells which claim sent which mail."
        )
        tell(Alert(about=About.DUPLICATE, what=what, where=month))
    if (held := report.counts[State.IN_DOUBT.value]) and not failing:
        tell(Alert(about=About.HELD, what=f"{held} mails are held. {_HELD_NEXT}", where=month))
