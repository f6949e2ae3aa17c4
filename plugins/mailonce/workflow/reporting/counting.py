"""What became of everybody in a snapshot, counted from the ledger, with the first names of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mailonce.certificate import NOT_RECEIVED
from mailonce.delivery import Entry
from mailonce.events import Fate
from mailonce.ledgers.base import Ledger
from mailonce.protocol import abandon
from mailonce.states import State
from mailonce.workflow.plan import NOT_YET, Plan, plan_of, with_entries
from mailonce.workflow.snapshot import PlannedRow, RejectKind, Snapshot, reject_in_words

NAMED = 50
"""So many of a kind are named in the report and in the log; all of them in the file beside it."""

NO_REASON = "the event says no more"

LISTS = ("exceptions", "duplicates", "suppressed", "undelivered", "content_changed")
"""The lists of names in a :class:`Report`."""

Named = dict[str, str]
"""One recipient, and what there is to say: ``recipient_id``, ``state``, ``why``."""


class Report:
    """Counts by state of the ledger, and the exceptions by name: of each state the first :data:`NAMED`.

    :param tell: is told of everybody who is named, and of those whom there is no room for: ``kind`` and what
        :data:`Named` has.
    """

    def __init__(self, tell: Callable[[Mapping[str, str]], object] = lambda _named: None) -> None:
        self.counts: Counter[str] = Counter()
        self.fates: Counter[str] = Counter()
        self._tell = tell
        self._named: dict[str, list[Named]] = {kind: [] for kind in LISTS}
        self._met: Counter[tuple[str, str]] = Counter()

    @property
    def exceptions(self) -> list[Named]:
        """Who has no confirmed mail."""
        return self._named["exceptions"]

    @property
    def suppressed(self) -> list[Named]:
        """Who was left out on purpose."""
        return self._named["suppressed"]

    @property
    def undelivered(self) -> list[Named]:
        """Whose mail was accepted, and bounced, was dropped, or called spam."""
        return self._named["undelivered"]

    @property
    def content_changed(self) -> list[Named]:
        """Whose mail was sent before, saying something else than it would now."""
        return self._named["content_changed"]

    @property
    def duplicates(self) -> list[str]:
        """The ids of those with more than one message id."""
        return [one["recipient_id"] for one in self._named["duplicates"]]

    @property
    def unresolved(self) -> int:
        """How many recipients have no confirmed mail, and nobody decided that they shall have none."""
        return self.total("exceptions")

    def total(self, kind: str) -> int:
        """Return how many belong into a list, named or not. :param kind: one of :data:`LISTS`."""
        return sum(count for (kind_met, _), count in self._met.items() if kind_met == kind)

    def groups(self, kind: str) -> Iterator[tuple[str, int, list[Named]]]:
        """Yield each state that occurs in a list, with how many there are, and those who are named."""
        for (kind_met, state), count in self._met.items():
            if kind_met == kind:
                yield state, count, [one for one in self._named[kind] if one["state"] == state]

    def add(self, kind: str, recipient_id: str, *, state: str, why: str) -> None:
        """Put somebody into a list, if there is room, and count them. :param kind: one of :data:`LISTS`."""
        named = {"recipient_id": recipient_id, "state": state, "why": why}
        self._met[kind, state] += 1
        if self._met[kind, state] <= NAMED:
            self._named[kind].append(named)
        self._tell({"kind": kind, **named})

    def facts(self) -> dict[str, Any]:
        """Return the report as it is stored."""
        return {
            "counts": dict(self.counts),
            **{kind: getattr(self, kind) for kind in LISTS},
            "fates": dict(self.fates),
            "totals": {kind: self.total(kind) for kind in LISTS},
            "named_at_most": NAMED,
        }


def compile_report(
    snapshot: Snapshot,
    ledger: Ledger,
    *,
    tell: Callable[[Mapping[str, str]], object] = lambda _named: None,
) -> Report:
    """Ask the ledger what became of everybody in a snapshot. Memory does not grow with the number of recipients.

    :param tell: see :class:`Report`.
    """
    report = Report(tell)
    for planned, entry in with_entries(snapshot, ledger):
        # Whose sender has vanished, with nobody coming by since, is in doubt: said here at the latest.
        _count(report, planned, entry and abandon(entry, ledger))
    for reject in snapshot.rejects():
        kind = RejectKind(reject["kind"])
        report.counts[kind.value] += 1
        names = "suppressed" if kind is RejectKind.SUPPRESSED else "exceptions"
        report.add(names, str(reject["row"]), state=kind.value, why=reject_in_words(reject))
    return report


def _count(report: Report, planned: PlannedRow, entry: Entry | None) -> None:
    who = planned.row.recipient_id
    state = entry.state.value if entry else NOT_YET
    report.counts[state] += 1
    if entry and entry.duplicate_message_ids:
        report.add(
            "duplicates", who, state="duplicate", why=", ".join((str(entry.message_id), *entry.duplicate_message_ids))
        )
    if entry and entry.fate:
        report.fates[entry.fate.value] += 1
        if entry.fate in NOT_RECEIVED:
            report.add("undelivered", who, state=entry.fate.value, why=entry.fate_detail or NO_REASON)
    if entry and plan_of(planned.fingerprint, entry) is Plan.CONTENT_CHANGED:
        when = f"{entry.sent_at:%Y-%m-%d %H:%M} UTC" if entry.sent_at else "an unknown day"
        why = f"sent on {when} as message {entry.message_id or 'unknown'}, saying something else"
        report.add("content_changed", who, state=Plan.CONTENT_CHANGED.value, why=why)
    if state not in (State.SENT.value, State.CANCELLED.value):
        report.add(
            "exceptions",
            who,
            state=state,
            why=(entry.error if entry else None) or "never claimed: see the log of its task",
        )


def in_words(counts: Mapping[str, int]) -> str:
    """Return counts as one line, in the order of the life of a mail."""
    order: Sequence[str] = [
        *(state.value for state in State), *(kind.value for kind in RejectKind), NOT_YET, *(fate.value for fate in Fate)
    ]  # fmt: skip
    known = sorted(counts, key=lambda name: order.index(name) if name in order else -1)
    return ", ".join(f"{counts[name]} {name}" for name in known if counts[name]) or "nobody to mail"
