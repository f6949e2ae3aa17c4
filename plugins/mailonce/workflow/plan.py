"""The plan of a snapshot: what delivering it would do to each recipient. The ledger is asked, and not changed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice

from mailonce.delivery import Entry
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from mailonce.workflow.snapshot import PlannedRow, RejectKind, Snapshot, reject_in_words

NOT_YET = "not yet"
"""What becomes of somebody who is planned and has no row in the ledger: nothing so far."""

KEYS_PER_QUESTION = 1000


class Plan(str, Enum):
    """What delivering would do for one recipient."""

    NEW = "new"
    ALREADY_SENT = "already sent"
    CONTENT_CHANGED = "content changed since it was sent"
    IN_FLIGHT = "being sent right now"
    IN_DOUBT = "held as in doubt"
    REJECTED = "rejected for good"
    CANCELLED = "cancelled"
    INVALID = "invalid"
    SUPPRESSED = "suppressed"


UNTROUBLED = frozenset({Plan.NEW, Plan.ALREADY_SENT, Plan.CANCELLED, Plan.SUPPRESSED})
"""Whoever is planned otherwise would get no mail, or not this one, though they should."""


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What the account may still send.

    :param left_today: mails in this 24-hour window; None: unlimited or unknown. :param daily_quota: mails in each.
    :param spread: whether what is beyond it follows by itself on the days after.
    """

    left_today: int | None = None
    daily_quota: int | None = None
    spread: bool = False

    def beyond(self, mails: int) -> int:
        """Return how many of so many mails this window has no room for."""
        return 0 if self.left_today is None else max(0, mails - self.left_today)

    def days(self, mails: int) -> int | None:
        """Return on how many days so many mails go out, if they are spread; None: that cannot be known."""
        beyond = self.beyond(mails)
        if not beyond:
            return 1
        return 1 + math.ceil(beyond / self.daily_quota) if self.daily_quota else None


@dataclass(frozen=True, kw_only=True)
class PlanLine:
    """One recipient's part of the plan.

    :param why: what the plan rests on, in words; empty where there is nothing to say.
    :param planned: the row to mail; None: it was refused or left out when the snapshot was written.
    """

    recipient_id: str
    plan: Plan
    why: str = ""
    planned: PlannedRow | None = None


@dataclass(frozen=True, kw_only=True)
class PlanSummary:
    """The plan in numbers.

    :param digest: of the snapshot that it is the plan of. :param counts: how many recipients of each :class:`Plan`.
    """

    digest: str
    counts: Counter[Plan] = field(default_factory=Counter)
    allowance: Allowance = field(default_factory=Allowance)

    @property
    def over_quota(self) -> int:
        """How many of the new mails this 24-hour window has no room for."""
        return self.allowance.beyond(self.counts[Plan.NEW])

    @property
    def days(self) -> int | None:
        """On how many days the new mails go out, if they are spread; None: that cannot be known."""
        return self.allowance.days(self.counts[Plan.NEW])

    @property
    def words(self) -> str:
        """All numbers in one line for people."""
        told = [f"{self.counts[plan]} {plan.value}" for plan in Plan if self.counts[plan]]
        return ", ".join([*told, *([self.quota_words] if self.over_quota else [])]) or "nobody to mail"

    @property
    def quota_words(self) -> str:
        """What the quota means for the new mails; empty: they all fit."""
        if not self.over_quota:
            return ""
        told = f"{self.over_quota} of the new over the quota ({self.allowance.left_today} left today)"
        if not self.allowance.spread:
            return f"{told}, which would fail"
        return f"{told}, which follow by themselves" + (f": {self.days} days in all" if self.days else "")


def plan_of(fingerprint: str, entry: Entry | None) -> Plan:
    """Return what delivering would do.

    :param fingerprint: of the mail as it would be. :param entry: the ledger's row; None: there is none.
    """
    if entry is None or entry.state is State.RELEASED:
        return Plan.NEW
    if entry.state is State.SENT:
        return Plan.ALREADY_SENT if entry.fingerprint in ("", fingerprint) else Plan.CONTENT_CHANGED
    if entry.state is State.SENDING and not entry.overdue:
        return Plan.IN_FLIGHT
    return {State.REJECTED: Plan.REJECTED, State.CANCELLED: Plan.CANCELLED}.get(entry.state, Plan.IN_DOUBT)


def compare(
    snapshot: Snapshot,
    ledger: Ledger,
    *,
    allowance: Allowance | None = None,
    heed: Callable[[PlanLine], object] = lambda _line: None,
) -> PlanSummary:
    """Compare a snapshot with the ledger. Memory does not grow with the number of recipients.

    :param allowance: what the account may still send; None: not known, and then nothing is over the quota.
    :param heed: called with each recipient's line, in the snapshot's order, those who are not mailed at the end.
    :raises mailonce.errors.InvalidInput: the snapshot is not as it was written.
    """
    summary = PlanSummary(digest=digest_of(snapshot.uri), allowance=allowance or Allowance())
    for line in plan_lines(snapshot, ledger):
        summary.counts[line.plan] += 1
        heed(line)
    return summary


def plan_lines(snapshot: Snapshot, ledger: Ledger) -> Iterator[PlanLine]:
    """Yield each recipient's line of the plan: see :func:`compare`."""
    for planned, entry in with_entries(snapshot, ledger):
        plan = plan_of(planned.fingerprint, entry)
        yield PlanLine(recipient_id=planned.row.recipient_id, plan=plan, why=_why(plan, entry), planned=planned)
    for reject in snapshot.rejects():
        yield PlanLine(
            recipient_id=str(reject["row"]),
            plan=Plan.SUPPRESSED if reject["kind"] == RejectKind.SUPPRESSED.value else Plan.INVALID,
            why=reject_in_words(reject),
        )


def with_entries(snapshot: Snapshot, ledger: Ledger) -> Iterator[tuple[PlannedRow, Entry | None]]:
    """Yield each row of a snapshot with the ledger's; None: it has none. A page at a time is in memory."""
    rows = snapshot.rows()
    while some := list(islice(rows, KEYS_PER_QUESTION)):
        entries = {entry.key: entry for entry in ledger.find(row.key for row in some)}
        yield from ((planned, entries.get(planned.key)) for planned in some)


def digest_of(snapshot_uri: str) -> str:
    """Return the digest of a snapshot, which is its folder's name."""
    return snapshot_uri.rstrip("/").rpartition("/")[2]


def _why(plan: Plan, entry: Entry | None) -> str:
    if entry is None:
        return ""
    if plan in (Plan.ALREADY_SENT, Plan.CONTENT_CHANGED):
        at = f" on {entry.sent_at:%Y-%m-%d %H:%M} UTC" if entry.sent_at else ""
        told = f"sent{at} as message {entry.message_id}"
        return f"{told}; a corrected mail is a new edition" if plan is Plan.CONTENT_CHANGED else told
    return entry.error or "see the delivery in the ledger"
