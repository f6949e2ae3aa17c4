"""Writes a snapshot: every row of the query checked, rendered once to see that it can be, and given its key.

Two passes over local disk, so that memory stays flat: the first checks rows as they stream in and finds ids that
occur twice, the second cuts what is left into chunks, once their number is known.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from mailonce.errors import InvalidInput
from mailonce.messages.rows import read_row
from mailonce.messages.statement import StatementMaker
from mailonce.suppression import normal
from mailonce.workflow.snapshot import (
    MOST_CHUNKS,
    Chunk,
    Manifest,
    PlannedRow,
    RejectKind,
    Snapshot,
    digest_name,
    folder,
)

FindSuppressed = Callable[[Sequence[str]], Mapping[str, str]]
"""Returns which of some addresses are suppressed, as :func:`mailonce.suppression.normal` spells them, and why."""

_ROWS_PER_QUESTION = 1000


def write_snapshot(
    raw_rows: Iterable[Mapping[str, Any]],
    maker: StatementMaker,
    *,
    uri: str,
    only: Collection[str] = (),
    recipients_per_task: int | None = None,
    suppressed: FindSuppressed = lambda _addresses: {},
) -> Snapshot:
    """Write the snapshot of one run.

    :param raw_rows: the query's rows. :param maker: renders each one, and makes its key.
    :param uri: folder under which snapshots live.
    :param only: ids to keep; empty: all. An id that the query does not return is a reject.
    :param recipients_per_task: see :func:`rows_per_chunk`.
    :param suppressed: of some addresses returns those that must not be mailed, with the reason.
    """
    wanted = frozenset(only)
    with TemporaryDirectory(prefix="mailonce-") as name:
        spool = _Spool(Path(name))
        for number, raw in enumerate(raw_rows, start=1):
            _spool_row(spool, raw, number, maker, wanted)
        for missing in sorted(wanted - spool.found):
            spool.reject(_missing(missing))
        spool.reject_twins()
        spool.reject_suppressed(suppressed)
        manifest = _cut(spool, maker, recipients_per_task)
        return _publish(spool, manifest, uri)


def rows_per_chunk(recipients: int, asked: int | None) -> int:
    """Return how many recipients one mapped task serves.

    :param asked: what the run's parameter says; None: one, as long as the map stays within its limit. More
        than asked, if asking for so few would make the map longer than Airflow takes.
    """
    return max(asked or 1, math.ceil(recipients / MOST_CHUNKS))


class _Spool:
    """What the first pass leaves on local disk."""

    def __init__(self, directory: Path) -> None:
        self.planned = directory / "planned.jsonl"
        self.rows = directory / "rows.jsonl"
        self.rejected = directory / "rejects.jsonl"
        self.query_rows = 0
        self.rejects = 0
        self.rejects_digest = hashlib.sha256()
        self.recipients = 0
        self.found: set[str] = set()
        self.twins: dict[str, int] = {}
        self.suppressed: set[str] = set()
        # On disk, for a set of a million ids would be the largest thing in memory.
        self._seen = sqlite3.connect(directory / "seen.sqlite", isolation_level=None)
        self._seen.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; CREATE TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN"
        )
        self._planned_file: BinaryIO = self.planned.open("wb")
        self._rejected_file: BinaryIO = self.rejected.open("wb")

    def plan(self, row: PlannedRow) -> None:
        self._planned_file.write(row.to_line())
        self.recipients += 1

    def reject(self, complaint: InvalidInput, kind: RejectKind = RejectKind.INVALID) -> None:
        fields = {name: getattr(complaint, name) for name in ("row", "field", "reason", "remedy")}
        fields["kind"] = kind.value
        line = json.dumps(fields, ensure_ascii=True).encode() + b"\n"
        self._rejected_file.write(line)
        self.rejects_digest.update(line)
        self.rejects += 1

    def first_time(self, recipient_id: str) -> bool:
        return self._seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", [recipient_id]).rowcount == 1

    def reject_twins(self) -> None:
        for recipient_id, times in sorted(self.twins.items()):
            self.reject(_twin(recipient_id, times))

    def reject_suppressed(self, find: FindSuppressed) -> None:
        lines = self.planned_rows()
        while some := [PlannedRow.from_line(line).row for line in islice(lines, _ROWS_PER_QUESTION)]:
            found = find([row.email for row in some])
            for row in some:
                if reason := found.get(normal(row.email)):
                    self.suppressed.add(row.recipient_id)
                    self.reject(_suppressed(row.recipient_id, reason), RejectKind.SUPPRESSED)

    def planned_rows(self) -> Iterator[bytes]:
        """Yield the planned lines, without those whose id occurs twice or whose address is suppressed."""
        self._planned_file.close()
        left_out = {*self.twins, *self.suppressed}
        with self.planned.open("rb") as file:
            for line in file:
                if not left_out or PlannedRow.from_line(line).row.recipient_id not in left_out:
                    yield line

    def close(self) -> None:
        self._rejected_file.close()
        self._seen.close()


def _spool_row(
    spool: _Spool, raw: Mapping[str, Any], number: int, maker: StatementMaker, wanted: frozenset[str]
) -> None:
    spool.query_rows += 1
    given_id = next((_text(value) for name, value in raw.items() if str(name).lower() == "recipient_id"), "")
    if wanted and given_id not in wanted:
        return
    spool.found.update({given_id} & wanted)
    # Twins are found before anything else is judged: which of the two would be right, nobody can tell.
    if given_id and not spool.first_time(f"id {given_id}"):
        spool.twins[given_id] = spool.twins.get(given_id, 1) + 1
        return
    try:
        row = read_row(raw, number=number)
        delivery = maker.delivery(row)
        if spool.first_time(f"key {delivery.key}"):
            spool.plan(PlannedRow(key=delivery.key, fingerprint=delivery.message.fingerprint, row=row))
        else:
            spool.reject(_same_key(row.recipient_id))
    except InvalidInput as complaint:
        spool.reject(complaint)


def _text(recipient_id: Any) -> str:
    """Return an id as text, whatever it is: what cannot stand in a file is refused when its row is read."""
    text = "" if recipient_id is None else str(recipient_id).strip()
    return text.encode(errors="backslashreplace").decode()


def _cut(spool: _Spool, maker: StatementMaker, asked: int | None) -> Manifest:
    recipients = sum(1 for _ in spool.planned_rows())
    size = rows_per_chunk(recipients, asked)
    chunks: list[Chunk] = []
    offset = 0
    lines = spool.planned_rows()
    with spool.rows.open("wb") as file:
        while piece := list(islice(lines, size)):
            data = b"".join(piece)
            file.write(data)
            chunks.append(Chunk(offset, len(data), len(piece), hashlib.sha256(data).hexdigest()))
            offset += len(data)
    spool.close()
    return Manifest(
        campaign=maker.campaign,
        period=maker.period,
        edition=maker.edition,
        query_rows=spool.query_rows,
        rejects=spool.rejects,
        rejects_digest=spool.rejects_digest.hexdigest(),
        chunks=tuple(chunks),
    )


def _publish(spool: _Spool, manifest: Manifest, uri: str) -> Snapshot:
    text = manifest.to_json()
    home = folder(uri) / manifest.campaign / manifest.period / manifest.edition / digest_name(text)
    if _intact(str(home)):
        return Snapshot(str(home))  # written before, and perhaps being read at this moment
    home.mkdir(parents=True, exist_ok=True)
    _copy(spool.rows, home / "rows.jsonl")
    _copy(spool.rejected, home / "rejects.jsonl")
    # Last: a snapshot without its manifest is none, so a half-written one is never read.
    (home / "manifest.json").write_text(text)
    return Snapshot(str(home))


def _intact(uri: str) -> bool:
    try:
        snapshot = Snapshot(uri)
        for _ in chain(snapshot.rows(), snapshot.rejects()):
            pass
    except InvalidInput:
        return False
    return True


def _copy(source: Path, target: Any) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(1 << 20):
            writer.write(block)


def _missing(recipient_id: str) -> InvalidInput:
    return InvalidInput(
        row=recipient_id,
        field="recipients",
        reason="asked for, but the usage query returns no row for this id in this month",
        remedy="Check the id; a customer without usage may have no row",
    )


def _twin(recipient_id: str, times: int) -> InvalidInput:
    return InvalidInput(
        row=recipient_id,
        field="recipient_id",
        reason=f"the query returns {times} rows for this id, and nobody can tell which is right: none is mailed",
        remedy="Group the query by customer, so that each has one row",
    )


def _suppressed(recipient_id: str, reason: str) -> InvalidInput:
    return InvalidInput(
        row=recipient_id,
        field="email",
        reason=f"the address is suppressed and not mailed: {reason}",
        remedy="Should it work again: mailonce suppression lift ADDRESS --reason '…'",
    )


def _same_key(recipient_id: str) -> InvalidInput:
    return InvalidInput(
        row=recipient_id,
        field="key",
        reason="another row of this run has the same key, so this would be the same mail again",
        remedy="Check the key recipe: it must tell apart what is to be mailed apart",
    )
