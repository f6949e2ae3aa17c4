"""From messages of the queue to the ledger: each event once, however often it comes, in whatever order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from mailonce.delivery import Entry
from mailonce.errors import EventUnreadable
from mailonce.events import Event, Fate
from mailonce.ledgers.base import Ledger
from mailonce.privacy.pseudonyms import is_pseudonym
from mailonce.providers.ses_events import Ignored, read_event
from mailonce.states import State
from mailonce.suppression import Suppression
from mailonce.workflow.events.queue import Message

log = logging.getLogger(__name__)


class Outcome(str, Enum):
    """What became of a message."""

    APPLIED = "applied"
    """The ledger holds something that it did not hold before."""

    KNOWN = "already known"
    PURGED = "of a month that was purged"
    """Its delivery was deleted on purpose, and is not made anew."""

    NOT_OURS = Ignored.NOT_OURS.value
    TELLS_NOTHING = Ignored.TELLS_NOTHING.value

    SET_ASIDE = "set aside"
    """It cannot be understood, or nobody knows whose mail it is about."""


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """A key for which the provider accepted more than one mail.

    :param message_ids: the provider's, in the order in which the ledger learned of them.
    """

    recipient_id: str
    key: str
    message_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One message, and what became of it.

    :param reason: why it is to be set aside. :param duplicate: what it newly proved.
    :param entry: the ledger's row, if it changed. :param fate: what newly became of the mail.
    :param at: the moment of the event, by the provider's clock.
    """

    message: Message
    outcome: Outcome
    reason: str = ""
    duplicate: Duplicate | None = None
    entry: Entry | None = None
    fate: Fate | None = None
    at: datetime | None = None


def observe_all(messages: Sequence[Message], ledger: Ledger) -> Iterator[Observation]:
    """Write what messages tell into the ledger, one after the other.

    :raises mailonce.errors.LedgerError: it could not be written; whatever was, is harmless to write again.
    """
    read = [(message, _read(message)) for message in messages]
    entries = {entry.key: entry for entry in ledger.find({event.key for _, event in read if isinstance(event, Event)})}
    for message, event in read:
        if isinstance(event, EventUnreadable):
            yield Observation(message=message, outcome=Outcome.SET_ASIDE, reason=str(event))
        elif isinstance(event, Ignored):
            yield Observation(message=message, outcome=Outcome(event.value))
        elif (before := entries.get(event.key)) is None and _purged(event, ledger):
            _suppress(event, before, ledger)
            yield Observation(message=message, outcome=Outcome.PURGED)
        else:
            after = before if before and before.holds(event) else _write(event, before, ledger)
            if after:
                entries[event.key] = after
            yield _observed(message, event, before, after)


def _read(message: Message) -> Event | Ignored | EventUnreadable:
    try:
        return read_event(message.body)
    except EventUnreadable as unreadable:
        return unreadable


def _purged(event: Event, ledger: Ledger) -> bool:
    which = event.identity
    return which is not None and ledger.privacy.purged(which.campaign, which.period, which.edition) is not None


def _write(event: Event, before: Entry | None, ledger: Ledger) -> Entry | None:
    # First: a row that holds the event tells that the address is suppressed, too.
    _suppress(event, before, ledger)
    return ledger.observe(event)


def _suppress(event: Event, before: Entry | None, ledger: Ledger) -> None:
    if not event.suppresses:
        return
    # Of a person who was erased the address does not come back: what stands in its place is looked for as well.
    address = before.email if before and is_pseudonym(before.email) else event.address
    suppression = Suppression(
        address=address, reason=event.suppresses, since=event.at, by=event.evidence, key=event.key
    )
    if ledger.suppressions.add(suppression):
        log.info("the address of key %s… is not mailed any more: %s", event.key[:12], event.suppresses)


def _observed(message: Message, event: Event, before: Entry | None, after: Entry | None) -> Observation:
    """Say what a message changed: pure, but for the log."""
    if after is None:
        reason = (
            f"tells of a mail with key {event.key}, which the ledger does not have, and not whose mail that is (does "
            "another ledger's configuration set publish to this queue?)"
        )
        return Observation(message=message, outcome=Outcome.SET_ASIDE, reason=reason)
    who = after.identity.recipient_id
    if before and before.state is not State.SENT and after.state is State.SENT:
        log.info("%s: was %s, is SENT: message %s [key %s…]", who, before.state.value, event.message_id, event.key[:12])
    new = before is None or not before.has_message(event.message_id)
    duplicate = None
    # Of a message that comes again it may be that only the ledger heard the first time, and the alarm did not.
    if event.message_id in after.duplicate_message_ids and (new or message.again):
        message_ids = tuple(each for each in (after.message_id, *after.duplicate_message_ids) if each)
        duplicate = Duplicate(recipient_id=who, key=after.key, message_ids=message_ids)
        log.error(
            "%s: a measured duplicate: the provider accepted messages %s for one key [key %s]",
            who, " and ".join(message_ids), after.key,
        )  # fmt: skip
    if after is before:
        return Observation(message=message, outcome=Outcome.KNOWN, duplicate=duplicate)
    fate = None if before and before.fate is after.fate else after.fate
    return Observation(
        message=message, outcome=Outcome.APPLIED, duplicate=duplicate, entry=after, fate=fate, at=event.at
    )
