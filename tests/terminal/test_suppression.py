"""The command that shows who is not mailed, and lets them back."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from mailonce.suppression import Suppression
from mailonce.terminal import main, output
from tests.fake_ledger import MemoryLedger


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> MemoryLedger:
    made = MemoryLedger()
    monkeypatch.setattr(output, "open_the_ledger", lambda: made)
    made.suppressions.add(
        Suppression(
            address="Ann@Example.com",
            reason="hard bounce: 550 user unknown",
            since=datetime(2026, 10, 2, tzinfo=timezone.utc),
            by="event Bounce",
            key="0f" * 32,
        )
    )
    return made


def test_lists_all_or_one(ledger: MemoryLedger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suppression", "list"]) == 0
    assert "ann@example.com  since 2026-10-02" in capsys.readouterr().out
    assert main(["suppression", "list", "ANN@example.com", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["address"], one["by"]) == ("ann@example.com", "event Bounce")
    assert main(["suppression", "list", "bob@example.com"]) == 1
    assert "not suppressed" in capsys.readouterr().out


def test_lets_an_address_back_and_keeps_who_and_why(ledger: MemoryLedger, capsys: pytest.CaptureFixture[str]) -> None:
    lift = ["suppression", "lift", "ann@example.com", "--reason", "the mailbox works again", "--by", "support"]
    assert main(lift) == 0
    assert "mailed again from the next plan on" in capsys.readouterr().out
    assert not list(ledger.suppressions.of(["ann@example.com"]))
    assert main(lift) == 1


def test_adds_by_hand(ledger: MemoryLedger) -> None:
    add = ["suppression", "add", "Bob@example.com", "--reason", "asked us to", "--by", "support"]
    assert main(add) == main(add) == 0
    (one,) = ledger.suppressions.of(["bob@example.com"])
    assert (one.reason, one.by) == ("asked us to", "support")


@pytest.mark.parametrize(
    "arguments",
    [
        ["suppression", "add", "nobody", "--reason", "r"],
        ["suppression", "add", "bob@example.com", "--reason", " "],
        ["suppression", "lift", "ann@example.com", "--reason", " "],
    ],
)
def test_bad_arguments_are_named(
    ledger: MemoryLedger, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("mailonce: ")
    assert len(list(ledger.suppressions.all())) == 1
