"""The benchmarks run, and write what they say they write. What the figures are is nobody's business here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from botocore.config import Config

from benchmarks import dag_parsing, ledgered_sends, month, powertools
from benchmarks.__main__ import COMPARISONS, line
from benchmarks.document import plot, write_document
from benchmarks.measuring import Comparison, Effort, machine, processor_seconds, side_by_side
from benchmarks.provider_server import LeanProvider
from benchmarks.sender import client, deliveries
from mailonce.providers.ses import SesProvider, one_request
from tests.providers.mails import Told

ROOT = Path(__file__).resolve().parents[2]

QUICK = Effort(quick=True)


def comparison(**changes: object) -> Comparison:
    given = {
        "row": 1,
        "what": "sends",
        "against": "others",
        "unit": "mails/s",
        "ours": 95.0,
        "peers": 100.0,
        "goal": 0.9,
    }
    return Comparison(**{**given, "at_most": False, "how": "so", **changes})  # type: ignore[arg-type]


def test_every_row_of_the_design_is_there_once() -> None:
    assert sorted(row for rows in COMPARISONS for row in rows) == list(range(1, 8))


@pytest.mark.parametrize(
    ("ours", "goal", "at_most", "holds"),
    [(95, 0.9, False, True), (89, 0.9, False, False), (104, 1.05, True, True), (106, 1.05, True, False)],
)
def test_a_goal_is_met_or_missed(ours: float, goal: float, at_most: bool, holds: bool) -> None:
    each = comparison(ours=ours, goal=goal, at_most=at_most)
    assert each.holds is holds
    assert ("MISSED" in line(each)) is not holds


def test_each_way_is_run_once_a_round() -> None:
    run: list[str] = []
    ways = {name: lambda name=name: run.append(name) for name in "abc"}
    assert {name: len(found) for name, found in side_by_side(ways, 4).items()} == {"a": 4, "b": 4, "c": 4}
    assert [sorted(run[start : start + 3]) for start in range(0, 12, 3)] == [["a", "b", "c"]] * 4


def test_the_document_says_what_was_found_and_where(tmp_path: Path) -> None:
    found = [comparison(runs={"ours": [95.0]}), comparison(row=2, ours=50.0, remark="it is slow")]
    file = write_document(found, tmp_path, machine=machine(), when="2030-01-01 09:00 UTC", minutes=14.6)
    text = file.read_text()
    for told in (machine(), "2030-01-01", "| met |", "| **missed** |", "it is slow"):
        assert told in text
    for image in re.findall(r"\((images/[^)]+)\)", text):
        assert (tmp_path / image).read_text().startswith("<svg")


def test_a_plot_escapes_what_it_is_told() -> None:
    assert "<b>" not in plot([comparison(what="<b>")])


def test_the_lean_provider_takes_and_counts_mails() -> None:
    with LeanProvider() as lean:
        provider = SesProvider(client("sesv2", lean.url, one_request(Config(proxies={}))))
        ids = {
            provider.send(mail.message, tags=mail.tags, idempotency_key="", departure=Told()) for mail in deliveries(20)
        }
        assert len(ids) == lean.count() == 20


def test_processor_time_counts_those_that_have_ended() -> None:
    import os
    import subprocess
    import sys

    before = processor_seconds(os.getpid())
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    assert processor_seconds(os.getpid()) - before > 0.05


@pytest.mark.postgres
def test_sends_beside_boto3() -> None:
    assert len(list(ledgered_sends.compare(QUICK))) == 2


@pytest.mark.dynamodb
def test_sends_beside_powertools_with_as_many_writes() -> None:
    (found,) = powertools.compare(QUICK)
    assert "Writes a mail: 2.00 against 2.00" in found.remark


@pytest.mark.postgres
@pytest.mark.airflow
def test_a_month_in_processes_of_its_own() -> None:
    assert len(list(month.compare_memory(QUICK))) == 2
    (found,) = month.compare_again(QUICK)
    assert found.row == 6


@pytest.mark.airflow
def test_parsing() -> None:
    files = list((ROOT / "dags").glob("*.py"))
    assert len(list(dag_parsing.compare(QUICK))) == 2 * len(files)
