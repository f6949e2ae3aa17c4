"""One delivery as people and as programs read it."""

from __future__ import annotations

from typing import Any

from mailonce.delivery import Entry
from mailonce.privacy.erasure import address_shown
from mailonce.privacy.pseudonyms import is_pseudonym
from mailonce.terminal.output import Screen


def facts_of(entry: Entry) -> dict[str, Any]:
    """Return a row for programs. The claim's token is left out: it is what lets its owner write."""
    facts = {**vars(entry), **vars(entry.identity)}
    del facts["identity"], facts["token"]
    return facts


def say(entry: Entry, screen: Screen) -> None:
    """Write a row with its history."""
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
    if is_pseudonym(entry.email):
        screen.say(f"  the person was {address_shown(entry)}; in the place of the address: {entry.email}")
    screen.say(f"  key {entry.key}")
    for event in entry.history:
        screen.say(f"  {(event['at'] or '')[:19]}  {event['state']:10} {event['by'] or ''}  {event['note'] or ''}")
