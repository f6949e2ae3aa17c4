"""The files of a report: for people, for programs, for spreadsheets; and nothing in them runs."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.events import Fate
from mailonce.states import State
from mailonce.workflow.plan import NOT_YET, Plan
from mailonce.workflow.reporting.advice import SAFE_NEXT
from mailonce.workflow.reporting.counting import LISTS, NAMED, Report
from mailonce.workflow.reporting.files import file_name, spooled, write_files
from mailonce.workflow.reporting.page import render
from mailonce.workflow.snapshot import RejectKind

FACTS: dict[str, Any] = {
    "campaign": "usage", "period": "2030-01", "edition": "original", "run_id": "manual__1", "at": "2030-02-01T12:00:00",
    "planned": 9, "rejects": 1, "certificate": "/x/certificate.jsonl", "certificate_root": "ab" * 32,
}  # fmt: skip
HOSTILE = ("<script>alert(1)</script>", '"onload="alert(1)', "'><img src=x onerror=alert(1)>", "{{ 7*7 }}", "=1+1")


def filled(*names: str) -> Report:
    report = Report()
    for kind in LISTS:
        for name in names:
            report.add(kind, name, state="REJECTED", why=f"because {name}")
    report.counts.update({"SENT": 3, "REJECTED": 2})
    report.fates.update({"DELIVERED": 2, "BOUNCED": 1})
    return report


class Elements(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def skeleton(page: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(tag, tuple(attributes)) for tag, attributes in Elements(page).found]


class TestPage:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_nothing_in_a_name_becomes_part_of_the_page(self, name: str) -> None:
        harmless = render(filled("C-1"), FACTS, everybody="exceptions.csv")
        page = render(filled(name), {**FACTS, "run_id": name}, everybody="exceptions.csv")
        assert skeleton(page) == skeleton(harmless)
        assert f"because {name}" in Elements(page).text

    @given(st.text(max_size=30))
    def test_whatever_the_name(self, name: str) -> None:
        harmless = render(filled("C-1"), FACTS, everybody="exceptions.csv")
        assert skeleton(render(filled(name), FACTS, everybody="exceptions.csv")) == skeleton(harmless)

    def test_it_needs_nothing_from_anywhere_and_runs_nothing(self) -> None:
        elements = Elements(render(filled("C-1"), FACTS, everybody="exceptions.csv")).found
        assert not {tag for tag, _ in elements} & {"script", "link", "img", "iframe", "object", "form"}
        used = [value for _, attributes in elements for name, value in attributes.items() if name in ("src", "href")]
        assert set(used) == {"exceptions.csv"}
        assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
        policies = [given["content"] for tag, given in elements if given.get("http-equiv")]
        assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]

    def test_the_chart_is_the_funnel(self) -> None:
        page = render(filled("C-1"), FACTS, everybody="exceptions.csv")
        chart = re.search(r"<svg.*?</svg>", page, re.DOTALL)
        assert chart
        told = re.findall(r"<text[^>]*>([^<]*)</text>", chart[0])
        assert dict(zip(told[::2], told[1::2], strict=True)) == {
            "planned": "9", "accepted": "3", "delivered": "2", "not received": "1", "not confirmed": "1", "left out": "1",
        }  # fmt: skip
        widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="20"', chart[0])]
        assert widths[0] == max(widths)
        assert widths[1] == pytest.approx(2 + 408 * 3 / 9, abs=0.1)

    def test_an_empty_month(self) -> None:
        page = render(Report(), {**FACTS, "planned": 0, "certificate": ""}, everybody="exceptions.csv")
        assert "Everybody who was to be mailed has a confirmed mail" in page

    def test_whom_there_is_no_room_for_is_counted(self) -> None:
        page = render(filled(*(f"C-{n}" for n in range(NAMED + 7))), FACTS, everybody="runs/x/exceptions.csv")
        assert page.count("And 7 more, all of them in") == len(LISTS)

    def test_light_dark_and_paper(self) -> None:
        page = render(Report(), FACTS, everybody="exceptions.csv")
        assert "prefers-color-scheme: dark" in page
        assert "@media print" in page


def test_everything_that_a_report_can_name_says_what_is_safe_next() -> None:
    unresolved = {state.value for state in State} - {"SENT", "CANCELLED"}
    lost = {fate.value for fate in (Fate.BOUNCED, Fate.DROPPED, Fate.COMPLAINED)}
    kinds = {kind.value for kind in RejectKind}
    others = {NOT_YET, "duplicate", Plan.CONTENT_CHANGED.value}
    assert set(SAFE_NEXT) == unresolved | lost | kinds | others


class TestFiles:
    @pytest.fixture
    def home(self, tmp_path: Path) -> Iterator[Path]:
        return tmp_path

    def write(self, home: Path, run_id: str, *names: str) -> Path:
        with spooled() as spool:
            report = Report(spool.tell)
            for name in names:
                report.add("exceptions", name, state="REJECTED", why=f"{name} was refused")
            files = write_files(f"file://{home}", report, spool, {**FACTS, "run_id": run_id})
        return Path(files.own.removeprefix("file://"))

    def test_the_latest_and_each_runs_own(self, home: Path) -> None:
        first = self.write(home, "scheduled__2030-02-01T12:00:00+00:00", "C-1")
        kept = (first / "report.json").read_bytes()
        second = self.write(home, "manual__2", "C-2")
        assert (first / "report.json").read_bytes() == kept
        latest, own = (json.loads((place / "report.json").read_text()) for place in (home, second))
        assert (latest["run_id"], own["run_id"]) == ("manual__2", "manual__2")
        for place, told in ((home, latest), (second, own)):
            with (place / told["exceptions_file"]).open(newline="") as file:
                (row,) = csv.DictReader(file)
            assert (row["recipient_id"], row["safe_next"]) == ("C-2", SAFE_NEXT["REJECTED"])
            assert f'href="{told["exceptions_file"]}"' in (place / "report.html").read_text()
        assert latest["safe_next"] == {"REJECTED": SAFE_NEXT["REJECTED"]}

    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_spreadsheet_runs_nothing(self, home: Path, name: str) -> None:
        own = self.write(home, "r", name)
        with (own / "exceptions.csv").open(newline="", encoding="utf-8") as file:
            (row,) = csv.DictReader(file)
        assert not row["recipient_id"].startswith(("=", "+", "-", "@"))
        assert row["recipient_id"].lstrip("'") == name.lstrip("'")


@pytest.mark.parametrize(
    "run_id", ["../../etc/passwd", "..", "manual__2030-02-01T12:00:00+00:00", "a" * 300, "", "ü/ß"]
)
def test_a_runs_id_becomes_a_plain_name(run_id: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{0,80}\.[0-9a-f]{8}", file_name(run_id))


def test_two_runs_never_share_a_name() -> None:
    assert file_name("a b") != file_name("a_b")
