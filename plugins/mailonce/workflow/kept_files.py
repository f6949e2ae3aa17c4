"""What lies under ``snapshot_uri``: which files there are of a month, which of them name a person, and deleting them.

::

    <campaign>/<period>/certificate.*.jsonl                     see mailonce.workflow.certifying
    <campaign>/<period>/<edition>/<digest>/rows.jsonl …         see mailonce.workflow.snapshot
                                           preview/…            see mailonce.workflow.preview
                                           plan.json …          see mailonce.workflow.plan_files
                                           report.json runs/…   see mailonce.workflow.reporting.files
    events/set-aside/<day>/<digest>.json                        see mailonce.workflow.events.set_aside
    triggers/set-aside/…                                        the same
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from mailonce.workflow.snapshot import folder

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

ROWS = "rows.jsonl"
_ASIDE = ("events/set-aside", "triggers/set-aside")
_OTHERS = ("ledger", "events", "triggers")
"""Folders beside those of the campaigns."""


class Kind(str, Enum):
    """What a file is about."""

    SNAPSHOT = "snapshot"
    PREVIEW = "preview"
    PLAN = "plan"
    REPORT = "report"
    CERTIFICATE = "certificate"
    SET_ASIDE = "message set aside"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class KeptFile:
    """One file. :param path: below ``snapshot_uri``. :param edition: empty: of the month as a whole."""

    path: str
    kind: Kind
    campaign: str = ""
    period: str = ""
    edition: str = ""

    @property
    def folder(self) -> str:
        """What is deleted with it: its snapshot as a whole, for nobody mails from half of one; or the file alone."""
        parts = self.path.split("/")
        return "/".join(parts[:4]) if self.edition and len(parts) > 4 else self.path


class KeptFiles:
    """The files under one ``snapshot_uri``, on a disk or in an object store.

    :param uri: the setting ``snapshot_uri``.
    """

    def __init__(self, uri: str) -> None:
        self._root = folder(uri)

    def of_months(self, campaign: str = "", period: str = "") -> Iterator[KeptFile]:
        """Yield the files of a campaign, or of one of its months; without either, of all campaigns."""
        place = self._root / campaign / period if period else self._root / campaign if campaign else self._root
        yield from (file for path in self._found(place) if (file := _kept(path)) and file.campaign)

    def set_aside(self) -> Iterator[KeptFile]:
        """Yield the messages that were set aside."""
        for place in _ASIDE:
            yield from (file for path in self._found(self._root / place) if (file := _kept(path)))

    def naming(self, files: Iterable[KeptFile], texts: Collection[str]) -> Iterator[KeptFile]:
        """Yield those files that name one of these recipient ids or addresses.

        Each file of JSON or CSV is read, a line at a time; what is there for people to look at says the same, and lies
        beside it.
        """
        in_json, in_csv = _naming(texts)
        for file in files:
            if not file.path.endswith((".json", ".jsonl", ".csv")):
                continue
            wanted = in_csv if file.path.endswith(".csv") else in_json
            with self._place(file.path).open("rb") as lines:  # type: ignore[no-untyped-call]
                if any(wanted.search(line.decode(errors="replace")) for line in lines):
                    yield file

    def rows(self, file: KeptFile, texts: Collection[str]) -> Iterator[Mapping[str, Any]]:
        """Yield the lines of a file of JSON lines that :meth:`naming` finds it by."""
        wanted, _ = _naming(texts)
        with self._place(file.path).open("rb") as lines:  # type: ignore[no-untyped-call]
            for line in lines:
                if wanted.search(line.decode(errors="replace")):
                    yield json.loads(line)

    def text(self, path: str) -> str | None:
        """Return a file as text; None: there is none."""
        place = self._place(path)
        return place.read_text(encoding="utf-8") if place.exists() else None

    def delete(self, path: str) -> None:
        """Delete a file or a folder with all that is in it; again is harmless."""
        place = self._place(path)
        if place.exists():
            place.fs.rm(place.path, recursive=place.is_dir())

    def _found(self, place: ObjectStoragePath) -> Iterator[str]:
        files = place.fs
        files.invalidate_cache()  # another process may have written since we last looked
        root = str(self._root.path).strip("/")
        for path in sorted(map(str, files.find(place.path))):
            yield path.strip("/").removeprefix(root).strip("/")

    def _place(self, path: str) -> ObjectStoragePath:
        return self._root / path


def _kept(path: str) -> KeptFile | None:
    parts = path.split("/")
    if path.startswith(_ASIDE):
        return KeptFile(path=path, kind=Kind.SET_ASIDE)
    if parts[0] in _OTHERS or len(parts) < 3:
        return None
    month = {"campaign": parts[0], "period": parts[1]}
    if len(parts) == 3:
        is_certificate = parts[2].startswith("certificate.")
        return KeptFile(path=path, kind=Kind.CERTIFICATE if is_certificate else Kind.OTHER, **month)
    return KeptFile(path=path, kind=_kind(parts[4:]), edition=parts[2], **month)


def _kind(inside: list[str]) -> Kind:
    """Return what a file in a snapshot's folder is. :param inside: the parts of its path in there."""
    match inside:
        case ["rows.jsonl" | "rejects.jsonl" | "manifest.json"]:
            return Kind.SNAPSHOT
        case ["preview", *_]:
            return Kind.PREVIEW
        case ["plan.json" | "plan.jsonl" | "changed.txt"]:
            return Kind.PLAN
        case ["report.json" | "report.html"] | ["runs", *_]:
            return Kind.REPORT
        case _:
            return Kind.OTHER


def _naming(texts: Collection[str]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what finds ids and addresses in a line of JSON, and of CSV.

    An id is looked for where the file says whose line it is: it may be a number like any other, which in the midst of a
    text would name nobody. An address is found anywhere.
    """
    ids = "|".join(_spelled(text) for text in texts)
    addresses = "|".join(_spelled(text) for text in texts if "@" in text) or "(?!)"
    anywhere = rf"(?i:(?<![\w.+-])(?:{addresses})(?!\.?[\w-]))"
    return (
        re.compile(rf'"(?:recipient_id|row)": ?"(?:{ids})"|{anywhere}'),
        re.compile(rf'(?:^|,)"?(?:{ids})"?(?=,|\s*$)|{anywhere}'),
    )


def _spelled(text: str) -> str:
    """Return an expression for a text as it is, and as JSON spells it."""
    return "|".join(map(re.escape, dict.fromkeys((text, json.dumps(text)[1:-1]))))
