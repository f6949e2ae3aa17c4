from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from mailonce.certificate import CertificateBroken, Head, certify
from mailonce.delivery import Conclusion, Entry, Receipt
from mailonce.errors import InvalidInput
from mailonce.merkle import Step, proves
from mailonce.states import State
from mailonce.workflow.certifying import Comparison, keep_certificate, prove, read_certificate, write_certificate
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery

NOON = datetime(2030, 2, 1, 12, tzinfo=timezone.utc)
MONTH = {"campaign": "usage", "period": "2030-01"}


@pytest.fixture
def ledger() -> MemoryLedger:
    made = MemoryLedger()
    for number in range(5):
        send(made, f"C-{number}")
    return made


def send(ledger: MemoryLedger, recipient_id: str, edition: str = "original") -> str:
    delivery = make_delivery(recipient_id, edition=edition)
    claim = make_claim(delivery)
    ledger.claim(claim)
    ledger.conclude(delivery.key, claim.token, Conclusion(state=State.SENT, message_id=f"m-{recipient_id}-{edition}"))
    return delivery.key


@pytest.fixture
def file(ledger: MemoryLedger, tmp_path: Path) -> str:
    place = tmp_path / "certificate.jsonl"
    with place.open("wb") as written:
        write_certificate(ledger, **MONTH, write=written.write)
    return str(place)


def differences(file: str, ledger: MemoryLedger) -> list[dict[str, Any]]:
    with closing(Comparison(file)) as comparison:
        return list(comparison.differences(ledger))


def test_the_head_says_which_ledger_and_when(ledger: MemoryLedger, file: str) -> None:
    head, seal = read_certificate(file)
    epoch = ledger.epoch.read()
    assert (head.campaign, head.period, head.ledger["epoch"]) == ("usage", "2030-01", epoch.id)
    assert seal.lines == 5


class TestKept:
    def test_beside_the_snapshots_and_never_overwritten(self, ledger: MemoryLedger, tmp_path: Path) -> None:
        uri = f"file://{tmp_path}"
        first, seal = keep_certificate(ledger, **MONTH, uri=uri)
        content = Path(first.removeprefix("file://")).read_bytes()
        assert Path(first).parent.name == "2030-01"
        assert seal.root[:12] in first
        send(ledger, "C-9")
        second, _ = keep_certificate(ledger, **MONTH, uri=uri)
        assert second != first
        assert Path(first.removeprefix("file://")).read_bytes() == content

    @pytest.mark.parametrize("known", [True, False])
    def test_nothing_changed_so_the_one_that_is_there_still_says_all(
        self, ledger: MemoryLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
    ) -> None:
        counted = [replace(month, changed_at=NOON if known else None) for month in ledger.browser.totals(**MONTH)]
        monkeypatch.setattr(ledger.browser, "totals", lambda *_: counted)
        uri = f"file://{tmp_path}"
        first = keep_certificate(ledger, **MONTH, uri=uri)
        calls = len(ledger.calls)
        assert keep_certificate(ledger, **MONTH, uri=uri)[1] == first[1] or not known
        assert ("of_month" in ledger.calls[calls:]) is not known
        counted[0] = replace(counted[0], changed_at=NOON + timedelta(seconds=1))
        calls = len(ledger.calls)
        keep_certificate(ledger, **MONTH, uri=uri)
        assert "of_month" in ledger.calls[calls:]

    def test_another_ledger_is_not_vouched_for(
        self, ledger: MemoryLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counted = [replace(month, changed_at=NOON) for month in ledger.browser.totals(**MONTH)]
        monkeypatch.setattr(ledger.browser, "totals", lambda *_: counted)
        keep_certificate(ledger, **MONTH, uri=f"file://{tmp_path}")
        epoch = ledger.epoch.adopt(by="ann", reason="restored")
        place, _ = keep_certificate(ledger, **MONTH, uri=f"file://{tmp_path}")
        assert read_certificate(place)[0].ledger["epoch"] == epoch.id

    def test_a_damaged_one_is_not_taken_for_the_month(self, ledger: MemoryLedger, tmp_path: Path) -> None:
        uri = f"file://{tmp_path}"
        first, seal = keep_certificate(ledger, **MONTH, uri=uri)
        place = Path(first.removeprefix("file://"))
        place.write_bytes(place.read_bytes()[:-10])
        calls = len(ledger.calls)
        _, again = keep_certificate(ledger, **MONTH, uri=uri)
        assert "of_month" in ledger.calls[calls:]
        assert again.lines == seal.lines


class TestComparison:
    def test_nothing_differs(self, ledger: MemoryLedger, file: str) -> None:
        assert differences(file, ledger) == []

    def test_what_differs_is_named(self, ledger: MemoryLedger, file: str) -> None:
        key = make_delivery("C-1").key
        ledger.witness(Receipt(key=key, message_id="m-other", evidence="event Send"))
        (one,) = differences(file, ledger)
        assert (one["recipient_id"], one["key"]) == ("C-1", key)
        assert (one["certified"]["messages"], one["now"]["messages"]) == (1, 2)
        assert set(one["now"]) == {"messages", "message_ids", "evidence", "exceptions"}

    def test_what_came_later(self, ledger: MemoryLedger, file: str) -> None:
        send(ledger, "C-1", "corrected")
        (one,) = differences(file, ledger)
        assert (one["certified"], one["now"]["edition"]) == (None, "corrected")

    def test_what_is_gone(self, ledger: MemoryLedger, file: str) -> None:
        del ledger._rows[make_delivery("C-3").key]
        (one,) = differences(file, ledger)
        assert (one["recipient_id"], one["certified"]["state"], one["now"]) == ("C-3", "SENT", None)

    def test_a_delivery_that_stands_in_it_twice(self, ledger: MemoryLedger, tmp_path: Path) -> None:
        (entry,) = ledger.find([make_delivery("C-1").key])
        head = Head(**MONTH, ledger={}, version="", at="")
        with (tmp_path / "twice").open("wb") as file:
            certify(head, [entry, entry], file.write)
        with pytest.raises(CertificateBroken, match="twice"):
            Comparison(str(tmp_path / "twice"))

    @pytest.mark.parametrize("place", ["/nowhere/certificate.jsonl", "file:///nowhere/certificate.jsonl"])
    def test_there_is_no_such_file(self, place: str) -> None:
        with pytest.raises(InvalidInput):
            Comparison(place)


@pytest.mark.parametrize("number", range(5))
def test_one_line_is_proved_without_the_others(file: str, number: int) -> None:
    (proof,) = prove(file, f"C-{number}")
    assert json.loads(proof["line"])["recipient_id"] == f"C-{number}"
    assert proof["root"] == read_certificate(file)[1].root
    assert proves(proof["line"].encode(), [Step(**step) for step in proof["steps"]], proof["root"])
    others = {f"C-{other}" for other in range(5)} - {f"C-{number}"}
    assert not [other for other in others if other in json.dumps(proof)]


def test_who_is_not_in_it_has_no_proof(file: str) -> None:
    assert prove(file, "C-77") == []


class _Many:
    """A ledger of one month, whose rows are made as they are asked for."""

    def __init__(self, rows: int) -> None:
        ledger = MemoryLedger()
        send(ledger, "C-1")
        (self._entry,) = ledger.find([make_delivery("C-1").key])
        self._rows = rows
        self.epoch, self.browser = ledger.epoch, ledger.browser

    def of_month(self, campaign: str, period: str) -> Iterator[Entry]:
        for number in range(self._rows):
            yield replace(self._entry, key=f"{number:064x}")


def peak(rows: int, folder: Path) -> int:
    ledger, place = _Many(rows), folder / str(rows)
    tracemalloc.start()
    try:
        with place.open("wb") as file:
            write_certificate(ledger, **MONTH, write=file.write)  # type: ignore[arg-type]
        with closing(Comparison(str(place))) as comparison:
            assert list(comparison.differences(ledger)) == []  # type: ignore[arg-type]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_month(tmp_path: Path) -> None:
    peak(10, tmp_path)  # what is loaded once
    assert peak(10_000, tmp_path) <= 1.2 * peak(1_000, tmp_path) + 20_000


def test_streamed_or_in_memory_it_is_the_same(ledger: MemoryLedger) -> None:
    head = Head(**MONTH, ledger={}, version="", at="")
    first, second = io.BytesIO(), io.BytesIO()
    certify(head, ledger.of_month(**MONTH), first.write)
    certify(head, list(ledger.of_month(**MONTH)), second.write)
    assert first.getvalue() == second.getvalue()
