"""``mailonce purge``: what it shows, what goes, what stays, and what it refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailonce import terminal
from mailonce.delivery import Conclusion, Timing
from mailonce.ledgers.base import Ledger
from mailonce.privacy.purges import Purge
from mailonce.states import State
from mailonce.workflow import purging
from tests.fakes import make_claim, make_delivery
from tests.terminal.conftest import CAMPAIGN, conclude

pytestmark = pytest.mark.usefixtures("old")
OLD, NEWER = "2024-03", "2024-04"
SENT = Conclusion(state=State.SENT, message_id="m-1")


@pytest.fixture
def old(empty_ledger: Ledger, snapshots: str, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Two months of long ago, and the files of the first."""
    monkeypatch.setattr(purging, "QUIET", timedelta(0))
    for period in (OLD, NEWER):
        conclude(empty_ledger, make_delivery("C-1", campaign=CAMPAIGN, period=period), SENT)
    refused = Conclusion(state=State.REJECTED, error="no mailbox")
    conclude(empty_ledger, make_delivery("C-2", campaign=CAMPAIGN, period=OLD), refused)
    for name in ("rows.jsonl", "preview/k.json", "report.json"):
        file = place(snapshots, f"{OLD}/original/0f0f/{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    return empty_ledger


def place(snapshots: str, path: str) -> Path:
    return Path(snapshots.removeprefix("file://")) / CAMPAIGN / path


def purge(*arguments: str) -> int:
    return terminal.main(["purge", *arguments])


def rows(ledger: Ledger, period: str) -> int:
    return len(list(ledger.of_month(CAMPAIGN, period)))


def test_it_shows_what_it_would_delete_and_deletes_nothing(
    old: Ledger, snapshots: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert purge("--before", NEWER, "--files") == 0
    printed = capsys.readouterr().out
    assert f"{OLD}  {CAMPAIGN}: 1 REJECTED, 1 SENT" in printed
    assert "1 preview, 1 report, 1 snapshot; the certificates stay" in printed
    assert "Nothing was deleted" in printed
    assert (rows(old, OLD), rows(old, NEWER)) == (2, 1)
    assert place(snapshots, f"{OLD}/original/0f0f/rows.jsonl").exists()
    assert list(old.privacy.purges()) == []


def test_what_goes_and_what_stays(old: Ledger, snapshots: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert purge("--before", NEWER, "--files", "--yes", "--by", "ann", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)["months"]
    assert (told["period"], told["deleted"], told["left"], told["files_deleted"]) == (OLD, 2, 0, 3)
    assert (rows(old, OLD), rows(old, NEWER)) == (0, 1)
    assert [path.name for path in place(snapshots, OLD).iterdir()] == [Path(told["certificate"]).name]
    (mark,) = old.privacy.purges()
    assert (mark.period, mark.edition, mark.by, mark.reason) == (OLD, "original", "ann", "retention")
    assert purge("--before", NEWER, "--files", "--yes") == 1, "there is nothing left to delete"


def test_the_certificate_is_the_proof_that_stays(old: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    purge("--before", NEWER, "--yes", "--json")
    (told,) = json.loads(capsys.readouterr().out)["months"]
    assert terminal.main(["verify", told["certificate"], "--root", told["root"], "--offline"]) == 0
    assert terminal.main(["verify", told["certificate"]]) == 1
    assert f"{CAMPAIGN} {OLD} (original) was purged on 20" in capsys.readouterr().out


def test_it_goes_on_where_it_was_stopped(old: Ledger, snapshots: str) -> None:
    old.privacy.mark(Purge(campaign=CAMPAIGN, period=OLD, edition="original", by="bob", reason="begun"))
    old.privacy.purge(CAMPAIGN, OLD)
    assert purge("--before", NEWER, "--files", "--certificates", "--yes") == 0
    assert not list(place(snapshots, OLD).rglob("*.json*"))
    (mark,) = old.privacy.purges()
    assert mark.by == "bob"


def test_months_in_doubt_are_refused_unless_asked_and_settled(old: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    for name, timing in (("C-3", Timing(window=timedelta(0), settle=timedelta(0))), ("C-4", Timing())):
        claim = make_claim(make_delivery(name, campaign=CAMPAIGN, period=OLD), timing=timing)
        old.claim(claim)
        old.conclude(claim.delivery.key, claim.token, Conclusion(state=State.IN_DOUBT, error="no answer"))
    assert purge("--before", NEWER, "--yes") == 2
    assert f"2 of its mails are in doubt or being sent. Decide them (mailonce status {OLD}" in capsys.readouterr().err
    assert rows(old, OLD) == 4
    assert purge("--before", NEWER, "--unsettled", "--files", "--yes") == 2
    assert "1 deliveries are left" in capsys.readouterr().out
    assert rows(old, OLD) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--before", "9998-01"], "the month that is mailed now"),
        (["--before", "March"], "'March' is not a month"),
        (["--before", NEWER, "--certificates"], "goes with --files"),
        (["--before", NEWER, "--reason", " "], "is empty"),
        (["--reopen", OLD], "Say why"),
    ],
)
def test_bad_arguments_are_named(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert purge(*arguments) == 2
    assert said in capsys.readouterr().err


def test_marks_are_listed_and_taken_away(old: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert purge("--list") == 1
    purge("--before", NEWER, "--yes", "--by", "ann")
    capsys.readouterr()
    assert purge("--list") == 0
    assert "was purged on 20" in capsys.readouterr().out
    assert terminal.main(["status", OLD]) == 1
    assert "was purged on 20" in capsys.readouterr().out
    reopen = ["--reopen", OLD, "--reason", "to be mailed anew"]
    assert [purge(*reopen), purge(*reopen), purge("--list", "--json")] == [0, 1, 1]


def test_what_has_expired_goes(old: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    claim: Any = make_claim(
        make_delivery("C-9", campaign=CAMPAIGN, period=OLD), timing=Timing(retention=timedelta(seconds=-1))
    )
    old.claim(claim)
    old.conclude(claim.delivery.key, claim.token, SENT)
    assert [purge("--expired"), purge("--expired", "--json")] == [0, 1]
    assert "1 deliveries past their retention" in capsys.readouterr().out
    assert rows(old, OLD) == 2
