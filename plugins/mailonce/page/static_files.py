"""The page's own style and scripts."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, status
from fastapi.responses import FileResponse

from mailonce.page.access import SignedIn

STATIC = Path(__file__).with_name("static")
KINDS = {".css": "text/css", ".js": "text/javascript"}

router = APIRouter()


@router.get("/static/{name}")
def static_file(name: str, viewer: SignedIn) -> FileResponse:
    """Return one of the files in ``static``."""
    # Looked up among those that are there, so that no name can lead elsewhere.
    known = {file.name: file for file in STATIC.iterdir() if file.suffix in KINDS}
    if name not in known:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such file.")
    file = known[name]
    return FileResponse(file, media_type=KINDS[file.suffix], headers={"Cache-Control": "private, max-age=600"})
