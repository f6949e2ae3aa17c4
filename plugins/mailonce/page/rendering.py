"""A mail rendered once more, from the snapshot and the templates, and whether that is what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mailonce.delivery import Entry
from mailonce.errors import InvalidInput
from mailonce.messages.message import Message
from mailonce.messages.statement import StatementMaker
from mailonce.messages.templates import Templates
from mailonce.privacy.pseudonyms import is_pseudonym
from mailonce.states import State
from mailonce.workflow.periods import period_for_templates
from mailonce.workflow.planned import snapshots_of
from mailonce.workflow.settings import Settings
from mailonce.workflow.snapshot import PlannedRow, Snapshot, folder

_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """One mail.

    :param same: whether it is, to the letter, what the ledger's row is about. :param snapshot: where its data stood.
    """

    message: Message
    same: bool
    snapshot: str


def rendered(entry: Entry, settings: Settings) -> Rendered:
    """Render the mail of a delivery, from the snapshot that gives what was sent, or else from the newest.

    :raises mailonce.errors.InvalidInput: no snapshot that can be read from here holds it, or it cannot be rendered.
    """
    first: Rendered | None = None
    complaint: InvalidInput | None = None
    for uri, planned in _planned(entry, settings):
        try:
            message = _maker(entry, settings).delivery(planned.row).message
        except InvalidInput as failure:
            complaint = complaint or failure
            continue
        one = Rendered(message=message, same=message.fingerprint == entry.fingerprint, snapshot=uri)
        if one.same:
            return one
        first = first or one
    if first is None:
        raise complaint or InvalidInput(
            field="snapshot",
            reason="no snapshot that can be read from here holds this mail",
            remedy="Snapshots may be gone, or snapshot_uri names a folder that Airflow's api-server does not see",
        )
    return first


def in_words(entry: Entry, mail: Rendered) -> str:
    """Say what a rendered mail is, compared with what the ledger knows."""
    if mail.same:
        if entry.state is State.SENT:
            return "This is the mail as it was sent: its fingerprint is the one in the ledger."
        return "This is the mail as it was made for the last try: its fingerprint is the one in the ledger."
    if not entry.fingerprint:
        why = "the person was erased" if is_pseudonym(entry.email) else "the row was made from an event"
        return f"This is the mail as it would be made today. What was sent is not known: {why}."
    return (
        "This is not what the ledger's row is about: the data, the templates or the sender have changed since. "
        "It is the mail as it would be made today."
    )


def _maker(entry: Entry, settings: Settings) -> StatementMaker:
    identity = entry.identity
    return StatementMaker(
        campaign=identity.campaign,
        period=identity.period,
        period_fields=period_for_templates(identity.period, settings.timezone),
        edition=identity.edition,
        content=Templates.of_campaign(identity.campaign, Path(settings.template_root)),
        sender=settings.required_sender(),
        reply_to=settings.reply_addresses,
    )


def _planned(entry: Entry, settings: Settings) -> Iterator[tuple[str, PlannedRow]]:
    """Yield the row in each snapshot of its month that holds it, newest first."""
    one = entry.identity
    for written in snapshots_of(settings.snapshot_uri, one.campaign, one.period, one.edition):
        with suppress(InvalidInput, OSError):
            snapshot = Snapshot(written.uri)
            chunk = _chunk_with(written.uri, entry.key)
            if chunk is not None:
                yield from ((written.uri, row) for row in snapshot.chunk(chunk) if row.key == entry.key)


@lru_cache(maxsize=4096)
def _chunk_with(uri: str, key: str) -> int | None:
    """Return the chunk of a snapshot that holds a key; None: none does. A snapshot never changes, so neither does this.

    The file is read as bytes, a block at a time: a million rows take a second or two from a disk.
    """
    offset = _find(folder(uri) / "rows.jsonl", f'{{"key":"{key}"'.encode())
    if offset is None:
        return None
    chunks = Snapshot(uri).manifest.chunks
    for number, chunk in enumerate(chunks):
        if chunk.offset <= offset < chunk.offset + chunk.length:
            return number
    return None


def _find(path: Any, wanted: bytes) -> int | None:
    """Return where the bytes first stand in a file; None: nowhere."""
    with path.open("rb") as file:
        start, kept = 0, b""
        while block := file.read(_BLOCK):
            data = kept + block
            if (place := data.find(wanted)) >= 0:
                return start + int(place)
            kept = data[-len(wanted) :]
            start += len(data) - len(kept)
    return None
