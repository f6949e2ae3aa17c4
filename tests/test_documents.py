"""The documents: links lead somewhere, blocks are what they say, commands exist, and the lists have all that the code has."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailonce import errors
from mailonce.events import Fate
from mailonce.states import State
from mailonce.terminal import _parser
from mailonce.workflow.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
START = ROOT / "docs" / "index.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ELSEWHERE = re.compile(r"[a-z]+:")
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


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


def blocks_of(document: Path, language: str) -> list[str]:
    """Return a document's blocks of one language."""
    return [
        textwrap.dedent(text)
        for found, text in BLOCK.findall(document.read_text(encoding="utf-8"))
        if found == language
    ]


def commands_of(document: Path, program: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of a program in a document's blocks of shell."""
    for block in blocks_of(document, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.match(rf"(?:\S*/)?{program} ([^|]*)", line.partition(" #")[0])
            if command:
                yield shlex.split(command[1].partition(" && ")[0].partition(" || ")[0])


def parses(python: str) -> bool:
    try:
        ast.parse(python)
    except SyntaxError:
        return False
    return True


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_blocks_are_what_they_say(document: Path) -> None:
    for block in blocks_of(document, "python"):
        assert any(parses(form.format(block)) for form in ("{}", "f(\n{})", "{{\n{}}}")), block
    for block in blocks_of(document, "json"):
        json.loads(block)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_can_be_pasted(document: Path) -> None:
    for arguments in commands_of(document, "mailonce"):
        _parser().parse_args(arguments)  # leaves with an error if there is no such command or option
    for arguments in commands_of(document, "airflow"):
        if "--conf" in arguments:
            json.loads(arguments[arguments.index("--conf") + 1])


def test_every_setting_is_in_the_list() -> None:
    listed = (START.parent / "settings.md").read_text(encoding="utf-8")
    assert not [field.name for field in dataclasses.fields(Settings) if f"`{field.name}`" not in listed]


def test_every_state_fate_and_error_is_in_the_reference() -> None:
    reference = (START.parent / "reference.md").read_text(encoding="utf-8")
    kinds = [kind.__name__ for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    names = [*(state.name for state in State), *(fate.name for fate in Fate), *kinds]
    assert not [name for name in names if name not in reference]
