"""Corrections: another edition of a month's statement, which tells when the one that it replaces was sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from mailonce.errors import InvalidInput
from mailonce.keys import Identity, statement_key
from mailonce.ledgers.base import Ledger
from mailonce.messages.rows import read_row
from mailonce.messages.statement import ORIGINAL, ORIGINAL_SENT_AT, StatementMaker
from mailonce.period import time_zone
from mailonce.states import State

_KEYS_PER_QUESTION = 1000


def with_originals(
    raw_rows: Iterable[Mapping[str, Any]], ledger: Ledger, maker: StatementMaker, *, zone: str
) -> Iterator[Mapping[str, Any]]:
    """Give each row of a correction the moment at which the original was sent, as its column ``original_sent_at``.

    Asked once, when the month is planned, and kept in the snapshot: so every try renders the same mail. None where no
    original is known to be sent. The rows of an original pass as they are.

    :param maker: of the correction. :param zone: IANA time zone in which the moment is told.
    """
    if maker.edition == ORIGINAL:
        yield from raw_rows
        return
    original = replace(maker, edition=ORIGINAL)
    local = time_zone(zone)
    waiting = iter(raw_rows)
    while some := list(islice(waiting, _KEYS_PER_QUESTION)):
        keys = [_key(original, raw) for raw in some]
        sent = {
            entry.key: entry.sent_at.astimezone(local).replace(microsecond=0)
            for entry in ledger.find({key for key in keys if key})
            if entry.state is State.SENT and entry.sent_at
        }
        for raw, key in zip(some, keys, strict=True):
            yield {**raw, ORIGINAL_SENT_AT: sent.get(key)}


def _key(original: StatementMaker, raw: Mapping[str, Any]) -> str:
    """Return the original's key; empty for a row that cannot be mailed, which whoever writes the snapshot names."""
    try:
        row = read_row(raw)
        if original.recipe is statement_key:
            return Identity(
                campaign=original.campaign, period=original.period, recipient_id=row.recipient_id, edition=ORIGINAL
            ).key
        return original.delivery(row).key
    except InvalidInput:
        return ""
