"""Writes the figures down: docs/benchmarks.md, and one plot a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from benchmarks.measuring import Comparison

HEAD = """# Benchmarks

Written by `make bench`. Measured on {machine}, {when}, in {minutes:.0f} minutes. Figures of one machine on one day, and no
promises: the ratios are what to look at. Every peer runs in the same session, against the same servers, in random order;
each figure is a median of its runs. Nothing here was run against real AWS.

| # | what | against | ours | the peer's | ratio | goal | |
|---|---|---|---|---|---|---|---|
"""
WIDTH, BAR, LEFT, TOP = 760, 22, 320, 36
COLOURS = ("#2f6f9f", "#b0b7bd")


def write_document(found: Sequence[Comparison], docs: Path, *, machine: str, when: str, minutes: float) -> Path:
    """Write the document and its plots. :return: the document's file."""
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    text = HEAD.format(machine=machine, when=when, minutes=minutes) + "".join(map(_table_line, found))
    for row, some in groupby(found, key=lambda each: each.row):
        comparisons = list(some)
        name = f"benchmark-{row}.svg"
        (images / name).write_text(plot(comparisons), encoding="utf-8")
        text += f"\n## {row}\n\n![The figures of row {row} as bars](images/{name})\n\n" + _notes(comparisons)
    text += "\n## Run it yourself\n\n`make bench`, or some rows: `make bench ROWS=1,2`. Nothing else should run meanwhile.\n"
    document = docs / "benchmarks.md"
    document.write_text(text, encoding="utf-8")
    return document


def _table_line(each: Comparison) -> str:
    goal = f"{'≤' if each.at_most else '≥'} {each.goal:.3g}"
    figures = f"{each.ours:.4g} {each.unit} | {each.peers:.4g} {each.unit} | {each.ratio:.3g} | {goal}"
    return f"| {each.row} | {each.what} | {each.against} | {figures} | {'met' if each.holds else '**missed**'} |\n"


def _notes(comparisons: Iterable[Comparison]) -> str:
    notes: dict[str, None] = {}  # each once, in order
    for each in comparisons:
        notes[f"How: {each.how}.\n"] = None
        if each.remark:
            notes[f"{each.what[0].upper()}{each.what[1:]}: {each.remark}.\n"] = None
        for way, figures in each.runs.items():
            told = ", ".join(f"{figure:.4g}" for figure in sorted(figures)[:: max(1, len(figures) // 10)])
            notes[f"- runs, {each.what}, {Path(way).name}: {told}\n"] = None
    return "\n".join(notes) + "\n"


def plot(comparisons: Sequence[Comparison]) -> str:
    """Return an SVG with two bars for each comparison: ours, and the peer's."""
    most = max(max(each.ours, each.peers) for each in comparisons)
    scale = (WIDTH - LEFT - 110) / most
    shapes, y = [], TOP
    for each in comparisons:
        shapes.append(_text(10, y - 8, each.what, bold=True))
        for figure, name, colour in ((each.ours, "mailonce", COLOURS[0]), (each.peers, each.against, COLOURS[1])):
            length = max(1.0, figure * scale)
            shapes.append(_text(10, y + BAR - 7, name[:52]))
            shapes.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 4}" fill="{colour}" rx="2"/>')
            shapes.append(_text(LEFT + length + 6, y + BAR - 8, f"{figure:.4g} {each.unit}"))
            y += BAR
        y += TOP
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="#222"{weight}>{escape(text)}</text>'
