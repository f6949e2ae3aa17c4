"""The terminal tool, the command ``mailonce``. One file a group of commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from mailonce.errors import MailonceError
from mailonce.terminal import (
    certificate,
    crashtest,
    deliveries,
    doctor,
    export,
    months,
    new,
    person,
    preview,
    purge,
    suppression,
)
from mailonce.terminal.output import FAILED, Screen

_EXAMPLES = """examples:
  mailonce status                               every month, with its totals
  mailonce status 2026-10                       how many are sent, held, rejected; and who is not sent
  mailonce show CUST-0042 --period 2026-10      did this customer get October, when, as which message?
  mailonce show billing@example.com             everything that this address ever got
  mailonce resolve KEY --sent --reason 'the customer confirmed it'
  mailonce new traffic_report                   a campaign of your own to start from
  mailonce preview 2026-11                      what will go out, before it goes out
  mailonce export 2026-10 --output missing.csv  who did not get it, and why
  mailonce certificate 2026-10                  the month's proof; mailonce verify FILE checks it
  mailonce suppression lift ann@example.com --reason 'the mailbox works again'
  mailonce person export ann@example.com        everything stored about one person; person erase
  mailonce purge --before 2025-01               delete months that are long over; the proof stays
  mailonce doctor                               what would break the promise, and what to do about it

More of each command: mailonce COMMAND --help

exit codes: 0 done, 1 nothing found, or the answer is no, 2 refused or failed
The ledger is the one that Airflow's configuration names: [mailonce] ledger_conn_id and ledger_table.
"""
_GROUPS = (months, deliveries, new, preview, export, certificate, suppression, person, purge, doctor, crashtest)
"""In the order of the help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. :return: the exit code."""
    options = _parser().parse_args(arguments)
    screen = Screen(sys.stdout)
    try:
        _check_airflow()
        # Airflow logs to the standard output, where programs expect the answer and nothing else.
        with redirect_stdout(sys.stderr):
            code: int = options.run(options, screen)
        return code
    except MailonceError as error:
        print(f"mailonce: {error}", file=sys.stderr)
        return FAILED


def _check_airflow() -> None:
    from mailonce.compatibility import refuse_unsupported

    refuse_unsupported()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mailonce", epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Ask the ledger what became of a mail, decide what is in doubt, and look over the set-up.",
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in _GROUPS:
        group.add_to(commands)
    return parser
