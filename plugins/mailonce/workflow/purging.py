"""Deleting months that are long over: which of them may go, and in which order, so that it can stop anywhere and go on.

First the month's certificate is written, as each run does, unless the latest still says all: that is the proof which stays.
Then each edition gets its mark in the ledger, so that nobody mails it again without meaning to; then the rows go, a part
at a time; then, if asked, the files. Whoever does it again goes on where it was stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mailonce.browsing import MonthTotals
from mailonce.errors import InvalidInput
from mailonce.ledgers.base import Ledger
from mailonce.period import Period, month_before
from mailonce.privacy.purges import Purge
from mailonce.states import State
from mailonce.workflow.certifying import keep_certificate
from mailonce.workflow.kept_files import KeptFile, KeptFiles, Kind

QUIET = timedelta(days=7)
"""A month that changed since is not over: somebody still works on it, or events still come."""

_UNSETTLED = (State.SENDING, State.IN_DOUBT)


@dataclass(frozen=True, kw_only=True)
class OldMonth:
    """A campaign's month that may go.

    :param editions: its deliveries, counted; none: they are gone already. :param files: what lies under ``snapshot_uri``.
    """

    campaign: str
    period: str
    editions: tuple[MonthTotals, ...] = ()
    files: tuple[KeptFile, ...] = field(default=(), repr=False)

    @property
    def counts(self) -> Counter[str]:
        """Its deliveries by state."""
        return sum((Counter({s.value: n for s, n in each.states.items()}) for each in self.editions), Counter[str]())

    @property
    def kinds(self) -> Counter[str]:
        """Its files by kind."""
        return Counter(file.kind.value for file in self.files)

    @property
    def unsettled(self) -> int:
        """How many deliveries are being sent, or in doubt."""
        return sum(each.states.get(state, 0) for each in self.editions for state in _UNSETTLED)

    def changed_since(self, moment: datetime) -> bool:
        """Whether a delivery changed after a moment."""
        return any(each.changed_at and each.changed_at > moment for each in self.editions)


def old_months(ledger: Ledger, files: KeptFiles, *, campaign: str, before: str, zone: str) -> list[OldMonth]:
    """Return a campaign's months before another, the oldest first. What its ledger costs: see ``Browser.months``.

    What is not named like a month (a campaign may count by something else) is none.

    :param before: ``YYYY-MM``, itself not included; at most last month, which is being mailed.
    :param zone: IANA name of the time zone of the months.
    :raises mailonce.errors.InvalidInput: ``before`` is no month, or too recent.
    """
    last = month_before(ledger.epoch.read().read_at, zone).key
    if Period(before).key > last:
        raise InvalidInput(
            field="--before",
            reason=f"{before} is later than {last}, the month that is mailed now",
            remedy=f"Purge whole months that are long over: {last} or earlier",
        )
    totals: dict[str, list[MonthTotals]] = {}
    for month in ledger.browser.months():
        if month.campaign == campaign:
            totals.setdefault(month.period, []).append(month)
    kept: dict[str, list[KeptFile]] = {}
    for file in files.of_months(campaign):
        kept.setdefault(file.period, []).append(file)
    return [
        OldMonth(
            campaign=campaign,
            period=period,
            editions=tuple(totals.get(period, ())),
            files=tuple(kept.get(period, ())),
        )
        for period in sorted({*totals, *kept})
        if _is_month(period) and period < before
    ]


def refuse_unfinished(months: Iterable[OldMonth], *, now: datetime, unsettled: bool) -> None:
    """Refuse months that are not over.

    :param now: by the ledger's clock. :param unsettled: whether deliveries that are in doubt, or look as if they were
        being sent, may go too.
    :raises mailonce.errors.InvalidInput: one of them is not over; says which, and what to do.
    """
    for month in months:
        name = f"{month.campaign} {month.period}"
        if month.changed_since(now - QUIET):
            raise InvalidInput(
                field=name,
                reason=f"something changed in it less than {QUIET.days} days ago",
                remedy="Wait, or purge earlier months only. Nothing was deleted",
            )
        if month.unsettled and not unsettled:
            raise InvalidInput(
                field=name,
                reason=f"{month.unsettled} of its mails are in doubt or being sent",
                remedy=f"Decide them (mailonce status {month.period} names them), or add --unsettled. Nothing was deleted",
            )


def purge_month(
    ledger: Ledger, month: OldMonth, *, by: str, reason: str, unsettled: bool, snapshot_uri: str
) -> dict[str, Any]:
    """Delete a month's deliveries for good; again is harmless.

    :param by: :param reason: who, and why; kept in the mark. :param snapshot_uri: where its certificate is, or goes.
    :return: ``deleted`` and ``left`` (still unsettled), and where the ``certificate`` is, with its ``root``.
    """
    if not month.editions:
        return {"deleted": 0, "left": 0, "certificate": None, "root": None}
    campaign, period = month.campaign, month.period
    certificate, seal = keep_certificate(ledger, campaign=campaign, period=period, uri=snapshot_uri)
    for edition in month.editions:
        ledger.privacy.mark(
            Purge(campaign=campaign, period=period, edition=edition.edition, by=by, reason=reason)
        )  # fmt: skip
    deleted = 0
    while some := ledger.privacy.purge(campaign, period, unsettled=unsettled):
        deleted += some
    left = sum(sum(each.states.values()) for each in ledger.browser.totals(campaign, period))
    return {"deleted": deleted, "left": left, "certificate": certificate, "root": seal.root}


def delete_files(files: KeptFiles, month: OldMonth, *, keep: Collection[Kind]) -> int:
    """Delete a month's files. :param keep: not these. :return: how many they were."""
    going = [file for file in month.files if file.kind not in keep]
    for path in sorted({_place(file) for file in going}):
        files.delete(path)
    return len(going)


def _place(file: KeptFile) -> str:
    """Return what is deleted for a file: its edition's folder with all snapshots in it, or the file alone."""
    return f"{file.campaign}/{file.period}/{file.edition}" if file.edition else file.path


def _is_month(period: str) -> bool:
    try:
        Period(period)
    except InvalidInput:
        return False
    return True
