"""The report of a large month holds no more than that of a small one."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailonce.delivery import Entry
from mailonce.messages.rows import Row
from mailonce.workflow.plan import KEYS_PER_QUESTION
from mailonce.workflow.reporting.counting import LISTS, NAMED, Report, compile_report
from mailonce.workflow.reporting.files import spooled, write_files
from mailonce.workflow.snapshot import PlannedRow
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery

FACTS = {
    "campaign": "usage", "period": "2030-01", "edition": "original", "run_id": "r", "at": "", "planned": 0, "rejects": 0,
    "certificate": "", "certificate_root": "",
}  # fmt: skip


ROWS = [
    PlannedRow(key=f"{number:064x}", fingerprint="f", row=Row(recipient_id=f"C-{number}", email="a@b.c", fields={}))
    for number in range(KEYS_PER_QUESTION)
]
"""Each stands for itself, and for every thousandth after it: to make a row costs more than to count it."""


class _Planned:
    """A snapshot whose rows and rejects are made as they are asked for: every second row is a reject."""

    def __init__(self, recipients: int) -> None:
        self._recipients = recipients

    def rows(self) -> Iterator[PlannedRow]:
        for number in range(self._recipients // 2):
            yield ROWS[number % KEYS_PER_QUESTION]

    def rejects(self) -> Iterator[Mapping[str, Any]]:
        for number in range(self._recipients // 2):
            kind = ("invalid", "suppressed")[number % 2]
            yield {"row": f"BAD-{number}", "field": "email", "reason": "is empty", "remedy": "Mend it", "kind": kind}


class _Sending:
    """A ledger in which every key is in trouble of each sort."""

    def __init__(self) -> None:
        entry = replace(
            MemoryLedger().claim(make_claim(make_delivery())), error="no answer came", message_id="m-1",
            duplicate_message_ids=("m-2",),
        )  # fmt: skip
        self._entries = {row.key: replace(entry, key=row.key) for row in ROWS}

    def find(self, keys: Iterable[str]) -> Iterator[Entry]:
        return iter([self._entries[key] for key in keys])


def peak(recipients: int, folder: Path) -> int:
    """Return the bytes at most in use while a report is made and written."""
    tracemalloc.start()
    try:
        with spooled() as spool:
            report = compile_report(_Planned(recipients), _Sending(), tell=spool.tell)  # type: ignore[arg-type]
            write_files(f"file://{folder}/{recipients}", report, spool, {**FACTS, "planned": recipients})
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_exceptions(tmp_path: Path) -> None:
    peak(2 * KEYS_PER_QUESTION, tmp_path)  # what is loaded once
    assert peak(60_000, tmp_path) <= 1.2 * peak(6_000, tmp_path)


@pytest.mark.parametrize("kind", LISTS)
def test_of_each_state_the_first_are_named_and_all_are_counted_and_told(kind: str) -> None:
    told: list[Mapping[str, str]] = []
    report = Report(told.append)
    for number in range(NAMED + 3):
        for state in ("one", "other"):
            report.add(kind, f"C-{number}", state=state, why="x")
    assert report.total(kind) == len(told) == 2 * (NAMED + 3)
    assert len(getattr(report, kind)) == 2 * NAMED
    assert [(state, count, len(named)) for state, count, named in report.groups(kind)] == [
        ("one", NAMED + 3, NAMED), ("other", NAMED + 3, NAMED),
    ]  # fmt: skip
    assert report.facts()["totals"][kind] == 2 * (NAMED + 3)
