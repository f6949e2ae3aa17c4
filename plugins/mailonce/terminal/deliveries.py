"""``mailonce status | show | resolve``: what became of each mail, and what a person decides about it."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mailonce.decisions import resolve
from mailonce.delivery import Decision, Entry
from mailonce.keys import Identity
from mailonce.states import State
from mailonce.terminal import output
from mailonce.terminal.output import DONE, FAILED, NOT_FOUND, Screen

if TYPE_CHECKING:
    from mailonce.ledgers.base import Ledger

Command = Callable[[argparse.Namespace, Screen], int]
"""Gets the arguments, and what its answer is written to; returns the exit code."""


def add_to(commands: Any) -> None:
    """Declare the commands and their arguments."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--campaign", default="monthly_usage", help="default: %(default)s")
    shared.add_argument("--json", action="store_true", help="for programs")

    status = commands.add_parser("status", parents=[shared], help="one month: how many are sent, and who is not")
    status.add_argument("period", help="the month, 2026-10")
    status.set_defaults(run=_with_ledger(_status))

    show = commands.add_parser("show", parents=[shared], help="one delivery, or all of an address")
    show.add_argument("who", help="a recipient id (with --period), a key, or an address")
    show.add_argument("--period", help="the month, 2026-10")
    show.add_argument("--edition", default="original", help="default: %(default)s")
    show.set_defaults(run=_with_ledger(_show))

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
    decide.set_defaults(run=_with_ledger(_resolve))


def _with_ledger(command: Callable[[Ledger, argparse.Namespace, Screen], int]) -> Command:
    def run(options: argparse.Namespace, screen: Screen) -> int:
        with closing(output.open_the_ledger()) as ledger:
            return command(ledger, options, screen)

    return run


def _status(ledger: Ledger, options: argparse.Namespace, screen: Screen) -> int:
    entries = list(ledger.of_month(options.campaign, options.period))
    counts = Counter(entry.state.value for entry in entries)
    fates = Counter(entry.fate.value for entry in entries if entry.fate)
    open_ones = [entry for entry in entries if entry.state not in (State.SENT, State.CANCELLED)]
    if options.json:
        screen.json({"counts": counts, "fates": fates, "not_sent": [_facts(entry) for entry in open_ones]})
    else:
        screen.say(
            f"{options.campaign} {options.period}: " + (", ".join(f"{n} {s}" for s, n in counts.items()) or "nothing")
        )
        if fates:
            screen.say("as far as events tell: " + ", ".join(f"{n} {fate}" for fate, n in fates.items()))
        for entry in open_ones:
            screen.say(
                f"  {entry.identity.recipient_id:20} {entry.state.value:10} {entry.error or ''}\n{'':33}key {entry.key}"
            )
    return DONE if entries else NOT_FOUND


def _show(ledger: Ledger, options: argparse.Namespace, screen: Screen) -> int:
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
        screen.json([_facts(entry) for entry in entries])
    else:
        for entry in entries:
            _print_entry(entry, screen)
    if not entries:
        print("nothing found", file=sys.stderr)
    return DONE if entries else NOT_FOUND


def _resolve(ledger: Ledger, options: argparse.Namespace, screen: Screen) -> int:
    entry = resolve(ledger, options.key, Decision(state=options.state, by=options.by, reason=options.reason))
    if options.json:
        screen.json(_facts(entry))
    else:
        _print_entry(entry, screen)
        if entry.state is State.RELEASED:
            screen.say("It goes out when its task is cleared, or the month is triggered again.")
    return DONE


def _print_entry(entry: Entry, screen: Screen) -> None:
    identity = entry.identity
    screen.say(
        f"{identity.recipient_id}  {identity.campaign} {identity.period} ({identity.edition}): {entry.state.value}"
    )
    if entry.sent_at:
        screen.say(f"  sent {entry.sent_at:%Y-%m-%d %H:%M:%S} UTC as message {entry.message_id or 'unknown'}")
    if entry.fate:
        screen.say(f"  {entry.fate.value} {entry.fate_at:%Y-%m-%d %H:%M:%S} UTC  {entry.fate_detail or ''}".rstrip())
    for duplicate in entry.duplicate_message_ids:
        screen.say(f"  DUPLICATE: also accepted as message {duplicate}")
    if entry.error:
        screen.say(f"  {entry.error}")
    screen.say(f"  key {entry.key}")
    for event in entry.history:
        screen.say(f"  {(event['at'] or '')[:19]}  {event['state']:10} {event['by'] or ''}  {event['note'] or ''}")


def _facts(entry: Entry) -> dict[str, Any]:
    facts = {**vars(entry), **vars(entry.identity)}
    del facts["identity"], facts["token"]
    return facts


def _is_key(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
