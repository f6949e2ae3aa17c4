"""The report as one HTML file that needs nothing else: no script, no font, no picture from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailonce.events import Fate
from mailonce.states import State
from mailonce.workflow.pages import page_template
from mailonce.workflow.plan import NOT_YET
from mailonce.workflow.reporting.advice import SAFE_NEXT
from mailonce.workflow.reporting.counting import Report
from mailonce.workflow.snapshot import RejectKind

_TITLES = {
    "exceptions": "No confirmed mail",
    "duplicates": "Accepted more than once",
    "undelivered": "Accepted, and did not arrive or was not welcome",
    "content_changed": "The content has changed since it was sent",
    "suppressed": "Left out on purpose",
}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of the chart. :param share: of the longest, from 0 to 1. :param tone: its colour's name."""

    label: str
    count: int
    share: float
    tone: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """The names of one kind and state. :param total: how many there are, named here or not."""

    title: str
    state: str
    safe_next: str
    total: int
    named: Sequence[Mapping[str, str]]


def render(report: Report, facts: Mapping[str, Any], *, everybody: str) -> str:
    """Return the page.

    :param facts: campaign, period, edition, run_id, at, planned; certificate and certificate_root, if there is one.
    :param everybody: where the file with all names is, as a link from the page.
    """
    page: str = page_template(Path(__file__).parent / "report.html.j2").render(
        facts=facts,
        report=report,
        bars=list(_bars(report, facts["planned"])),
        groups=list(_groups(report)),
        fates=[(fate.value, report.fates[fate.value]) for fate in Fate if report.fates[fate.value]],
        counts=_in_order(report.counts),
        everybody=everybody,
    )
    return page


def _bars(report: Report, planned: int) -> Iterator[Bar]:
    """Yield the funnel first, then what fell out of it."""
    figures = [
        ("planned", planned, "plain"),
        ("accepted", report.counts[State.SENT.value], "good"),
        ("delivered", report.fates[Fate.DELIVERED.value], "good"),
        ("not received", report.total("undelivered"), "bad"),
        ("not confirmed", report.unresolved, "bad"),
        ("left out", report.total("suppressed"), "plain"),
    ]
    most = max(1, *(count for _, count, _ in figures))
    for label, count, tone in figures:
        yield Bar(label=label, count=count, share=count / most, tone=tone)


def _groups(report: Report) -> Iterator[Group]:
    for kind, title in _TITLES.items():
        for state, total, named in report.groups(kind):
            yield Group(title=title, state=state, safe_next=SAFE_NEXT.get(state, ""), total=total, named=named)


def _in_order(counts: Mapping[str, int]) -> Sequence[tuple[str, int]]:
    order = [*(state.value for state in State), NOT_YET, *(kind.value for kind in RejectKind)]
    return sorted(counts.items(), key=lambda each: order.index(each[0]) if each[0] in order else len(order))
