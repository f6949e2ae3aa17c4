"""What the files under ``snapshot_uri`` hold about one person."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from mailonce.workflow.kept_files import ROWS, KeptFile, KeptFiles, Kind


def naming_person(files: KeptFiles, texts: Collection[str], *, campaign: str = "") -> Iterator[KeptFile]:
    """Yield the files that name a person. Every file is read.

    :param texts: recipient ids and addresses. :param campaign: only this one; empty: all, and messages set aside.
    """
    looked_at = files.of_months(campaign) if campaign else chain(files.of_months(), files.set_aside())
    yield from files.naming(looked_at, texts)


def facts_of_files(files: KeptFiles, named: Sequence[KeptFile], texts: Collection[str]) -> Mapping[str, Any]:
    """Return what a person may ask to see: their ``rows``, their ``rendered`` mails, and the ``files`` that name them.

    :param named: what :func:`naming_person` found.
    """
    return {
        "rows": [
            {"file": file.path, **row}
            for file in named
            if file.path.endswith(f"/{ROWS}")
            for row in files.rows(file, texts)
        ],
        "rendered": [_rendered(files, file) for file in named if _is_mail(file)],
        "files": [{"file": file.path, "kind": file.kind.value} for file in named],
    }


def _is_mail(file: KeptFile) -> bool:
    return file.kind is Kind.PREVIEW and file.path.endswith(".json")


def _rendered(files: KeptFiles, file: KeptFile) -> Mapping[str, Any]:
    stem = file.path.removesuffix(".json")
    parts = {name: files.text(f"{stem}.{suffix}") for name, suffix in (("text", "txt"), ("html", "html"))}
    return {"file": file.path, **json.loads(files.text(file.path) or "{}"), **parts}
