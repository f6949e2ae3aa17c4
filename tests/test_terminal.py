"""The terminal tool: what it prints, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from mailonce import terminal
from mailonce.delivery import Conclusion
from mailonce.events import Event, EventKind
from mailonce.keys import Identity
from mailonce.states import State
from mailonce.terminal import output
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery

CAMPAIGN = "monthly_usage"
SENT = make_delivery("C-1", campaign=CAMPAIGN)
HELD = make_delivery("C-2", campaign=CAMPAIGN)
MONTH = SENT.identity.period


@pytest.fixture(autouse=True)
def ledger(monkeypatch: pytest.MonkeyPatch) -> MemoryLedger:
    ledger = MemoryLedger()
    for delivery, conclusion in (
        (SENT, Conclusion(state=State.SENT, message_id="m-1")),
        (HELD, Conclusion(state=State.IN_DOUBT, error="no answer came")),
    ):
        claim = make_claim(delivery)
        ledger.claim(claim)
        ledger.conclude(delivery.key, claim.token, conclusion)
    monkeypatch.setattr(output, "open_the_ledger", lambda: ledger)
    return ledger


def test_status_counts_and_names_who_is_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["status", MONTH]) == 0
    printed = capsys.readouterr().out
    assert "1 SENT" in printed
    assert "1 IN_DOUBT" in printed
    assert HELD.key in printed
    assert SENT.key not in printed


def test_status_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.main(["status", MONTH, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["counts"] == {"SENT": 1, "IN_DOUBT": 1}
    assert [entry["recipient_id"] for entry in answer["not_sent"]] == ["C-2"]


@pytest.mark.parametrize("who", [["C-1", "--period", MONTH], [SENT.key], [SENT.message.to]])
def test_did_this_customer_get_it(capsys: pytest.CaptureFixture[str], who: list[str]) -> None:
    assert terminal.main(["show", *who]) == 0
    printed = capsys.readouterr().out
    assert "C-1  monthly_usage 2030-01 (original): SENT" in printed
    assert "as message m-1" in printed


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show", "C-9", "--period", MONTH], 1),
        (["show", "nobody@example.com"], 1),
        (["status", "2031-01"], 1),
        (["show", "C-1"], 2),
        (["resolve", "f" * 64, "--sent", "--reason", "saw it"], 2),
        (["resolve", SENT.key, "--release", "--reason", "again"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    assert terminal.main(arguments) == code


def test_resolve_writes_who_and_why(ledger: MemoryLedger, capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["resolve", HELD.key, "--sent", "--reason", "the customer has it", "--by", "support"]) == 0
    (entry,) = ledger.find([HELD.key])
    assert entry.state is State.SENT
    assert (entry.history[-1]["by"], entry.history[-1]["note"]) == ("support", "the customer has it")
    assert "SENT" in capsys.readouterr().out


def test_a_release_too_early_is_refused_with_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["resolve", HELD.key, "--release", "--reason", "not in the log"]) == 2
    assert "Release it after that" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["resolve", HELD.key, "--sent"], ["resolve", HELD.key, "--reason", "x"]])
def test_what_is_missing_is_said_by_argparse(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        terminal.main(arguments)
    assert caught.value.code == 2


def test_the_key_of_an_identity_is_the_ledgers() -> None:
    identity = Identity(campaign=CAMPAIGN, period=MONTH, recipient_id="C-1")
    assert identity.key == SENT.key


def test_what_became_of_the_mail_is_said(ledger: MemoryLedger, capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
    ledger.observe(
        Event(
            kind=EventKind.BOUNCE,
            key=SENT.key,
            message_id="m-1",
            at=at,
            address=SENT.message.to,
            detail="Permanent/General",
        )
    )
    assert terminal.main(["status", MONTH]) == 0
    assert "as far as events tell: 1 BOUNCED" in capsys.readouterr().out
    assert terminal.main(["show", SENT.key]) == 0
    assert "BOUNCED 2026-11-01 12:00:00 UTC  Permanent/General" in capsys.readouterr().out
