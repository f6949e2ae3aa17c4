"""``mailonce show | resolve``: what they print, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from mailonce import terminal
from mailonce.delivery import Conclusion
from mailonce.events import Event, EventKind
from mailonce.keys import Identity
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from tests.fakes import make_delivery
from tests.terminal.conftest import CAMPAIGN, HELD, MONTH, SENT, conclude

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.mark.parametrize("who", [["C-1"], ["C-1", "--period", MONTH], [SENT.key], [SENT.message.to]])
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
        (["show", "C-1", "--period", "2031-01"], 1),
        (["show", "C-1", "--edition", "corrected"], 1),
        (["show", "C-1", "--campaign", "other"], 1),
        (["show", "C-1"], 0),
        (["resolve", "f" * 64, "--sent", "--reason", "saw it"], 2),
        (["resolve", SENT.key, "--release", "--reason", "again"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    assert terminal.main(arguments) == code


def test_resolve_writes_who_and_why(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_what_became_of_the_mail_is_said(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_all_months_of_a_recipient_the_newest_first(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    for period, campaign in (("2029-12", CAMPAIGN), ("2030-02", "winter")):
        delivery = make_delivery("C-1", campaign=campaign, period=period)
        conclude(ledger, delivery, Conclusion(state=State.SENT, message_id=f"m-{period}"))
    assert terminal.main(["show", "C-1", "--json"]) == 0
    assert [row["period"] for row in json.loads(capsys.readouterr().out)] == ["2030-02", "2030-01", "2029-12"]


def test_a_recipient_whose_id_looks_like_an_address_or_a_key_is_found(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    for who in ("id@example.net", "ab" * 32):
        delivery = make_delivery(who, campaign=CAMPAIGN, email="ann@example.com")
        conclude(ledger, delivery, Conclusion(state=State.SENT, message_id="m-9"))
        assert terminal.main(["show", who]) == 0
        assert f"{who}  monthly_usage" in capsys.readouterr().out


def test_the_claims_token_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.main(["show", "C-2", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["state"] == "IN_DOUBT"
    assert "token" not in row
