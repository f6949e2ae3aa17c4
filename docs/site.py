"""What the documentation site needs beside the files that are there: see mkdocs.yml.

The site mirrors the repository, so that a link which leads somewhere in the repository leads there on the site: the
documents keep their folder, README and its kin stand beside it, and a source file that a document links to is a plain
text. The navigation is the start page's.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).resolve().parents[1]
START = "docs/index.md"
FENCED = re.compile(r"^ *(```+).*?^ *\1 *$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#]+)[^)\s]*\)")
LINE_OF_ITS_OWN = re.compile(r"^- \[[^]]*\]\(([^)\s#]+)\)", re.MULTILINE)
ITEM = re.compile(r"(?:[-*]|\d+\.) +")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the site's files, by their places in the repository, and set its navigation."""
    documents = [_file(config, f"docs/{each.src_uri}") for each in files.documentation_pages()]
    documents += [_file(config, each.name) for each in sorted(ROOT.glob("*.md"))]
    pages = {each.src_uri for each in documents}
    config.nav = _navigation(pages)
    # What the theme brings along, pictures of its own for example, has no place in the repository.
    theme = [each for each in files if each.generated_by or not (each.abs_src_path or "").startswith(config.docs_dir)]
    return Files([*theme, *documents, *(_file(config, place) for place in sorted(_linked(pages)))])


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page's text with its lists as this renderer wants them.

    What stands within an item is indented by four, and an item of several paragraphs ends with an empty line.
    """
    lines: list[str] = []
    missing = ""
    fenced = paragraphs = False
    for line in markdown.splitlines():
        if not fenced and (item := ITEM.match(line)):
            if paragraphs and lines[-1].startswith(" "):
                lines.append("")
            missing, paragraphs = " " * (4 - len(item[0])), False
        elif not fenced and line and not line.startswith(" "):
            missing, paragraphs = "", False
        paragraphs |= not line
        lines.append(missing + line if line.startswith(" ") else line)
        fenced ^= line.lstrip().startswith("```")
    return "\n".join(lines) + "\n"


def _file(config: MkDocsConfig, place: str) -> File:
    source = ROOT / place
    if source.is_dir():
        names = sorted(each.name for each in source.iterdir() if not each.name.startswith(("_", ".")))
        file = File.generated(config, place, content="\n".join([f"{place}/", *(f"    {name}" for name in names), ""]))
    else:
        in_navigation = InclusionLevel.UNDEFINED if _is_document(source) else InclusionLevel.NOT_IN_NAV
        file = File.generated(config, place, abs_src_path=str(source), inclusion=in_navigation)
    if source.suffix not in {".md", ".png", ".svg"}:
        file.dest_uri += ".txt"  # shown by a browser, and not offered for download
    return file


def _is_document(source: Path) -> bool:
    return source.parent in {ROOT, ROOT / "docs"}


def _linked(pages: set[str]) -> set[str]:
    """Return the places that are no pages and that the pages link to, and so on from documents among them."""
    found: set[str] = set()
    pending = sorted(pages)
    while pending:
        new = {place for place in _links(pending.pop()) if (ROOT / place).exists()} - pages - found
        found |= new
        pending += sorted(place for place in new if place.endswith(".md"))
    return found


def _links(page: str) -> Iterator[str]:
    """Yield the places in the repository that a page links to, in their order."""
    for link in LINK.findall(FENCED.sub("", (ROOT / page).read_text(encoding="utf-8"))):
        if ":" not in link:
            yield posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _navigation(pages: set[str]) -> list[Any]:
    """Return the headings of the start page with the pages below them: where a line begins with one, or else is the first
    to link to it.
    """
    _, *sections = re.split(r"^## +", (ROOT / START).read_text(encoding="utf-8"), flags=re.MULTILINE)
    home = {"README.md": -1, START: -1}
    for links in (LINE_OF_ITS_OWN, LINK):
        for number, section in enumerate(sections):
            for link in links.findall(section):
                home.setdefault(posixpath.normpath(f"docs/{link}"), number)
    navigation: list[Any] = ["README.md", START]
    for number, section in enumerate(sections):
        places = [posixpath.normpath(f"docs/{link}") for link in LINK.findall(section)]
        below = [place for place in dict.fromkeys(places) if place in pages and home[place] == number]
        if below:
            navigation.append({section.splitlines()[0]: below})
    return navigation
