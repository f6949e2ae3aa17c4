"""``mailonce purge``: delete months that are long over, and keep the proof that they were mailed."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mailonce.errors import InvalidInput
from mailonce.terminal import arguments, output
from mailonce.terminal.output import DONE, FAILED, NOT_FOUND, Screen

if TYPE_CHECKING:
    from mailonce.ledgers.base import Ledger
    from mailonce.workflow.kept_files import Kind
    from mailonce.workflow.purging import OldMonth

_EPILOG = """examples:
  mailonce purge --before 2025-01                      what would be deleted; nothing is
  mailonce purge --before 2025-01 --files --yes        delete the deliveries of 2024-12 and earlier, and their files
  mailonce purge --expired                             delete what is past its retention, in PostgreSQL
  mailonce purge --list                                which months were purged, when, by whom
  mailonce purge --reopen 2024-12 --reason '…'         let a purged month be mailed again, to everybody

A month's certificate is written before it goes, and stays. A mark stays too: nobody can mail a purged month again by
clearing an old run. Each may be repeated, and goes on where it was stopped. It needs a connection that may delete.

exit codes: 0 done, or shown what would be; 1 nothing to delete; 2 refused or failed
"""


def add_to(commands: Any) -> None:
    """Declare the command and its arguments."""
    purge = arguments.declare(commands, "purge", help="delete months that are long over", epilog=_EPILOG)
    what = purge.add_mutually_exclusive_group(required=True)
    what.add_argument("--before", metavar="MONTH", help="all months before this one, 2025-01")
    what.add_argument("--expired", action="store_true", help="what is past its retention, of all campaigns")
    what.add_argument("--list", action="store_true", help="name the months that were purged")
    what.add_argument("--reopen", metavar="MONTH", help="take this month's mark away")
    arguments.add_campaign(purge)
    purge.add_argument("--edition", default="original", help="with --reopen: of this edition; default: %(default)s")
    purge.add_argument(
        "--unsettled", action="store_true", help="mails in doubt too, once nothing of them can be accepted"
    )
    purge.add_argument("--files", action="store_true", help="the snapshots, previews, plans and reports too")
    purge.add_argument("--certificates", action="store_true", help="with --files: the certificates too, so the proof")
    purge.add_argument("--reason", help="why; kept in the ledger; default: retention. With --reopen you must say it")
    purge.add_argument("--by", default=getpass.getuser(), help="who; default: %(default)s")
    purge.add_argument("--yes", action="store_true", help="do it; without it, --before only shows what it would do")
    purge.set_defaults(run=_purge)


def _purge(options: argparse.Namespace, screen: Screen) -> int:
    if options.reason is not None and not options.reason.strip():
        raise InvalidInput(field="--reason", reason="is empty", remedy="Say why: it is kept in the ledger")
    if options.certificates and not options.files:
        raise InvalidInput(field="--certificates", reason="goes with --files", remedy="Add --files")
    with closing(output.open_the_ledger()) as ledger:
        if options.list:
            return _list(ledger, options, screen)
        if options.expired:
            return _expired(ledger, options, screen)
        return _reopen(ledger, options, screen) if options.reopen else _before(ledger, options, screen)


def _list(ledger: Ledger, options: argparse.Namespace, screen: Screen) -> int:
    marks = list(ledger.privacy.purges())
    if options.json:
        screen.json([vars(mark) for mark in marks])
    for mark in () if options.json else marks:
        screen.say(str(mark))
    if not marks and not options.json:
        screen.say("no month was purged")
    return DONE if marks else NOT_FOUND


def _expired(ledger: Ledger, options: argparse.Namespace, screen: Screen) -> int:
    deleted = ledger.privacy.purge_expired()
    if options.json:
        screen.json({"deleted": deleted})
    else:
        screen.say(f"{deleted} deliveries past their retention were deleted")
    return DONE if deleted else NOT_FOUND


def _reopen(ledger: Ledger, options: argparse.Namespace, screen: Screen) -> int:
    from mailonce.workflow import ledger_witness

    if not options.reason:
        raise InvalidInput(
            field="--reason", reason="is missing", remedy="Say why: whoever is mailed then gets a second copy"
        )
    which = {"campaign": options.campaign, "period": options.reopen, "edition": options.edition}
    mark = ledger.privacy.reopen(*which.values(), by=options.by, reason=options.reason)
    kept_until = ledger_witness.reopen(output.load_settings(), **which)
    if options.json:
        screen.json({**which, "purged": mark and vars(mark), "kept_until": kept_until})
    elif mark or kept_until:
        name = f"{options.campaign} {options.reopen} ({options.edition})"
        screen.say(f"{name} may be mailed again: to everybody, for the ledger does not know who got it.")
    else:
        screen.say("neither purged nor past its retention")
    return DONE if mark or kept_until else NOT_FOUND


def _before(ledger: Ledger, options: argparse.Namespace, screen: Screen) -> int:
    settings = output.load_settings()
    from mailonce.workflow.kept_files import KeptFiles
    from mailonce.workflow.purging import delete_files, old_months, purge_month, refuse_unfinished

    files = KeptFiles(settings.snapshot_uri)
    months = old_months(ledger, files, campaign=options.campaign, before=options.before, zone=settings.timezone)
    kept = _kept(options)
    wanted = [month for month in months if month.editions or (options.files and _going(month, kept))]
    if not wanted:
        print("nothing to delete", file=sys.stderr)
        return NOT_FOUND
    refuse_unfinished(wanted, now=ledger.epoch.read().read_at, unsettled=options.unsettled)
    told = []
    for month in wanted:
        facts: dict[str, Any] = {
            "campaign": month.campaign,
            "period": month.period,
            "counts": month.counts,
            "files": month.kinds,
        }
        if options.yes:
            reason = options.reason or "retention"
            facts |= purge_month(
                ledger,
                month,
                by=options.by,
                reason=reason,
                unsettled=options.unsettled,
                snapshot_uri=settings.snapshot_uri,
            )
            # What is left needs them: they tell whose it is.
            facts["files_deleted"] = delete_files(files, month, keep=kept) if options.files and not facts["left"] else 0
        told.append(facts)
        if not options.json:
            _say(facts, options, screen)
    if options.json:
        screen.json({"purged": options.yes, "months": told})
    elif not options.yes:
        screen.say("Nothing was deleted. To delete it: the same with --yes")
    return FAILED if any(facts.get("left") for facts in told) else DONE


def _kept(options: argparse.Namespace) -> frozenset[Kind]:
    from mailonce.workflow.kept_files import Kind

    return frozenset() if options.certificates else frozenset({Kind.CERTIFICATE})


def _going(month: OldMonth, kept: frozenset[Kind]) -> bool:
    return any(file.kind not in kept for file in month.files)


def _say(facts: dict[str, Any], options: argparse.Namespace, screen: Screen) -> None:
    screen.say(f"{facts['period']}  {facts['campaign']}: {_in_words(facts['counts']) or 'no deliveries'}")
    if facts["files"]:
        stay = "the certificates stay" if options.files else "all of them stay"
        told = "" if options.certificates else f"; {stay}"
        screen.say(f"         files: {_in_words(facts['files'])}{told}")
    if not options.yes:
        return
    screen.say(f"         {facts['deleted']} deliveries and {facts['files_deleted']} files deleted")
    if facts["certificate"]:
        screen.say(f"         the proof: {facts['certificate']}, hash {facts['root']}")
    if facts["left"]:
        screen.say(
            f"         {facts['left']} deliveries are left: something of them can still be accepted, or they are new"
        )


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
