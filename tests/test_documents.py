"""The documents: every link leads somewhere, and the start page leads to every document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
START = ROOT / "docs" / "index.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ELSEWHERE = re.compile(r"[a-z]+:")


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def prose_of(document: Path) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"^ *(```+).*?^ *\1 *$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def links_of(document: Path) -> list[str]:
    """Return where a document's links and pictures lead, but for those to other sites."""
    text = re.sub(r"`[^`\n]*`", "", prose_of(document))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not ELSEWHERE.match(link)]


def anchors_of(document: Path) -> Iterator[str]:
    """Yield the anchors that GitHub makes of a document's headings."""
    known: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?)[ #]*$", prose_of(document), flags=re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)  # of a link its text
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        yield f"{anchor}-{known.count(anchor)}" if anchor in known else anchor
        known.append(anchor)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for link in links_of(document):
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert not broken


def test_the_start_page_leads_to_every_document() -> None:
    linked = {(START.parent / link.partition("#")[0]).resolve() for link in links_of(START)}
    assert not [name_of(each) for each in START.parent.glob("*.md") if each not in {START, *linked}]
