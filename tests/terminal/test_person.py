"""``mailonce person export | erase``, and what the other commands say afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mailonce import terminal
from mailonce.ledgers.base import Ledger
from mailonce.privacy.pseudonyms import Pseudonyms
from mailonce.suppression import Suppression
from mailonce.terminal import output
from tests.ledgers.tools import NOON
from tests.terminal.conftest import CAMPAIGN, HELD, MONTH, SENT

ANN = SENT.message.to
KEYS = Pseudonyms(b"0123456789abcdef0123456789abcdef")
SNAPSHOT = f"{CAMPAIGN}/{MONTH}/original/0f0f"


@pytest.fixture(autouse=True)
def files(ledger: Ledger, snapshots: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suppression, a snapshot with a preview, and a message set aside; and the key."""
    monkeypatch.setattr(output, "load_erasure_key", lambda: KEYS)
    ledger.suppressions.add(Suppression(address=ANN, reason="hard bounce", since=NOON, by="event Bounce"))
    root = Path(snapshots.removeprefix("file://"))
    content = {
        f"{SNAPSHOT}/rows.jsonl": f'{{"key":"k","recipient_id":"C-1","email":"{ANN}","fields":{{"units":7}}}}\n'
        '{"key":"o","recipient_id":"C-11","email":"other@example.com"}\n',
        f"{SNAPSHOT}/preview/k.json": json.dumps({"recipient_id": "C-1", "to": ANN, "subject": "Your month"}),
        f"{SNAPSHOT}/preview/k.txt": "7 units",
        f"{CAMPAIGN}/{MONTH}/certificate.x.jsonl": '{"recipient_id":"C-1"}\n',
        "events/set-aside/2030-02-01/a.json": json.dumps({"body": f"to {ANN}"}),
    }
    for path, text in content.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize("who", [ANN, "C-1"])
def test_everything_that_is_stored_about_a_person(who: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ann.json"
    assert terminal.main(["person", "export", who, "--output", str(file)]) == 0
    assert file.stat().st_mode & 0o077 == 0
    told = json.loads(file.read_text())
    assert [(one["key"], one["state"], len(one["history"])) for one in told["deliveries"]] == [(SENT.key, "SENT", 2)]
    assert [(one["address"], one["reason"]) for one in told["suppressions"]] == [(ANN.lower(), "hard bounce")]
    assert [(row["recipient_id"], row["fields"]) for row in told["rows"]] == [("C-1", {"units": 7})]
    assert [(mail["subject"], mail["text"], mail["html"]) for mail in told["rendered"]] == [
        ("Your month", "7 units", None)
    ]
    assert {one["kind"] for one in told["files"]} == {"snapshot", "preview", "certificate", "message set aside"}
    assert any("backups" in place for place in told["not_looked_into"])
    assert "C-11" not in file.read_text()


def test_nobody_of_that_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["person", "export", "nobody@example.com"]) == 1
    assert terminal.main(["person", "erase", "C-99", "--reason", "r"]) == 1


def test_it_shows_what_it_would_erase(ledger: Ledger, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["person", "erase", ANN, "--reason", "ticket 7", "--files"]) == 0
    printed = capsys.readouterr().out
    assert f"C-1  {CAMPAIGN} {MONTH} (original): SENT  would be erased" in printed
    assert f"file {SNAPSHOT}/rows.jsonl (snapshot) would go" in printed
    assert "certificate.x.jsonl (certificate) stays" in printed
    assert "Nothing was erased" in printed
    assert len(list(ledger.of_address(ANN))) == 1
    assert (files / SNAPSHOT / "rows.jsonl").exists()


def test_erased_the_proof_is_found_by_whoever_has_the_key(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["person", "erase", ANN, "--reason", "ticket 7", "--by", "ann", "--yes"]) == 0
    assert list(ledger.of_address(ANN)) == []
    capsys.readouterr()
    assert terminal.main(["show", ANN]) == 0
    printed = capsys.readouterr().out
    assert "as message m-1" in printed
    assert "the person was erased on 20" in printed
    assert KEYS.of(ANN) in printed
    assert ANN not in printed
    assert terminal.main(["suppression", "list", ANN]) == 0
    assert KEYS.of(ANN) in capsys.readouterr().out
    assert terminal.main(["suppression", "lift", ANN, "--reason", "came back"]) == 0
    assert list(ledger.suppressions.of([ANN, KEYS.of(ANN)])) == []


def test_the_files_go_when_asked_but_for_the_certificate(files: Path) -> None:
    assert terminal.main(["person", "erase", "C-1", "--reason", "ticket 7", "--files", "--yes", "--json"]) == 0
    assert [path.name for path in files.rglob("*") if path.is_file()] == ["certificate.x.jsonl"]


def test_what_is_held_is_refused_by_name(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["person", "erase", "C-2", "--reason", "ticket 7", "--yes"]) == 2
    said = capsys.readouterr().err
    assert "is IN_DOUBT, and so not finished" in said
    assert HELD.key in said
    assert len(list(ledger.of_address(HELD.message.to))) == 1


def test_without_a_key_nothing_is_erased(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "load_erasure_key", lambda: None)
    assert terminal.main(["person", "erase", ANN, "--reason", "ticket 7", "--yes"]) == 2
    assert "openssl rand -hex 32" in capsys.readouterr().err
    assert len(list(ledger.of_address(ANN))) == 1
    assert terminal.main(["person", "erase", ANN, "--reason", " ", "--yes"]) == 2
