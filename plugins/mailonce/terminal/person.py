"""``mailonce person export | erase``: everything that is stored about one person, and how it goes."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mailonce.errors import InvalidInput
from mailonce.terminal import arguments, output
from mailonce.terminal.entries import facts_of
from mailonce.terminal.output import DONE, NOT_FOUND, Screen

if TYPE_CHECKING:
    from mailonce.delivery import Entry
    from mailonce.privacy.person import Person
    from mailonce.workflow.kept_files import KeptFile

_EPILOG = """examples:
  mailonce person export ann@example.com --output ann.json
  mailonce person erase CUST-0042 --reason 'request of 2 March, ticket 7'

More of each: mailonce person export --help, mailonce person erase --help

exit codes: 0 done, or shown what would be; 1 nothing found; 2 refused or failed
"""
_EXPORT = """examples:
  mailonce person export ann@example.com --output ann.json
  mailonce person export CUST-0042 --campaign monthly_usage

The file holds personal data; --output lets only you read it. Every file under snapshot_uri is read, which takes a while
where there are many. It says what it could not look into.

exit codes: 0 done, 1 nothing found, 2 refused or failed
"""
_ERASE = """examples:
  mailonce person erase CUST-0042 --reason 'request of 2 March, ticket 7'        what would be erased; nothing is
  mailonce person erase CUST-0042 --reason 'request of 2 March, ticket 7' --yes
  mailonce person erase CUST-0042 --reason '…' --files --yes                     the snapshots that name them too

In the ledger the address is replaced by a hash made with the key of the connection erasure_conn_id. What was sent when
stays, as proof, and so do suppressions: the person is still not mailed. Take the person out of the customer database
too, or the next month mails them.

exit codes: 0 done, or shown what would be; 1 nothing found; 2 refused or failed
"""
NOT_LOOKED_INTO = (
    "Airflow's logs, its XComs and its metadata database",
    "the customer database that the usage query reads",
    "Amazon SES: its events, its own suppression list, and whoever else receives them",
    "the queue of events and its dead-letter queue",
    "journals on the workers' disks (keys and message ids)",
    "backups of the ledger and of the files",
    "files that mailonce export, certificate and person export wrote elsewhere",
)
"""Places that may know the person, and that this command does not ask."""


def add_to(commands: Any) -> None:
    """Declare the commands and their arguments."""
    person = commands.add_parser(
        "person",
        help="everything stored about one person: export it, or erase it",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = person.add_subparsers(required=True, metavar="ACTION")
    export = arguments.declare(actions, "export", help="everything that is stored about one person", epilog=_EXPORT)
    erase = arguments.declare(actions, "erase", help="replace a person's address by a keyed hash", epilog=_ERASE)
    for action in (export, erase):
        action.add_argument("who", help="a recipient id, or an address")
    arguments.add_campaign(export, default=None)
    export.add_argument("--output", metavar="FILE", help="where to write it; default: the standard output")
    export.set_defaults(run=_export)
    erase.add_argument("--reason", required=True, help="why; kept in the ledger, and so without the person's name")
    erase.add_argument("--by", default=getpass.getuser(), help="who; default: %(default)s")
    erase.add_argument(
        "--files", action="store_true", help="delete the files that name the person, snapshots as a whole"
    )
    erase.add_argument("--yes", action="store_true", help="do it; without it, only show what it would do")
    erase.set_defaults(run=_erase)


def _export(options: argparse.Namespace, screen: Screen) -> int:
    from mailonce.privacy.person import find_person
    from mailonce.workflow.kept_files import KeptFiles
    from mailonce.workflow.person_files import facts_of_files, naming_person

    settings = output.load_settings()
    key = output.load_erasure_key()
    with closing(output.open_the_ledger()) as ledger:
        person = find_person(ledger, options.who, key, campaign=options.campaign)
        at = ledger.epoch.read().read_at
    files = KeptFiles(settings.snapshot_uri)
    texts = _texts(person, options.who)
    named = list(naming_person(files, texts, campaign=options.campaign or ""))
    told = {
        "asked_for": options.who, "campaign": options.campaign, "at": at,
        "recipient_ids": person.recipient_ids, "addresses": sorted(person.addresses),
        "deliveries": [facts_of(entry) for entry in person.entries],
        "same_recipients_at_other_addresses": [facts_of(entry) for entry in person.elsewhere],
        "suppressions": [vars(suppression) for suppression in person.suppressions],
        **facts_of_files(files, named, texts),
        "not_looked_into": NOT_LOOKED_INTO,
    }  # fmt: skip
    if not (person.entries or person.suppressions or named):
        print("nothing found", file=sys.stderr)
        return NOT_FOUND
    if options.output:
        with output.replacing(options.output) as file:
            file.write(json.dumps(told, indent=2, default=output.plain, ensure_ascii=False).encode())
        screen.say(f"{len(person.entries)} deliveries and {len(named)} files: {options.output}")
    else:
        screen.json(told)
    return DONE


def _erase(options: argparse.Namespace, screen: Screen) -> int:
    from mailonce.privacy.person import erase_person, find_person
    from mailonce.workflow.kept_files import KeptFiles, Kind
    from mailonce.workflow.person_files import naming_person
    from mailonce.workflow.retention import days_of

    if not options.reason.strip():
        raise InvalidInput(field="--reason", reason="is empty", remedy="Say why: it is kept in the ledger")
    settings = output.load_settings()
    key = output.load_erasure_key()
    if key is None:
        raise InvalidInput(
            field="setting [mailonce] erasure_conn_id",
            reason="is not set, so there is no key to hash addresses with",
            remedy="Create a connection whose password is such a key (openssl rand -hex 32), and name it there",
        )
    with closing(output.open_the_ledger()) as ledger:
        if options.yes and any(days_of(settings.retention_days).values()):
            ledger.privacy.purge_expired()  # what has expired is not found, and may still hold the address
        person = find_person(ledger, options.who, key)
        files = KeptFiles(settings.snapshot_uri)
        named = list(naming_person(files, _texts(person, options.who)))
        if not (person.entries or person.suppressions or named):
            print("nothing found", file=sys.stderr)
            return NOT_FOUND
        entries: Sequence[Entry] = person.entries
        suppressed: Sequence[str] = [one.address for one in person.suppressions]
        if options.yes:
            entries, suppressed = erase_person(ledger, person, key, by=options.by, reason=options.reason)
    going = sorted({file.folder for file in named if file.kind is not Kind.CERTIFICATE}) if options.files else []
    for path in going if options.yes else ():
        files.delete(path)
    if options.json:
        screen.json({
            "erased": options.yes, "deliveries": [facts_of(entry) for entry in entries], "suppressions": suppressed,
            "same_recipients_at_other_addresses": [facts_of(entry) for entry in person.elsewhere],
            "unfinished": [entry.key for entry in person.unfinished],
            "files": [vars(file) for file in named], "deleted": going if options.yes else [],
            "not_looked_into": NOT_LOOKED_INTO,
        })  # fmt: skip
    else:
        _say(person, named, going, options, screen)
    return DONE


def _say(person: Person, named: list[KeptFile], going: list[str], options: argparse.Namespace, screen: Screen) -> None:
    done = "erased" if options.yes else "would be erased"
    for entry in person.entries:
        who = entry.identity
        screen.say(f"{who.recipient_id}  {who.campaign} {who.period} ({who.edition}): {entry.state.value}  {done}")
    for entry in person.unfinished:
        screen.say(f"  not finished, and so refused: decide it first: mailonce resolve {entry.key}")
    for _ in person.suppressions:
        screen.say(f"a suppression of the address {'stays' if options.yes else 'would stay'}, under its hash")
    for entry in person.elsewhere:
        who = entry.identity
        screen.say(f"{who.recipient_id} {who.period} went to another address: mailonce person erase {who.recipient_id}")
    for file in named:
        gone = file.folder in going
        screen.say(
            f"file {file.path} ({file.kind.value}) {('deleted' if options.yes else 'would go') if gone else 'stays'}"
        )
    screen.say(f"Not looked into: {'; '.join(NOT_LOOKED_INTO)}.")
    if not options.yes:
        screen.say("Nothing was erased. To erase it: the same with --yes")


def _texts(person: Person, who: str) -> set[str]:
    """Return what files are searched for: the recipient ids, and the addresses that are still known."""
    return {who, *person.recipient_ids, *person.addresses}
