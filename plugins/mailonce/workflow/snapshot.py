"""The snapshot: who is to be mailed what, written once, never changed, and read piece by piece.

A snapshot is a folder named after its own content::

    <snapshot_uri>/<campaign>/<period>/<edition>/<digest>/
        rows.jsonl        one recipient a line: key, fingerprint, recipient_id, email, fields
        rejects.jsonl     one row a line that is not mailed: row, field, reason, remedy, kind
        manifest.json     where each chunk of rows.jsonl begins and ends, and its digest

Each mapped task reads the manifest and its own chunk, and checks the digest: memory does not grow with the number
of recipients, and nobody is mailed from a file that somebody touched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from mailonce.errors import InvalidInput
from mailonce.messages.rows import Row, decode_fields, encode_fields

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

MOST_CHUNKS = 1000
"""Longest map. Airflow fails a task that expands to more than ``core.max_map_length`` (1024)."""


class RejectKind(str, Enum):
    """Why a row is not mailed."""

    INVALID = "invalid"
    """Something is wrong with it that somebody should mend."""

    SUPPRESSED = "suppressed"
    """Its address bounced for good, or its owner complained: left out on purpose."""


@dataclass(frozen=True)
class Chunk:
    """One piece of ``rows.jsonl``: what one mapped task serves."""

    offset: int
    length: int
    rows: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a snapshot holds. :param query_rows: how many rows the query returned, refused ones included."""

    campaign: str
    period: str
    edition: str
    query_rows: int
    rejects: int
    rejects_digest: str
    chunks: tuple[Chunk, ...]

    @property
    def recipients(self) -> int:
        """How many recipients are to be mailed."""
        return sum(chunk.rows for chunk in self.chunks)

    def to_json(self) -> str:
        """Return the manifest as canonical JSON: its digest names the snapshot."""
        fields = {**vars(self), "chunks": [list(vars(chunk).values()) for chunk in self.chunks]}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read back what :meth:`to_json` wrote."""
        fields = json.loads(text)
        return cls(**{**fields, "chunks": tuple(Chunk(*chunk) for chunk in fields["chunks"])})


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """A row, and what its mail was when it was planned.

    :param key: of its delivery. :param fingerprint: of its content.
    """

    key: str
    fingerprint: str
    row: Row

    def to_line(self) -> bytes:
        """Return one line of ``rows.jsonl``."""
        return encode_fields({"key": self.key, "fingerprint": self.fingerprint, **vars(self.row)}) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> PlannedRow:
        """Read back what :meth:`to_line` wrote."""
        value = decode_fields(line)
        return cls(key=value.pop("key"), fingerprint=value.pop("fingerprint"), row=Row(**value))


class Snapshot:
    """A snapshot that exists.

    :param uri: its folder.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.manifest = Manifest.from_json(self._checked_manifest())

    def chunk(self, index: int) -> list[PlannedRow]:
        """Return the rows of one chunk, after checking that they are those that were planned.

        :raises mailonce.errors.InvalidInput: they are not.
        """
        if not 0 <= index < len(self.manifest.chunks):
            raise InvalidInput(
                field="chunk",
                reason=f"{index} is not one of the {len(self.manifest.chunks)} chunks of {self.uri}",
                remedy="Clear the task snapshot, so that the map is made anew",
            )
        chunk = self.manifest.chunks[index]
        with self._open("rows.jsonl") as file:
            file.seek(chunk.offset)
            data = file.read(chunk.length)
        if hashlib.sha256(data).hexdigest() != chunk.digest:
            raise self._damaged("rows.jsonl")
        return [PlannedRow.from_line(line) for line in data.splitlines()]

    def rows(self) -> Iterator[PlannedRow]:
        """Yield every row, chunk by chunk."""
        for index in range(len(self.manifest.chunks)):
            yield from self.chunk(index)

    def rejects(self) -> Iterator[Mapping[str, Any]]:
        """Yield every row that is not mailed, after checking the file: ``row``, ``field``, ``reason``, ``remedy``, ``kind``."""
        found = hashlib.sha256()
        with self._open("rejects.jsonl") as file:
            for line in file:
                found.update(line)
            if found.hexdigest() != self.manifest.rejects_digest:
                raise self._damaged("rejects.jsonl")
            file.seek(0)
            for line in file:
                yield json.loads(line)

    @contextmanager
    def _open(self, name: str) -> Iterator[Any]:
        try:
            with (folder(self.uri) / name).open("rb") as file:  # type: ignore[no-untyped-call]
                yield file
        except FileNotFoundError as error:
            raise self._damaged(name) from error

    def _checked_manifest(self) -> str:
        try:
            text = (folder(self.uri) / "manifest.json").read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise InvalidInput(
                field="snapshot",
                reason=f"there is none at {self.uri} (do all workers see the folder snapshot_uri?)",
                remedy="Clear the task snapshot to write it again: who was already mailed is not mailed again",
            ) from error
        if digest_name(text) != self.uri.rstrip("/").rpartition("/")[2]:
            raise self._damaged("manifest.json")
        return text

    def _damaged(self, file: str) -> InvalidInput:
        return InvalidInput(
            field="snapshot",
            reason=f"{file} at {self.uri} is not as it was written",
            remedy="Clear the task snapshot to write it again: who was already mailed is not mailed again",
        )


def reject_in_words(reject: Mapping[str, Any]) -> str:
    """Say why a row of :meth:`Snapshot.rejects` is not mailed, and what to do about it."""
    return f"{reject['field']}: {reject['reason']}. {reject['remedy']}"


def folder(uri: str) -> ObjectStoragePath:
    """Return the folder at a URI, wherever Airflow's object storage reaches."""
    from mailonce.compatibility import object_storage

    return object_storage(uri)


def digest_name(manifest: str) -> str:
    """Return the folder name of the snapshot with this manifest."""
    return hashlib.sha256(manifest.encode()).hexdigest()[:20]
