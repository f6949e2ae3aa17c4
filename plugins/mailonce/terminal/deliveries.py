"""``mailonce show | resolve``: what became of a mail, and what a person decides about it."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mailonce.decisions import resolve
from mailonce.delivery import Decision, Entry
from mailonce.privacy.person import deliveries_to
from mailonce.states import State
from mailonce.terminal import arguments, entries, output
from mailonce.terminal.output import DONE, NOT_FOUND, Screen

if TYPE_CHECKING:
    from mailonce.ledgers.base import Ledger

Command = Callable[[argparse.Namespace, Screen], int]
"""Gets the arguments, and what its answer is written to; returns the exit code."""


_SHOW = """examples:
  mailonce show CUST-0042                       every month of this customer
  mailonce show CUST-0042 --period 2026-10      did this customer get October, when, as which message?
  mailonce show billing@example.com             everything that this address ever got
  mailonce show 3f9c…                           one delivery, by its key (64 digits)

exit codes: 0 done, 1 nothing found, 2 refused or failed
"""
_RESOLVE = """examples:
  mailonce resolve KEY --sent --reason 'the customer confirmed it'
  mailonce resolve KEY --release --reason 'not in the log of the provider: send it again'
  mailonce resolve KEY --cancel --reason 'the account was closed'

Who and why is kept in the ledger. A release sends nothing by itself: clear the task, or trigger the month again.

exit codes: 0 done, 2 refused or failed
"""


def add_to(commands: Any) -> None:
    """Declare the commands and their arguments."""
    show = arguments.declare(commands, "show", help="one delivery, or all of a recipient or an address", epilog=_SHOW)
    show.add_argument("who", help="a recipient id, an address, or a key")
    show.add_argument("--period", help="only this month, 2026-10")
    show.add_argument("--edition", help="only this edition")
    arguments.add_campaign(show, default=None)
    show.set_defaults(run=_with_ledger(_show))

    decide = arguments.declare(
        commands, "resolve", help="decide about a mail that is held or rejected", epilog=_RESOLVE
    )
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
    # Told by the key alone; kept because scripts give it.
    decide.add_argument("--campaign", help=argparse.SUPPRESS)
    decide.set_defaults(run=_with_ledger(_resolve))


def _with_ledger(command: Callable[[Ledger, argparse.Namespace, Screen], int]) -> Command:
    def run(options: argparse.Namespace, screen: Screen) -> int:
        with closing(output.open_the_ledger()) as ledger:
            return command(ledger, options, screen)

    return run


def _show(ledger: Ledger, options: argparse.Namespace, screen: Screen) -> int:
    asked = {name: value for name in ("campaign", "period", "edition") if (value := getattr(options, name))}
    found = [
        entry
        for entry in _found(ledger, options.who)
        if all(getattr(entry.identity, name) == value for name, value in asked.items())
    ]
    if options.json:
        screen.json([entries.facts_of(entry) for entry in found])
    else:
        for entry in found:
            entries.say(entry, screen)
    if not found:
        print("nothing found", file=sys.stderr)
    return DONE if found else NOT_FOUND


def _found(ledger: Ledger, who: str) -> Sequence[Entry]:
    """Return what a key, an address or a recipient id stands for. An id may look like either of the others."""
    found: list[Entry] = []
    if _is_key(who):
        found = list(ledger.find([who]))
    elif "@" in who:
        found = list(deliveries_to(ledger, who, output.load_erasure_key()).values())
    return found or list(ledger.browser.of_recipient(who))


def _resolve(ledger: Ledger, options: argparse.Namespace, screen: Screen) -> int:
    entry = resolve(ledger, options.key, Decision(state=options.state, by=options.by, reason=options.reason))
    if options.json:
        screen.json(entries.facts_of(entry))
    else:
        entries.say(entry, screen)
        if entry.state is State.RELEASED:
            screen.say("It goes out when its task is cleared, or the month is triggered again.")
    return DONE


def _is_key(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
