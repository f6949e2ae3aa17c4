"""``mailonce crashtest``: real processes, really killed in the middle of deliveries, on the ledger that is in use."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailonce.errors import InvalidInput
from mailonce.terminal import output
from mailonce.terminal.output import DONE, FAILED, Screen

if TYPE_CHECKING:
    from mailonce.crashes.verdicts import Verdict
    from mailonce.messages.message import Message
    from mailonce.workflow.settings import Settings

_EPILOG = """examples:
  mailonce crashtest --quick
  mailonce crashtest --campaign monthly_usage --row row.json

No mail leaves: the provider is a server on this machine, which counts. The ledger's rows are those of a
campaign of their own, name nobody's address, and are finished at the end; an hour later they count as absent.

exit codes: 0 every case ended as promised, 2 one did not, or the test could not be run
"""


def add_to(commands: Any) -> None:
    """Declare the command and its arguments."""
    crashtest = commands.add_parser(
        "crashtest",
        help="kill real processes in the middle of deliveries on this ledger, and count the mails",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    crashtest.add_argument(
        "--campaign", help="mail this campaign's templates, filled with --row; default: a plain mail"
    )
    crashtest.add_argument("--row", metavar="FILE", help="one row of the campaign's data, as a JSON object")
    crashtest.add_argument("--quick", action="store_true", help="every point once, followed by a retry only")
    crashtest.add_argument("--json", action="store_true", help="for programs")
    crashtest.set_defaults(run=_crashtest)


def _crashtest(options: argparse.Namespace, screen: Screen) -> int:
    if bool(options.campaign) != bool(options.row):
        print("mailonce: give --campaign and --row together: the row fills the campaign's templates", file=sys.stderr)
        return FAILED
    settings = output.load_settings()
    from mailonce.crashes.configured import ledger_maker
    from mailonce.crashes.matrix import PLAIN, Matrix
    from mailonce.crashes.points import cases, quick_cases

    message = _message(options, settings) if options.campaign else PLAIN
    with Matrix(ledger_maker(settings), message=message) as matrix:
        chosen = list(quick_cases() if options.quick else cases())
        if not options.json:
            screen.say(
                f"{len(chosen)} cases on the ledger {settings.ledger_table} of connection {settings.ledger_conn_id}, "
                f"as campaign {matrix.campaign}. No mail leaves this machine."
            )
        if matrix.ledger_made:
            print(
                "mailonce: there was no such ledger, and it was made: it knows of no mail sent before", file=sys.stderr
            )
        verdicts = []
        for verdict in matrix.verdicts(chosen):
            verdicts.append(verdict)
            if not options.json:
                screen.say(f"  {'ok   ' if verdict.ok else 'WRONG'}  {verdict.sentence}")
        left = [entry.key for entry in matrix.finish()]
    if options.json:
        screen.json({"campaign": matrix.campaign, "cases": [_facts(one) for one in verdicts], "left_open": left})
    else:
        _say_sum(verdicts, matrix.campaign, left, screen)
    return DONE if all(verdict.ok for verdict in verdicts) else FAILED


def _message(options: argparse.Namespace, settings: Settings) -> Message:
    """Return the campaign's mail for the given row.

    :raises mailonce.errors.InvalidInput: the file, the row or a template cannot be used.
    """
    from mailonce.crashes.matrix import PLAIN
    from mailonce.messages.rows import decode_fields, read_row
    from mailonce.messages.statement import StatementMaker
    from mailonce.messages.templates import Templates
    from mailonce.period import month_before
    from mailonce.workflow.periods import period_for_templates

    try:
        row = read_row(dict(decode_fields(Path(options.row).read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput(
            field="--row",
            reason=f"{options.row} is no file with a JSON object ({error})",
            remedy='Write one row of the campaign\'s data: {"recipient_id": "…", "email": "…", …}',
        ) from error
    period = month_before(datetime.now(timezone.utc), settings.timezone).key
    maker = StatementMaker(
        campaign=options.campaign,
        period=period,
        period_fields=period_for_templates(period, settings.timezone),
        content=Templates.of_campaign(options.campaign, Path(settings.template_root)),
        sender=settings.sender or PLAIN.sender,
        reply_to=settings.reply_addresses,
    )
    return maker.delivery(row).message


def _facts(verdict: Verdict) -> dict[str, Any]:
    return {
        "case": str(verdict.case),
        "ok": verdict.ok,
        "end": verdict.end.value if verdict.end else None,
        "mails": len(verdict.facts.mails) if verdict.facts else None,
        "sentence": verdict.sentence,
    }


def _say_sum(verdicts: Sequence[Verdict], campaign: str, left: Sequence[str], screen: Screen) -> None:
    wrong = sum(not verdict.ok for verdict in verdicts)
    counts = [len(verdict.facts.mails) for verdict in verdicts if verdict.facts]
    screen.say(
        f"{len(verdicts)} keys, {sum(counts)} mails, at most {max(counts, default=0)} a key; "
        f"{wrong or 'none'} ended otherwise than promised."
    )
    screen.say(f"The rows of campaign {campaign} are finished, none is held; in an hour they count as absent.")
    if left:
        screen.say(f"But for these, whose claims have not run out yet: {', '.join(left)}")
