"""``mailonce preview``: what would go out, before it goes out."""

from __future__ import annotations

import argparse
import shutil
import sys
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mailonce.errors import InvalidInput
from mailonce.terminal import arguments, output
from mailonce.terminal.output import DONE, NOT_FOUND, UNRESOLVED, Screen

if TYPE_CHECKING:
    from mailonce.messages.message import Message
    from mailonce.workflow.month import Wanted
    from mailonce.workflow.plan import PlanLine
    from mailonce.workflow.plan_files import Names
    from mailonce.workflow.settings import Settings
    from mailonce.workflow.snapshot import Snapshot

_EPILOG = """examples:
  mailonce preview                                      last month: how many are new, sent already, changed, refused
  mailonce preview 2026-10 --recipient CUST-0042        this customer's mail, to read here
  mailonce preview 2026-10 --output look                samples to look at: open look/preview/index.html
  mailonce preview 2026-10 --samples 5 --output look    five of them
  mailonce preview 2026-10 --edition corrected-1        another edition

It asks the usage data, the ledger and the account, and changes nothing: no claim, no mail, no snapshot that stays.

exit codes: 0 everybody would get their mail, or has it; 1 somebody would not, or nobody is to be mailed; 2 refused or failed
"""


def add_to(commands: Any) -> None:
    """Declare the command and its arguments."""
    preview = arguments.declare(
        commands, "preview", help="what would go out for a month, before it goes out", epilog=_EPILOG
    )
    preview.add_argument("period", nargs="?", help="the month, 2026-10; default: the one before this")
    arguments.add_campaign(preview)
    preview.add_argument("--edition", default="original", help="default: %(default)s")
    preview.add_argument(
        "--recipient", action="append", default=[], metavar="ID", help="only this one; may be repeated"
    )
    preview.add_argument(
        "--samples", type=int, metavar="N", help="so many rendered mails; default: all of few, some of many"
    )
    preview.add_argument("--output", metavar="DIR", help="folder for the rendered mails")
    preview.add_argument("--statement", metavar="FILE", help="the usage query; default: include/sql/CAMPAIGN.sql")
    preview.add_argument(
        "--templates", metavar="DIR", help="folder of the campaigns' templates; default: include/templates"
    )
    preview.add_argument(
        "--key", default="statement", help="the Dag's key recipe, if it has another; default: %(default)s"
    )
    arguments.add_limit(preview, "recipients of each kind")
    preview.set_defaults(run=_preview)


def _preview(options: argparse.Namespace, screen: Screen) -> int:
    if options.samples is not None and (options.samples < 1 or not options.output):
        raise InvalidInput(field="--samples", reason="needs a number above 0 and --output DIR", remedy="Give both")
    settings = output.load_settings()
    from mailonce.workflow.account import allowance
    from mailonce.workflow.month import statement_maker, write_month
    from mailonce.workflow.plan import Plan, compare
    from mailonce.workflow.plan_files import Names, write_plan
    from mailonce.workflow.preview import Sampler

    wanted = _wanted(options, settings)
    maker = statement_maker(settings, wanted)
    names = Names(options.limit)
    few = options.samples
    sampler = Sampler(few, at_most=few) if few else Sampler.of_run(named=bool(options.recipient))
    with TemporaryDirectory(prefix="mailonce-") as home, closing(output.open_the_ledger()) as ledger:
        snapshot = write_month(settings, ledger, maker, wanted, uri=Path(home).as_uri())

        def heed(line: PlanLine) -> None:
            names.heed(line)
            sampler.heed(line)

        left = allowance(settings)
        if options.output:
            # The same files as a dry run's, so that the page's links lead somewhere.
            summary = write_plan(
                snapshot, ledger, maker, allowance=left, run_id="mailonce preview", dry_run=True, sampler=sampler,
                heed=names.heed,
            )  # fmt: skip
            _keep(_local(snapshot), Path(options.output))
        else:
            summary = compare(snapshot, ledger, allowance=left, heed=heed)
    chosen = sampler.chosen
    plans = {plan.value: summary.counts[plan] for plan in Plan if summary.counts[plan]}
    if options.json:
        screen.json({
            "campaign": wanted.campaign, "period": wanted.period, "edition": wanted.edition, "counts": plans,
            "over_quota": summary.over_quota, "left_today": summary.allowance.left_today, "exceptions": names.exceptions,
            "exceptions_more": names.kept.total() - len(names.exceptions), "samples": len(chosen) if options.output else 0,
        })  # fmt: skip
    else:
        screen.say(f"{wanted.campaign} {wanted.period} ({wanted.edition}): {summary.words}")
        _say_names(names, screen)
        for sample in chosen if options.recipient and not options.output else ():
            _say_mail(maker.delivery(sample.planned.row).message, screen)
        if options.output:
            screen.say(f"{len(chosen)} rendered: {Path(options.output) / 'preview' / 'index.html'}")
    if not plans:
        print("nobody to mail", file=sys.stderr)
        return NOT_FOUND
    return UNRESOLVED if names.kept or summary.over_quota else DONE


def _wanted(options: argparse.Namespace, settings: Settings) -> Wanted:
    from mailonce.period import month_before
    from mailonce.workflow.month import Wanted

    templates = Path(options.templates or settings.template_root)
    return Wanted(
        campaign=options.campaign,
        period=options.period or month_before(datetime.now(timezone.utc), settings.timezone).key,
        edition=options.edition,
        # Beside the templates, as the Dag has it.
        statement=Path(options.statement)
        if options.statement
        else templates.parent / "sql" / f"{options.campaign}.sql",
        template_root=templates,
        recipients=options.recipient,
        key=options.key,
    )


def _local(snapshot: Snapshot) -> Path:
    return Path(url2pathname(urlsplit(snapshot.uri).path))


def _keep(snapshot: Path, folder: Path) -> None:
    """Copy what is to be looked at; not the snapshot itself."""
    try:
        shutil.copytree(snapshot / "preview", folder / "preview", dirs_exist_ok=True)
        for name in ("plan.json", "plan.jsonl", "changed.txt"):
            shutil.copy(snapshot / name, folder)
    except OSError as error:
        raise InvalidInput(field="--output", reason=str(error), remedy="Name a folder that can be written") from error


def _say_mail(message: Message, screen: Screen) -> None:
    screen.say(f"\nFrom: {message.sender}\nTo: {message.to}\nSubject: {message.subject}\n")
    screen.say(message.text or "(this mail has no plain text: --output DIR shows it as HTML)")


def _say_names(names: Names, screen: Screen) -> None:
    for plan, number in names.kept.items():
        named = [one for one in names.exceptions if one["state"] == plan.value]
        for one in named:
            screen.say(f"  {one['recipient_id']:20} {plan.value}: {one['why']}")
        if number > len(named):
            screen.say(f"  and {number - len(named)} more: {plan.value}")
