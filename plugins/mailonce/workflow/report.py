"""The last task of the monthly Dag: what became of everybody, counted from the ledger, with names."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from typing import Any

from mailonce.delivery import Entry
from mailonce.errors import RecipientsUnresolved
from mailonce.events import Fate
from mailonce.ledgers.base import Ledger
from mailonce.protocol import abandon
from mailonce.states import State
from mailonce.workflow.connections import open_ledger
from mailonce.workflow.ledger_witness import refuse, remember
from mailonce.workflow.preview import Plan, plan_of
from mailonce.workflow.settings import Settings
from mailonce.workflow.snapshot import PlannedRow, RejectKind, Snapshot, folder

log = logging.getLogger(__name__)

NAMES_IN_LOG = 50
"""So many names a kind are written to the log; all of them stand in the report's file."""

_KEYS_PER_QUESTION = 1000
_NOT_YET = "not yet"
_NOT_DELIVERED = (Fate.BOUNCED, Fate.DROPPED, Fate.COMPLAINED)


@dataclass
class Report:
    """Counts by state of the ledger, and the exceptions by name.

    :param exceptions: one a recipient without a confirmed mail: ``recipient_id``, ``state``, ``why``.
    :param suppressed: who was left out on purpose, in the same form.
    :param undelivered: whose mail was accepted, and bounced, was dropped, or called spam, in the same form.
    """

    counts: Counter[str] = field(default_factory=Counter)
    exceptions: list[dict[str, str]] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    suppressed: list[dict[str, str]] = field(default_factory=list)
    undelivered: list[dict[str, str]] = field(default_factory=list)
    fates: Counter[str] = field(default_factory=Counter)

    @property
    def unresolved(self) -> int:
        """How many recipients have no confirmed mail, and nobody decided that they shall have none."""
        return len(self.exceptions)

    def to_json(self, **facts: Any) -> str:
        """Return the report as it is stored."""
        fields = {**vars(self), "counts": dict(self.counts), "fates": dict(self.fates)}
        return json.dumps({**facts, **fields}, indent=2, ensure_ascii=False)


def compile_report(snapshot: Snapshot, ledger: Ledger, *, dry_run: bool = False) -> Report:
    """Ask the ledger what became of everybody in a snapshot; after a dry run, what would."""
    report = Report()
    rows = snapshot.rows()
    while some := list(islice(rows, _KEYS_PER_QUESTION)):
        entries = {entry.key: entry for entry in ledger.find(row.key for row in some)}
        if not dry_run:
            # Whose sender has vanished, with nobody coming by since, is in doubt: said here at the latest.
            entries = {key: abandon(entry, ledger) for key, entry in entries.items()}
        for planned in some:
            (_count_plan if dry_run else _count)(report, planned, entries.get(planned.key))
    for reject in snapshot.rejects():
        kind = RejectKind(reject["kind"])
        report.counts[kind.value] += 1
        why = f"{reject['field']}: {reject['reason']}. {reject['remedy']}"
        names = report.suppressed if kind is RejectKind.SUPPRESSED else report.exceptions
        names.append({"recipient_id": str(reject["row"]), "state": kind.value, "why": why})
    return report


def report_run(snapshot_uri: str | None, *, run_id: str, dry_run: bool) -> dict[str, Any]:
    """Write the report beside the snapshot and the essentials into the log; fail if somebody is unresolved.

    :param snapshot_uri: None or empty: the run got no further than planning.
    :return: the counts, and where the report is.
    :raises LedgerForgot: the ledger knows less than it did when the run began.
    :raises RecipientsUnresolved: more than ``tolerated_failures`` recipients have no confirmed mail.
    """
    if not snapshot_uri:
        raise RecipientsUnresolved("no snapshot was written, so nobody was mailed: see the task that failed before.")
    settings = Settings.load()
    snapshot = Snapshot(snapshot_uri)
    with closing(open_ledger(settings)) as ledger:
        report = compile_report(snapshot, ledger, dry_run=dry_run)
        manifest = snapshot.manifest
        # Counted again after the last mail: a ledger that forgets this run is found out by the next.
        forgotten = (
            [] if dry_run else remember(settings, ledger, campaign=manifest.campaign, period=manifest.period)
        )  # fmt: skip
    file = folder(snapshot_uri) / ("plan.json" if dry_run else "report.json")
    facts = {
        "campaign": manifest.campaign,
        "period": manifest.period,
        "edition": manifest.edition,
        "run_id": run_id,
        "dry_run": dry_run,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "planned": manifest.recipients,
    }
    file.write_text(report.to_json(**facts), encoding="utf-8")
    _say(report, str(file))
    refuse(forgotten)
    if report.unresolved > settings.tolerated_failures and not dry_run:
        raise RecipientsUnresolved(
            f"{report.unresolved} of {manifest.recipients + manifest.rejects} recipients have no confirmed mail "
            f"({_in_words(report.counts)}). All of them are named in {file}. Safe next: mend the causes and clear "
            "the failed tasks, or the whole run: only the missing mails go out."
        )
    return {**report.counts, "report": str(file)}


def _count(report: Report, planned: PlannedRow, entry: Entry | None) -> None:
    state = entry.state if entry else None
    report.counts[state.value if state else _NOT_YET] += 1
    if entry and entry.duplicate_message_ids:
        report.duplicates.append(planned.row.recipient_id)
    if entry and entry.fate:
        report.fates[entry.fate.value] += 1
        if entry.fate in _NOT_DELIVERED:
            why = entry.fate_detail or "the event says no more"
            report.undelivered.append({"recipient_id": planned.row.recipient_id, "state": entry.fate.value, "why": why})
    if state not in (State.SENT, State.CANCELLED):
        why = (entry.error if entry else None) or "never claimed: see the log of its task"
        name = state.value if state else _NOT_YET
        report.exceptions.append({"recipient_id": planned.row.recipient_id, "state": name, "why": why})


def _count_plan(report: Report, planned: PlannedRow, entry: Entry | None) -> None:
    plan = plan_of(planned.fingerprint, entry)
    report.counts[plan.value] += 1
    if plan not in (Plan.NEW, Plan.ALREADY_SENT, Plan.CANCELLED):
        why = (entry.error if entry else None) or "see the delivery in the ledger"
        report.exceptions.append({"recipient_id": planned.row.recipient_id, "state": plan.value, "why": why})


def _say(report: Report, file: str) -> None:
    log.info("%s. Full report: %s", _in_words(report.counts), file)
    for duplicate in report.duplicates:
        log.error("%s was accepted twice by the provider: a measured duplicate", duplicate)
    if report.fates:
        log.info("of those sent, as far as events tell: %s", _in_words(report.fates))
    everyone = [*report.suppressed, *report.undelivered, *report.exceptions]
    for kind in dict.fromkeys(exception["state"] for exception in everyone):
        named: Iterator[dict[str, str]] = (one for one in everyone if one["state"] == kind)
        for exception in islice(named, NAMES_IN_LOG):
            log.warning("%s: %s: %s", exception["recipient_id"], kind, exception["why"])


def _in_words(counts: Counter[str]) -> str:
    order: Sequence[str] = [
        *(state.value for state in State), *(kind.value for kind in RejectKind), _NOT_YET, *(fate.value for fate in Fate)
    ]  # fmt: skip
    known = sorted(counts, key=lambda name: order.index(name) if name in order else -1)
    return ", ".join(f"{counts[name]} {name}" for name in known if counts[name]) or "nobody to mail"
