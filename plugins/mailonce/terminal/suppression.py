"""``mailonce suppression list | add | lift``: addresses that must not be mailed, and the way back."""

from __future__ import annotations

import argparse
import getpass
from contextlib import closing
from typing import Any

from mailonce.errors import InvalidInput
from mailonce.messages.addresses import recipient_address
from mailonce.privacy.pseudonyms import KEY_CHECK
from mailonce.suppression import Suppression
from mailonce.terminal import output
from mailonce.terminal.output import DONE, NOT_FOUND, Screen

_EPILOG = """examples:
  mailonce suppression list
  mailonce suppression list billing@example.com
  mailonce suppression add billing@example.com --reason 'asked us not to write'
  mailonce suppression lift billing@example.com --reason 'the mailbox works again'

Hard bounces and complaints get here by themselves: reconcile_usage_email reads the provider's events.
Who is suppressed is left out of the next month's plan, by name; nobody is mailed later for having been left out.

exit codes: 0 done, 1 nothing found, 2 refused or failed
"""


def add_to(commands: Any) -> None:
    """Declare the command and its arguments."""
    suppression = commands.add_parser(
        "suppression",
        help="addresses that are not mailed: hard bounces, complaints; and the way back",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = suppression.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every suppressed address, or one of them")
    listing.add_argument("address", nargs="?", help="only this one")
    listing.set_defaults(run=_list)

    who = argparse.ArgumentParser(add_help=False)
    who.add_argument("address")
    who.add_argument("--reason", required=True, help="why; kept in the ledger")
    who.add_argument("--by", default=getpass.getuser(), help="who; default: %(default)s")
    actions.add_parser("add", parents=[who], help="do not mail this address").set_defaults(run=_add)
    actions.add_parser("lift", parents=[who], help="mail this address again").set_defaults(run=_lift)
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="for programs")


def _list(options: argparse.Namespace, screen: Screen) -> int:
    with closing(output.open_the_ledger()) as ledger:
        store = ledger.suppressions
        found = list(store.of(_forms(options.address)) if options.address else store.all())
    if options.json:
        screen.json([vars(suppression) for suppression in found])
    for suppression in () if options.json else found:
        _say(suppression, screen)
    if not found and not options.json:
        screen.say("not suppressed" if options.address else "nobody is suppressed")
    return DONE if found else NOT_FOUND


def _add(options: argparse.Namespace, screen: Screen) -> int:
    if not options.reason.strip():
        raise InvalidInput(field="--reason", reason="is empty", remedy="Say why: it is kept in the ledger")
    address = recipient_address(options.address, field="address")
    with closing(output.open_the_ledger()) as ledger:
        # The ledger's clock: it also says when an earlier suppression was lifted.
        now = ledger.epoch.read().read_at
        suppression = Suppression(address=address, reason=options.reason, since=now, by=options.by)
        ledger.suppressions.add(suppression)
        (now_holds,) = ledger.suppressions.of([address])
    if options.json:
        screen.json(vars(now_holds))
    else:
        _say(now_holds, screen)
    return DONE


def _lift(options: argparse.Namespace, screen: Screen) -> int:
    if not options.reason.strip():
        raise InvalidInput(field="--reason", reason="is empty", remedy="Say why: it is kept in the ledger")
    with closing(output.open_the_ledger()) as ledger:
        lifts = [
            ledger.suppressions.lift(form, by=options.by, reason=options.reason) for form in _forms(options.address)
        ]
        lifted = next(filter(None, lifts), None)
    if options.json:
        screen.json(vars(lifted) if lifted else None)
    elif lifted is None:
        screen.say("not suppressed")
    else:
        screen.say(f"{lifted.address} is mailed again from the next plan on. It was suppressed: {lifted.reason}")
        screen.say("Should it be on the SES account's own suppression list too, take it from there as well.")
    return DONE if lifted else NOT_FOUND


def _forms(address: str) -> list[str]:
    """Return under what an address may be suppressed: itself, and what stands there since its owner was erased."""
    key = output.load_erasure_key() if "@" in address else None
    return [address, key.of(address)] if key else [address]


def _say(suppression: Suppression, screen: Screen) -> None:
    screen.say(
        f"{suppression.address}  since {suppression.since:%Y-%m-%d %H:%M} UTC  {suppression.reason}  ({suppression.by})"
    )
    if suppression.address == KEY_CHECK:
        screen.say("    no address: it says with which key the addresses of erased persons were hashed")
    if suppression.key:
        screen.say(f"    it happened to the delivery with key {suppression.key}")
