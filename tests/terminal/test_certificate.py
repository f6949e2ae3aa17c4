"""``mailonce certificate | verify``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mailonce import terminal
from mailonce.errors import LedgerUnavailable
from mailonce.ledgers.base import Ledger
from mailonce.terminal import output
from tests.terminal.conftest import HELD, MONTH

pytestmark = pytest.mark.usefixtures("ledger", "snapshots")


@pytest.fixture
def file(ledger: Ledger, snapshots: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    place = tmp_path / "october.jsonl"
    assert terminal.main(["certificate", MONTH, "--output", str(place)]) == 0
    capsys.readouterr()
    return place


def root(file: Path) -> str:
    return str(json.loads(file.read_bytes().splitlines()[-1])["root"])


def test_beside_the_snapshots_with_the_exceptions_by_name(snapshots: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["certificate", MONTH]) == 0
    printed = capsys.readouterr().out
    (place,) = Path(snapshots.removeprefix("file://")).glob(f"monthly_usage/{MONTH}/certificate.*.jsonl")
    assert str(place) in printed
    assert root(place) in printed
    assert "2 deliveries, 1 messages" in printed
    assert f"C-2                  IN_DOUBT\n{'':23}key {HELD.key}" in printed
    assert "C-1" not in printed


def test_for_programs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.main(["certificate", MONTH, "--output", str(file), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (answer["lines"], answer["counts"]["messages"], answer["file"]) == (2, 1, str(file))
    assert [one["recipient_id"] for one in answer["exceptions"]] == ["C-2"]
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("options", [[], ["--output", "never.jsonl"]])
def test_a_month_that_is_not_there_has_no_certificate(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert terminal.main(["certificate", "2031-01", *options]) == 1
    assert list(tmp_path.iterdir()) == []


def test_it_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.main(["certificate", MONTH, "--output", "/nowhere/october.jsonl"]) == 2
    assert "--output" in capsys.readouterr().err


class TestVerify:
    def test_it_holds_and_the_ledger_says_the_same(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert terminal.main(["verify", str(file), "--root", root(file)]) == 0
        assert "the ledger says the same" in capsys.readouterr().out

    def test_the_ledger_says_otherwise_now(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        terminal.main(["resolve", HELD.key, "--sent", "--reason", "saw it"])
        assert terminal.main(["verify", str(file)]) == 1
        printed = capsys.readouterr().out
        assert "C-2                  state: IN_DOUBT, now SENT" in printed
        assert "1 differ" in printed
        assert terminal.main(["verify", str(file), "--json"]) == 1
        answer = json.loads(capsys.readouterr().out)
        assert [one["recipient_id"] for one in answer["differences"]] == ["C-2"]
        assert terminal.main(["verify", str(file), "--offline"]) == 0

    def test_no_more_differences_are_named_than_asked_for(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        terminal.main(["resolve", HELD.key, "--sent", "--reason", "saw it"])
        assert terminal.main(["verify", str(file), "--limit", "0"]) == 1
        assert "and 1 more" in capsys.readouterr().out

    @pytest.mark.parametrize("as_json", [[], ["--json"]])
    def test_a_changed_line_is_found(self, file: Path, capsys: pytest.CaptureFixture[str], as_json: list[str]) -> None:
        file.write_bytes(file.read_bytes().replace(b"IN_DOUBT", b"SENT"))
        assert terminal.main(["verify", str(file), *as_json]) == 1
        told = capsys.readouterr()
        assert "not as it was sealed" in told.err
        assert not as_json or json.loads(told.out)["holds"] is False

    def test_another_one_than_the_hash_that_was_noted(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert terminal.main(["verify", str(file), "--root", "0" * 64]) == 1
        assert "not the one that was noted" in capsys.readouterr().err

    def test_another_ledger(self, file: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
        ledger.epoch.adopt(by="ann", reason="restored")
        assert terminal.main(["verify", str(file)]) == 1
        assert "another ledger, or it was adopted anew" in capsys.readouterr().out

    def test_the_ledger_is_away(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def away() -> Ledger:
            raise LedgerUnavailable("the ledger is away")

        monkeypatch.setattr(output, "open_the_ledger", away)
        assert terminal.main(["verify", str(file)]) == 2
        assert terminal.main(["verify", str(file), "--offline"]) == 0

    @pytest.mark.parametrize(("content", "code"), [(None, 2), (b"", 1), (b"hello", 1), (b"[]", 1), (b"[1]", 1)])
    def test_what_is_no_certificate(self, tmp_path: Path, content: bytes | None, code: int) -> None:
        if content is not None:
            (tmp_path / "x").write_bytes(content)
        assert terminal.main(["verify", str(tmp_path / "x"), "--offline"]) == code


class TestProof:
    @pytest.fixture
    def proof(self, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
        assert terminal.main(["verify", str(file), "--prove", "C-1"]) == 0
        place = tmp_path / "one.json"
        place.write_text(capsys.readouterr().out)
        return place

    def test_one_line_is_shown_without_the_others(
        self, file: Path, proof: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "C-2" not in proof.read_text()
        assert terminal.main(["verify", str(proof), "--root", root(file)]) == 0
        assert '"recipient_id": "C-1"' in capsys.readouterr().out

    @pytest.mark.parametrize("change", [("m-1", "m-2"), ('"hash": "', '"hash": "ff'), ('"left"', '"right"')])
    def test_a_changed_one_proves_nothing(self, proof: Path, change: tuple[str, str]) -> None:
        text = proof.read_text()
        assert change[0] in text
        proof.write_text(text.replace(*change))
        assert terminal.main(["verify", str(proof)]) == 1

    def test_of_another_certificate(self, proof: Path) -> None:
        assert terminal.main(["verify", str(proof), "--root", "0" * 64]) == 1

    def test_of_nobody(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert terminal.main(["verify", str(file), "--prove", "C-77"]) == 1
        found: Any = json.loads(capsys.readouterr().out)
        assert found == []
