"""``mailonce preview``: the real query through a real connection, and nothing that stays."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mailonce import terminal
from mailonce.delivery import Conclusion
from mailonce.ledgers.base import Ledger
from mailonce.messages.rows import read_row
from mailonce.states import State
from mailonce.suppression import Suppression
from mailonce.terminal import output
from mailonce.workflow import account
from mailonce.workflow.month import Wanted, statement_maker
from mailonce.workflow.plan import Allowance
from tests.conftest import Connect
from tests.terminal.conftest import CAMPAIGN, MONTH, conclude

EVERYBODY = {"C-1": "ann@example.com", "C-2": "bob@example.com", "C-3": "cy@example.com", "C-4": "nobody",
             "C-5": "eve@example.com"}  # fmt: skip


@pytest.fixture(autouse=True)
def include(tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch, snapshots: str) -> Path:
    """Usage data in SQLite, a query, and templates; the account says nothing of its quota."""
    with sqlite3.connect(tmp_path / "usage.sqlite") as database:
        database.execute("CREATE TABLE usage (recipient_id TEXT, email TEXT, units INTEGER, at TEXT)")
        database.executemany("INSERT INTO usage VALUES (?, ?, 3, '2030-01-15T00:00:00+00:00')", list(EVERYBODY.items()))
    database.close()
    connect("mailonce_usage", conn_type="sqlite", host=str(tmp_path / "usage.sqlite"))
    folder = tmp_path / "include"
    (folder / "sql").mkdir(parents=True)
    (folder / "sql" / f"{CAMPAIGN}.sql").write_text(
        "SELECT recipient_id, email, units FROM usage WHERE at >= :period_start AND at < :period_end"
    )
    templates = folder / "templates" / CAMPAIGN
    templates.mkdir(parents=True)
    (templates / "subject.txt.j2").write_text("{{ period.label }}")
    (templates / "body.txt.j2").write_text("You used {{ units }} units.")
    monkeypatch.setattr(account, "ses_account_client", lambda _: _Account())
    return folder


class _Account:
    def get_account(self) -> dict[str, Any]:
        return {"SendQuota": {"Max24HourSend": 100.0, "SentLast24Hours": 99.0, "MaxSendRate": 1.0}}


@pytest.fixture
def ledger(empty_ledger: Ledger, include: Path) -> Ledger:
    """C-1 has this mail, C-2 another one; C-5 is suppressed."""
    wanted = Wanted(
        campaign=CAMPAIGN, period=MONTH, edition="original", statement=include, template_root=include / "templates"
    )
    maker = statement_maker(output.load_settings(), wanted)
    for who, units in (("C-1", 3), ("C-2", 4)):
        delivery = maker.delivery(read_row({"recipient_id": who, "email": EVERYBODY[who], "units": units}))
        conclude(empty_ledger, delivery, Conclusion(state=State.SENT, message_id=f"m-{who}"))
    now = empty_ledger.epoch.read().read_at
    empty_ledger.suppressions.add(Suppression(address=EVERYBODY["C-5"], reason="hard bounce", since=now, by="event"))
    return empty_ledger


@pytest.mark.usefixtures("ledger")
def test_what_would_become_of_everybody(capsys: pytest.CaptureFixture[str], snapshots: str) -> None:
    assert terminal.main(["preview", MONTH, "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["counts"] == {
        "new": 1, "already sent": 1, "content changed since it was sent": 1, "invalid": 1, "suppressed": 1,
    }  # fmt: skip
    assert {one["recipient_id"] for one in answer["exceptions"]} == {"C-2", "C-4"}
    assert (answer["over_quota"], answer["left_today"]) == (0, 1)
    assert not Path(snapshots.removeprefix("file://")).exists(), "no snapshot stays"


def test_nothing_is_claimed(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    before = [(entry.key, entry.state, entry.history) for entry in ledger.of_month(CAMPAIGN, MONTH)]
    runs = ledger.epoch.read().runs
    terminal.main(["preview", MONTH])
    assert [(entry.key, entry.state, entry.history) for entry in ledger.of_month(CAMPAIGN, MONTH)] == before
    assert ledger.epoch.read().runs == runs
    printed = capsys.readouterr().out
    assert f"{CAMPAIGN} {MONTH} (original): 1 new, 1 already sent" in printed
    assert "C-4                  invalid: email: " in printed


@pytest.mark.usefixtures("empty_ledger")
def test_more_than_the_account_may_send(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["preview", MONTH, "--recipient", "C-1", "--recipient", "C-2"]) == 1
    assert "1 of the new over the quota (1 left today)" in capsys.readouterr().out


@pytest.mark.usefixtures("empty_ledger")
def test_one_customers_mail_to_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["preview", MONTH, "--recipient", "C-3"]) == 0
    printed = capsys.readouterr().out
    assert "To: cy@example.com\nSubject: January 2030\n\nYou used 3 units." in printed
    assert "bob@example.com" not in printed


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(("options", "rendered"), [([], 3), (["--samples", "2"], 2)])
def test_samples_to_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], rendered: int
) -> None:
    look = tmp_path / "look"
    terminal.main(["preview", MONTH, "--output", str(look), *options])
    assert f"{rendered} rendered: {look}/preview/index.html" in capsys.readouterr().out
    assert (look / "preview" / "index.html").is_file()
    assert len(list((look / "preview").glob("*.txt"))) == rendered
    assert json.loads((look / "plan.json").read_text())["counts"]["new"] == 1
    assert not (look / "rows.jsonl").exists()


@pytest.mark.usefixtures("empty_ledger")
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["2030-02"], 1, "nobody to mail"),
        (["2030-13"], 2, "is not a month"),
        ([MONTH, "--recipient", "C-99"], 1, ""),
        ([MONTH, "--samples", "3"], 2, "--output"),
        ([MONTH, "--campaign", "winter"], 2, "subject.txt.j2"),
        ([MONTH, "--statement", "/nowhere.sql"], 2, "usage query nowhere.sql"),
        ([MONTH, "--templates", "/nowhere"], 2, "subject.txt.j2"),
        ([MONTH, "--output", "/proc/nowhere"], 2, "--output"),
    ],
)
def test_exit_codes(arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["preview", *arguments]) == code
    assert told in capsys.readouterr().err


@pytest.mark.usefixtures("empty_ledger")
def test_an_account_that_cannot_be_asked_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_: Any) -> Any:
        from botocore.exceptions import NoCredentialsError

        raise NoCredentialsError

    monkeypatch.setattr(account, "ses_account_client", refused)
    assert account.allowance(output.load_settings()) == Allowance()
    assert terminal.main(["preview", MONTH, "--recipient", "C-1", "--recipient", "C-2"]) == 0
    assert "2 new" in capsys.readouterr().out
