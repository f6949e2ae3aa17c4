"""Erasing a person from a delivery's row: what goes, and what stays as proof. Pure decisions, no input or output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from mailonce.delivery import Entry
from mailonce.privacy.pseudonyms import is_pseudonym, without_addresses
from mailonce.states import State

ERASED = "ERASED"
"""What the history's line says in the place of a state: no state changed."""

FINISHED = (State.SENT, State.REJECTED, State.CANCELLED)
"""Only these are erased: what is still to be sent, or in doubt, needs its address, and somebody's decision first."""

Line = Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """What a row is to hold afterwards, and how it stood when that was worked out.

    :param key: of the row. :param email_before: :param lines_before: its address and the number of its history's lines
        as they were read: whatever is written to a row adds a line.
    :param email: the pseudonym. :param error: :param fate_detail: :param history: without addresses.
    """

    key: str
    email_before: str
    lines_before: int
    email: str
    error: str | None
    fate_detail: str | None
    history: tuple[Line, ...]


def erasure_of(entry: Entry, pseudonym: str, *, by: str, reason: str) -> Erasure | None:
    """Return how a row is erased; None: there is nothing left in it to erase.

    The fingerprint goes too: it is a hash without a key, of the address among other things, and so a guess could be tried.

    :param pseudonym: of the row's address. :param by: :param reason: who, and why; kept in the history.
    """
    error = entry.error and without_addresses(entry.error)
    detail = entry.fate_detail and without_addresses(entry.fate_detail)
    history = tuple({**line, "note": (note := line.get("note")) and without_addresses(note)} for line in entry.history)
    if is_pseudonym(entry.email) and (error, detail, history) == (entry.error, entry.fate_detail, entry.history):
        return None
    moment = entry.read_at.astimezone(timezone.utc).isoformat()
    line = {"at": moment, "state": ERASED, "by": by, "note": without_addresses(reason)}
    return Erasure(
        key=entry.key,
        email_before=entry.email,
        lines_before=len(entry.history),
        email=pseudonym,
        error=error,
        fate_detail=detail,
        history=(*history, line),
    )


def erased_when(entry: Entry) -> datetime | None:
    """Return when a row was erased; None: it was not."""
    if not is_pseudonym(entry.email):
        return None
    moments = [line["at"] for line in entry.history if line.get("state") == ERASED and line.get("at")]
    return datetime.fromisoformat(str(moments[-1])) if moments else None


def address_shown(entry: Entry) -> str:
    """Return what people see in the place of a row's address."""
    if not is_pseudonym(entry.email):
        return entry.email
    when = erased_when(entry)
    return f"erased on {when:%Y-%m-%d}" if when else "erased"
