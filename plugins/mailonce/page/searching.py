"""What somebody may look for: a recipient, an address, a key, a message id."""

from __future__ import annotations

import re
import time
from enum import Enum
from itertools import islice

from mailonce.browsing import PAGE, Search, storable
from mailonce.delivery import Entry
from mailonce.ledgers.base import Ledger

PATIENCE = 15.0
"""Seconds for which a month is read to find a message id, for which ledgers keep no index."""

KEY = re.compile(r"[0-9a-f]{64}")
"""What a key looks like, whatever recipe made it."""

_SES_MESSAGE_ID = re.compile(r"[0-9a-f]{16}(-[0-9a-f]+){6}")


class By(str, Enum):
    """What a text that is looked for is."""

    ANYTHING = ""
    RECIPIENT = "recipient"
    ADDRESS = "address"
    KEY = "key"
    MESSAGE = "message"


def meant(text: str, by: By) -> By:
    """Return what a text is, told by its looks unless somebody said."""
    if by is not By.ANYTHING:
        return by
    if KEY.fullmatch(text):
        return By.KEY
    if _SES_MESSAGE_ID.fullmatch(text):
        return By.MESSAGE
    return By.ADDRESS if "@" in text else By.RECIPIENT


def found(ledger: Ledger, asked: Search, text: str, by: By) -> tuple[tuple[Entry, ...], str]:
    """Return the deliveries of one month with this address, key or message id, and what to know about the search."""
    if not storable(text) or (by is By.KEY and not KEY.fullmatch(text)):
        return (), ""
    if by is By.MESSAGE:
        return _by_message(ledger, asked, text)
    entries = ledger.find([text]) if by is By.KEY else ledger.of_address(text)
    return tuple(islice(filter(asked.fits, entries), PAGE)), ""


def _by_message(ledger: Ledger, asked: Search, text: str) -> tuple[tuple[Entry, ...], str]:
    give_up = time.monotonic() + PATIENCE
    for number, entry in enumerate(ledger.of_month(asked.campaign, asked.period), start=1):
        if entry.has_message(text):
            return ((entry,) if asked.fits(entry) else ()), ""
        if time.monotonic() > give_up:
            note = (
                f"Not found among the first {number:,} deliveries of the month, and then the search was given up after "
                f"{PATIENCE:.0f} seconds: the ledger has no index of message ids. Look by recipient or address."
            )
            return (), note
    return (), ""
