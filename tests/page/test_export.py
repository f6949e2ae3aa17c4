"""Who did not get it: everybody who should be named is, and nothing in the file runs in a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce import browsing
from mailonce.events import Fate
from mailonce.export import FIELDS, csv_lines, not_delivered, not_tried
from mailonce.states import State
from tests.fake_ledger import MemoryLedger
from tests.page.conftest import Put, delivery_of, row_of

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", '=HYPERLINK("http://example.org","x")']


def test_who_did_not_get_it(ledger: MemoryLedger, put: Put) -> None:
    put("C-sent")
    put("C-delivered", fate=Fate.DELIVERED)
    put("C-complained", fate=Fate.COMPLAINED)
    put("C-bounced", fate=Fate.BOUNCED, error="550 no such user")
    for state in (State.REJECTED, State.IN_DOUBT, State.RELEASED, State.CANCELLED):
        put(f"C-{state.value}", state, error=f"why {state.value}")
    put("C-other", State.REJECTED, period="2030-02")
    rows = {row["recipient_id"]: row for row in not_delivered(ledger, "usage", "2030-01")}
    assert rows.keys() == {"C-bounced", "C-REJECTED", "C-IN_DOUBT", "C-RELEASED", "C-CANCELLED"}
    assert (rows["C-bounced"]["state"], rows["C-bounced"]["why"]) == ("BOUNCED", "550 no such user")
    assert rows["C-REJECTED"]["why"] == "why REJECTED"
    assert all(tuple(row) == FIELDS for row in rows.values())


def test_page_by_page_everybody_is_named_once(ledger: MemoryLedger, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "MOST_A_PAGE", 3)
    for number in range(10):
        put(f"C-{number}", State.REJECTED)
    named = [row["recipient_id"] for row in not_delivered(ledger, "usage", "2030-01")]
    assert sorted(named) == sorted(set(named)) == [f"C-{number}" for number in range(10)]


def test_who_was_never_tried_and_who_was_refused(ledger: MemoryLedger, put: Put, plan: Any, settings: Any) -> None:
    snapshot = plan(row_of("C-1"), row_of("C-2"), row_of("C-3", email="nobody"))
    put(delivery=delivery_of(settings, recipient_id="C-1"))
    rows = {row["recipient_id"]: row for row in not_tried(ledger, snapshot)}
    assert {name: row["state"] for name, row in rows.items()} == {"C-2": "not yet", "C-3": "invalid"}
    assert "email" in rows["C-3"]["why"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_formula_is_made_harmless(cell: str) -> None:
    (_, row) = csv.reader("".join(csv_lines([{"a": cell}], ["a"])).splitlines(keepends=True))
    assert row == [f"'{cell}"]


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_cell_stays_a_cell_whatever_is_in_it(cells: list[str]) -> None:
    fields = [f"f{number}" for number in range(len(cells))]
    text = "".join(csv_lines([dict(zip(fields, cells, strict=True))], fields))
    header, row = csv.reader(io.StringIO(text, newline=""))
    assert header == fields
    # An apostrophe was added exactly before what would have been a formula.
    assert row == [f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} else cell for cell in cells]
    assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


def test_the_page_s_file(ann: Any, put: Put, plan: Any, settings: Any) -> None:
    plan(row_of("C-1"), row_of("C-2"))
    put("=cmd|' /C calc'!A0", State.REJECTED, email="+x@example.org", error="@bad")
    put(delivery=delivery_of(settings, recipient_id="C-1"))
    answer = ann.get("/months/usage/2030-01/not-delivered.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="not-delivered-usage-2030-01.csv"'
    rows = list(csv.reader(answer.text.splitlines()))
    assert rows[0] == list(FIELDS)
    assert [row[:5] for row in rows[1:]] == [
        ["'=cmd|' /C calc'!A0", "'+x@example.org", "original", "REJECTED", "'@bad"],
        ["C-2", "ann@example.org", "original", "not yet", "planned, and not tried yet"],
    ]
