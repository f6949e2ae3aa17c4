"""The terminal tool: ``mailonce status | show | resolve | suppression | doctor | crashtest``. One file a group of commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from mailonce.errors import MailonceError
from mailonce.terminal import crashtest, deliveries, doctor, suppression
from mailonce.terminal.output import FAILED, Screen

_EXAMPLES = """examples:
  mailonce status 2026-10                       how many are sent, held, rejected; and who is not sent
  mailonce show CUST-0042 --period 2026-10      did this customer get October, when, as which message?
  mailonce show billing@example.com             everything that this address ever got
  mailonce resolve KEY --sent --reason 'the customer confirmed it'
  mailonce resolve KEY --release --reason 'not in the provider\\'s log: send it again'
  mailonce suppression lift ann@example.com --reason 'the mailbox works again'
  mailonce doctor                               what would break the promise, and what to do about it

exit codes: 0 done, 1 nothing found, 2 refused or failed
The ledger is the one that Airflow's configuration names: [mailonce] ledger_conn_id and ledger_table.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. :return: the exit code."""
    options = _parser().parse_args(arguments)
    screen = Screen(sys.stdout)
    try:
        # Airflow logs to the standard output, where programs expect the answer and nothing else.
        with redirect_stdout(sys.stderr):
            code: int = options.run(options, screen)
        return code
    except MailonceError as error:
        print(f"mailonce: {error}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mailonce", epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Ask the ledger what became of a mail, decide what is in doubt, and look over the set-up.",
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    deliveries.add_to(commands)
    suppression.add_to(commands)
    doctor.add_to(commands)
    crashtest.add_to(commands)
    return parser
