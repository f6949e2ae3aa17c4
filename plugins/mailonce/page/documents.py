"""What the tasks of a run wrote beside their snapshot for people: its report, and its plan with the preview.

The addresses mirror the folder, so that the documents' own links lead where they should.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response, status

from mailonce.page.access import SeesCampaign, TheSettings
from mailonce.page.headers import DOCUMENT_POLICY
from mailonce.workflow.planned import TAG
from mailonce.workflow.snapshot import folder

router = APIRouter()

DIGEST = re.compile(r"[0-9a-f]{20}")
"""A snapshot's name: see :func:`mailonce.workflow.snapshot.digest_name`."""

_RUN = r"runs/[A-Za-z0-9_-]+\.[0-9a-f]{8}/"
_KINDS = {
    re.compile(rf"(?:{_RUN})?report\.html|preview/index\.html|preview/[0-9a-f]{{64}}\.html"): "text/html",
    re.compile(rf"(?:{_RUN})?report\.json|plan\.json|preview/[0-9a-f]{{64}}\.json"): "application/json",
    re.compile(r"changed\.txt|preview/[0-9a-f]{64}\.txt|plan\.jsonl|rejects\.jsonl"): "text/plain",
    re.compile(rf"{_RUN}exceptions\.csv"): "text/csv",
}
"""What may be read, and as what: nothing else of a folder is given out. ``rows.jsonl`` holds everybody's address."""


@dataclass(frozen=True)
class Document:
    """Something to read. :param title: for people. :param path: within the folder of its snapshot."""

    title: str
    path: str


def documents_of(uri: str, run: str = "") -> Iterator[Document]:
    """Yield what there is to read beside a snapshot.

    :param run: one run's name as a file, to have its own report; empty: the latest one's.
    """
    for title, path in (
        ("Report of this run" if run else "Report of the latest run", f"runs/{run}/report.html" if run else "report.html"),
        ("Plan and preview", "preview/index.html"),
    ):  # fmt: skip
        if _kind(path) and (folder(uri) / path).is_file():
            yield Document(title, path)


def _statement(campaign: str, period: str, edition: str, digest: str, _viewer: SeesCampaign) -> str:
    if not (TAG.fullmatch(campaign) and TAG.fullmatch(period) and TAG.fullmatch(edition) and DIGEST.fullmatch(digest)):
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such snapshot.")
    return f"{campaign}/{period}/{edition}/{digest}"


@router.get("/documents/{campaign}/{period}/{edition}/{digest}/{path:path}")
def document(place: Annotated[str, Depends(_statement)], path: str, settings: TheSettings) -> Response:
    """Return one document."""
    kind = _kind(path)
    file = folder(settings.snapshot_uri) / place / path
    if not kind or not file.is_file():
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such document beside this snapshot.")
    content = file.read_bytes()
    return Response(
        content, media_type=f"{kind}; charset=utf-8", headers={"Content-Security-Policy": DOCUMENT_POLICY}
    )  # fmt: skip


def _kind(path: str) -> str | None:
    return next((kind for pattern, kind in _KINDS.items() if pattern.fullmatch(path)), None)
