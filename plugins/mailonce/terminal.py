"""The terminal tool: ``mailonce status | show | resolve``."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from mailonce.decisions import resolve
from mailonce.delivery import Decision, Entry
from mailonce.errors import MailonceError
from mailonce.keys import Identity
from mailonce.ledgers.base import Ledger
from mailonce.states import State

DONE, NOT_FOUND, FAILED = 0, 1, 2

_EXAMPLES = """examples:
  mailonce status 2026-10                       how many are sent, held, rejected; and who is not sent
  mailonce show CUST-0042 --period 2026-10      did this customer get October, when, as which message?
  mailonce show billing@example.com             everything that this address ever got
  mailonce resolve KEY --sent --reason 'the customer confirmed it'
  mailonce resolve KEY --release --reason 'not in the provider\\'s log: send it again'

exit codes: 0 done, 1 nothing found, 2 refused or failed
The ledger is the one that Airflow's configuration names: [mailonce] ledger_conn_id and ledger_table.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. :return: the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with closing(_ledger()) as ledger:
            code: int = options.run(ledger, options)
            return code
    except MailonceError as error:
        print(f"mailonce: {error}", file=sys.stderr)
        return FAILED


def _status(ledger: Ledger, options: argparse.Namespace) -> int:
    entries = list(ledger.of_month(options.campaign, options.period))
    counts = Counter(entry.state.value for entry in entries)
    open_ones = [entry for entry in entries if entry.state not in (State.SENT, State.CANCELLED)]
    if options.json:
        _print_json({"counts": counts, "not_sent": [_facts(entry) for entry in open_ones]})
    else:
        print(
            f"{options.campaign} {options.period}: " + (", ".join(f"{n} {s}" for s, n in counts.items()) or "nothing")
        )
        for entry in open_ones:
            print(
                f"  {entry.identity.recipient_id:20} {entry.state.value:10} {entry.error or ''}\n{'':33}key {entry.key}"
            )
    return DONE if entries else NOT_FOUND


def _show(ledger: Ledger, options: argparse.Namespace) -> int:
    if "@" in options.who:
        entries = list(ledger.of_address(options.who))
    elif _is_key(options.who):
        entries = list(ledger.find([options.who]))
    elif options.period:
        identity = Identity(
            campaign=options.campaign, period=options.period, recipient_id=options.who, edition=options.edition
        )
        entries = list(ledger.find([identity.key]))
    else:
        print("mailonce: with a recipient id, say which --period", file=sys.stderr)
        return FAILED
    if options.json:
        _print_json([_facts(entry) for entry in entries])
    else:
        for entry in entries:
            _print_entry(entry)
    if not entries:
        print("nothing found", file=sys.stderr)
    return DONE if entries else NOT_FOUND


def _resolve(ledger: Ledger, options: argparse.Namespace) -> int:
    entry = resolve(ledger, options.key, Decision(state=options.state, by=options.by, reason=options.reason))
    if options.json:
        _print_json(_facts(entry))
    else:
        _print_entry(entry)
        if entry.state is State.RELEASED:
            print("It goes out when its task is cleared, or the month is triggered again.")
    return DONE


def _print_entry(entry: Entry) -> None:
    identity = entry.identity
    print(f"{identity.recipient_id}  {identity.campaign} {identity.period} ({identity.edition}): {entry.state.value}")
    if entry.sent_at:
        print(f"  sent {entry.sent_at:%Y-%m-%d %H:%M:%S} UTC as message {entry.message_id or 'unknown'}")
    for duplicate in entry.duplicate_message_ids:
        print(f"  DUPLICATE: also accepted as message {duplicate}")
    if entry.error:
        print(f"  {entry.error}")
    print(f"  key {entry.key}")
    for event in entry.history:
        print(f"  {(event['at'] or '')[:19]}  {event['state']:10} {event['by'] or ''}  {event['note'] or ''}")


def _facts(entry: Entry) -> dict[str, Any]:
    facts = {**vars(entry), **vars(entry.identity)}
    del facts["identity"], facts["token"]
    return facts


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def _is_key(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _ledger() -> Ledger:
    # Airflow looks for connections in its own database only in processes that say they belong to the server side.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    from mailonce.workflow.connections import open_ledger
    from mailonce.workflow.settings import Settings

    return open_ledger(Settings.load())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mailonce", epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Ask the ledger what became of a mail, and decide what is in doubt.",
    )  # fmt: skip
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--campaign", default="monthly_usage", help="default: %(default)s")
    shared.add_argument("--json", action="store_true", help="for programs")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    status = commands.add_parser("status", parents=[shared], help="one month: how many are sent, and who is not")
    status.add_argument("period", help="the month, 2026-10")
    status.set_defaults(run=_status)

    show = commands.add_parser("show", parents=[shared], help="one delivery, or all of an address")
    show.add_argument("who", help="a recipient id (with --period), a key, or an address")
    show.add_argument("--period", help="the month, 2026-10")
    show.add_argument("--edition", default="original", help="default: %(default)s")
    show.set_defaults(run=_show)

    decide = commands.add_parser("resolve", parents=[shared], help="decide about a mail that is held or rejected")
    decide.add_argument("key", help="the delivery's key, as the log and `mailonce status` print it")
    choice = decide.add_mutually_exclusive_group(required=True)
    for flag, state, meaning in (
        ("--sent", State.SENT, "it was sent: nothing more goes out"),
        ("--release", State.RELEASED, "it was not sent: it may be sent again"),
        ("--cancel", State.CANCELLED, "it shall not be sent"),
    ):
        choice.add_argument(flag, dest="state", action="store_const", const=state, help=meaning)
    decide.add_argument("--reason", required=True, help="why; kept in the ledger")
    decide.add_argument("--by", default=getpass.getuser(), help="who; default: %(default)s")
    decide.set_defaults(run=_resolve)
    return parser


if __name__ == "__main__":
    sys.exit(main())
