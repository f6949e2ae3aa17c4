"""``mailonce status``: all months, one month, and what it holds in memory of a large one."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence

import pytest

from mailonce import terminal
from mailonce.browsing import MonthTotals, Page, Search
from mailonce.delivery import Conclusion, Entry
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from mailonce.terminal import output
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery
from tests.terminal.conftest import CAMPAIGN, HELD, MONTH, SENT, conclude


@pytest.mark.usefixtures("ledger")
def test_one_month_is_counted_and_who_is_not_sent_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["status", MONTH]) == 0
    printed = capsys.readouterr().out
    assert "1 SENT" in printed
    assert "1 IN_DOUBT" in printed
    assert HELD.key in printed
    assert SENT.key not in printed


@pytest.mark.usefixtures("ledger")
def test_one_month_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.main(["status", MONTH, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["counts"] == {"SENT": 1, "IN_DOUBT": 1}
    assert [entry["recipient_id"] for entry in answer["not_sent"]] == ["C-2"]
    assert answer["not_sent_more"] == 0
    assert [edition["edition"] for edition in answer["editions"]] == ["original"]


def test_all_months(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    other = make_delivery("C-1", campaign="winter", period="2030-03", edition="second")
    conclude(ledger, other, Conclusion(state=State.REJECTED, error="no such address"))
    assert terminal.main(["status"]) == 0
    newer, older = capsys.readouterr().out.splitlines()
    assert newer == "2030-03  winter (second)  1 REJECTED"
    assert older == f"{MONTH}  monthly_usage (original)  1 SENT, 1 IN_DOUBT"
    assert terminal.main(["status", "--campaign", CAMPAIGN, "--json"]) == 0
    (month,) = json.loads(capsys.readouterr().out)
    assert (month["period"], month["states"]) == (MONTH, {"SENT": 1, "IN_DOUBT": 1})


@pytest.mark.usefixtures("empty_ledger")
@pytest.mark.parametrize("arguments", [[], [MONTH], ["--json"], [MONTH, "--json"]])
def test_nothing_found(arguments: list[str]) -> None:
    assert terminal.main(["status", *arguments]) == 1


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("arguments", [[], [MONTH]])
def test_for_scripts_whoever_is_left_counts(ledger: Ledger, arguments: list[str]) -> None:
    assert terminal.main(["status", *arguments, "--strict"]) == 1
    terminal.main(["resolve", HELD.key, "--sent", "--reason", "saw it"])
    assert terminal.main(["status", *arguments, "--strict"]) == 0


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_no_more_are_named_than_asked_for_and_the_rest_is_counted(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], limit: int
) -> None:
    conclude(ledger, make_delivery("C-3", campaign=CAMPAIGN), Conclusion(state=State.REJECTED, error="no"))
    conclude(ledger, make_delivery("C-4", campaign=CAMPAIGN), Conclusion(state=State.RELEASED, error="later"))
    terminal.main(["status", MONTH, "--limit", str(limit), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert [entry["recipient_id"] for entry in answer["not_sent"]] == ["C-2", "C-3", "C-4"][:limit]
    assert answer["not_sent_more"] == 3 - limit
    terminal.main(["status", MONTH, "--limit", str(limit)])
    assert (f"and {3 - limit} more" in capsys.readouterr().out) == (limit < 3)


def test_a_limit_below_zero_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        terminal.main(["status", MONTH, "--limit", "-1"])
    assert caught.value.code == 2


class _Large:
    """A ledger of many unresolved rows, made as they are asked for; short pages, as DynamoDB's may be."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.asked = 0
        self.browser = self
        memory = MemoryLedger()
        self._entry: Entry = memory.claim(make_claim(HELD))

    def totals(self, campaign: str, period: str) -> Sequence[MonthTotals]:
        return [MonthTotals(campaign=campaign, period=period, edition="original", states={State.SENDING: self.rows})]

    def search(self, search: Search, *, after: str = "", limit: int = 50) -> Page:
        self.asked += 1
        assert search.states == frozenset(State) - {State.SENT, State.CANCELLED}
        if self.asked % 2:
            return Page(entries=(), after=f"empty {self.asked}")
        return Page(entries=(self._entry,) * limit, after=f"{self.asked}")

    def of_month(self, campaign: str, period: str) -> None:
        raise AssertionError("a month is not read to be counted")

    def close(self) -> None: ...


def test_a_month_of_a_million_is_not_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    large = _Large(1_000_000)
    monkeypatch.setattr(output, "open_the_ledger", lambda: large)
    tracemalloc.start()
    try:
        assert terminal.main(["status", MONTH]) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    assert large.asked == 2
    assert "and 999950 more" in capsys.readouterr().out
