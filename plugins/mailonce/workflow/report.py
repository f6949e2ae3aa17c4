"""The last task of the monthly Dag: what became of everybody, counted from the ledger, with names."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

from mailonce.errors import MailonceError, RecipientsUnresolved
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from mailonce.workflow.certifying import keep_certificate
from mailonce.workflow.connections import open_ledger
from mailonce.workflow.ledger_witness import remember
from mailonce.workflow.plan_files import told_plan
from mailonce.workflow.purged_months import refuse
from mailonce.workflow.reporting.counting import NAMED, Report, compile_report, in_words
from mailonce.workflow.reporting.files import ReportFiles, spooled, write_files
from mailonce.workflow.retries import decided_here
from mailonce.workflow.run_metrics import tell_report
from mailonce.workflow.settings import Settings
from mailonce.workflow.snapshot import Snapshot

log = logging.getLogger(__name__)

NAMES_IN_LOG = NAMED
"""So many names a kind are written to the log; all of them stand in the file beside the report."""


@decided_here
def report_run(snapshot_uri: str | None, *, run_id: str, dry_run: bool) -> dict[str, Any]:
    """Write report and certificate beside the snapshot, the essentials into the log; fail if somebody is unresolved.

    After a dry run there is nothing to count: its plan is told once more.

    :param snapshot_uri: None or empty: the run got no further than planning.
    :return: the counts, and where ``report``, ``page`` and ``certificate`` are, the last with its hash.
    :raises LedgerForgot: the ledger knows less than it did when the run began.
    :raises RecipientsUnresolved: more than ``tolerated_failures`` recipients have no confirmed mail.
    """
    if not snapshot_uri:
        raise RecipientsUnresolved("no snapshot was written, so nobody was mailed: see the task that failed before.")
    if dry_run:
        return told_plan(snapshot_uri)
    settings = Settings.load()
    snapshot = Snapshot(snapshot_uri)
    manifest = snapshot.manifest
    month = {"campaign": manifest.campaign, "period": manifest.period}
    with spooled() as spool, closing(open_ledger(settings)) as ledger:
        report = compile_report(snapshot, ledger, tell=spool.tell)
        # Counted again after the last mail: a ledger that forgets this run is found out by the next.
        forgotten = remember(settings, ledger, **month, edition=manifest.edition)
        certificate, root = _certified(ledger, settings.snapshot_uri, **month)
        facts = {
            **month,
            "edition": manifest.edition,
            "run_id": run_id,
            "dry_run": False,
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "planned": manifest.recipients,
            "rejects": manifest.rejects,
            "certificate": certificate,
            "certificate_root": root,
        }
        files = write_files(snapshot_uri, report, spool, facts)
    _say(report, files)
    failing = report.unresolved > settings.tolerated_failures
    tell_report(
        report, campaign=manifest.campaign, period=manifest.period, planned=manifest.recipients, failing=failing
    )  # fmt: skip
    refuse(forgotten)
    if failing:
        raise RecipientsUnresolved(
            f"{report.unresolved} of {manifest.recipients + manifest.rejects} recipients have no confirmed mail "
            f"({in_words(report.counts)}). All of them are named in {files.own}/exceptions.csv, and counted in "
            f"{files.json}. Safe next: mend the causes and clear the failed tasks, or the whole run: only the missing "
            "mails go out.",
            held=report.counts[State.IN_DOUBT.value],
        )
    return {
        **report.counts,
        "report": files.json,
        "page": files.page,
        "certificate": certificate,
        "certificate_root": root,
    }


def _certified(ledger: Ledger, uri: str, *, campaign: str, period: str) -> tuple[str, str]:
    """Return where the month's certificate is, and its hash; empty if it could not be written.

    The report is worth more: it is written all the same.
    """
    try:
        place, seal = keep_certificate(ledger, campaign=campaign, period=period, uri=uri)
    except (MailonceError, OSError) as error:
        log.error("no certificate was written (%s). Safe next: mailonce certificate %s", error, period)
        return "", ""
    log.info("Certificate of the month: %s. Its hash, to be noted where nobody can change it: %s", place, seal.root)
    return place, seal.root


def _say(report: Report, files: ReportFiles) -> None:
    log.info("%s. Full report: %s, for people: %s", in_words(report.counts), files.json, files.page)
    for duplicate in report.duplicates:
        log.error("%s was accepted twice by the provider: a measured duplicate", duplicate)
    if report.fates:
        log.info("of those sent, as far as events tell: %s", in_words(report.fates))
    for kind in ("suppressed", "undelivered", "exceptions", "content_changed"):
        for state, total, named in report.groups(kind):
            for one in named:
                log.warning("%s: %s: %s", one["recipient_id"], state, one["why"])
            if total > len(named):
                log.warning("… and %d more: %s: see %s/exceptions.csv", total - len(named), state, files.own)
    if report.content_changed:
        log.warning("To send corrected statements: run the month with another `edition`, for these recipients only.")
