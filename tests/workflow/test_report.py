from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from mailonce.delivery import Conclusion, Decision, Receipt, Timing
from mailonce.errors import LedgerForgot, LedgerUnusable, RecipientsUnresolved
from mailonce.events import Event, EventKind
from mailonce.messages.rows import read_row
from mailonce.states import State
from mailonce.workflow import plan
from mailonce.workflow import report as report_module
from mailonce.workflow.certifying import read_certificate
from mailonce.workflow.report import NAMES_IN_LOG, report_run
from mailonce.workflow.reporting.counting import compile_report
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim

SETTLED_AT_ONCE = Timing(window=timedelta(0), settle=timedelta(0))


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MemoryLedger:
    made = MemoryLedger()
    # Where the months remember their ledger: each test's own, as its ledger is.
    monkeypatch.setenv("AIRFLOW__MAILONCE__SNAPSHOT_URI", f"file://{tmp_path}")
    monkeypatch.setattr(report_module, "open_ledger", lambda _: made)
    return made


def bring_to(ledger: MemoryLedger, delivery: Any, state: State, **facts: Any) -> None:
    """Give a delivery this state, by the moves that the protocol allows."""
    claim = make_claim(delivery, timing=Timing() if state is State.SENDING else SETTLED_AT_ONCE)
    ledger.claim(claim)
    if state is State.SENT:
        facts.setdefault("message_id", "m-1")
    learned = State.REJECTED if state is State.CANCELLED else state
    if learned is not State.SENDING:
        ledger.conclude(delivery.key, claim.token, Conclusion(state=learned, **facts))
    if state is State.CANCELLED:
        ledger.decide(delivery.key, Decision(state=state, by="support", reason="asked us not to"))


@pytest.fixture
def month(write: Any, make_row: Any, maker: Any, ledger: MemoryLedger) -> Any:
    """A snapshot of one recipient a state, and of two rejects; each recipient's id is the state's name."""
    rows = {state: make_row(state.value) for state in State}
    for state, row in rows.items():
        error = None if state in (State.SENDING, State.SENT) else f"{state.value} for a reason"
        bring_to(ledger, maker.delivery(read_row(row)), state, **({"error": error} if error else {}))
    return write(*rows.values(), make_row("untouched"), make_row("bad", email="nobody"), only=[
        *(state.value for state in State), "untouched", "bad", "missing",
    ])  # fmt: skip


def test_everybody_is_counted_once(month: Any, ledger: MemoryLedger) -> None:
    report = compile_report(month, ledger)
    assert report.counts == {**{state.value: 1 for state in State}, "not yet": 1, "invalid": 2}
    assert sum(report.counts.values()) == month.manifest.recipients + month.manifest.rejects


def test_whoever_has_no_confirmed_mail_is_named_with_the_reason(month: Any, ledger: MemoryLedger) -> None:
    named = {one["recipient_id"]: (one["state"], one["why"]) for one in compile_report(month, ledger).exceptions}
    assert set(named) == {"SENDING", "RELEASED", "REJECTED", "IN_DOUBT", "untouched", "bad", "missing"}
    assert named["REJECTED"] == ("REJECTED", "REJECTED for a reason")
    assert named["untouched"] == ("not yet", "never claimed: see the log of its task")
    assert named["bad"][0] == "invalid"
    assert named["bad"][1].startswith("email: ")
    assert named["missing"][1].startswith("recipients: asked for, but")


def test_a_duplicate_is_named(month: Any, ledger: MemoryLedger, caplog: pytest.LogCaptureFixture) -> None:
    (sent,) = (planned for planned in month.rows() if planned.row.recipient_id == "SENT")
    ledger.witness(Receipt(key=sent.key, message_id="m-2", evidence="event"))
    assert compile_report(month, ledger).duplicates == ["SENT"]
    with pytest.raises(RecipientsUnresolved):
        report_run(month.uri, run_id="r", dry_run=False)
    assert "SENT was accepted twice by the provider" in caplog.text


def test_whose_sender_has_vanished_is_in_doubt_at_the_latest_now(
    write: Any, make_row: Any, maker: Any, ledger: MemoryLedger
) -> None:
    row = make_row("C-1")
    delivery = maker.delivery(read_row(row))
    ledger.claim(make_claim(delivery, by="try 1", timing=SETTLED_AT_ONCE))
    snapshot = write(row)
    (named,) = compile_report(snapshot, ledger).exceptions
    assert named["state"] == "IN_DOUBT"
    assert "try 1) left no answer" in named["why"]


def test_what_became_of_the_mails_is_counted_and_whoever_did_not_get_theirs_is_named(
    month: Any, ledger: MemoryLedger, caplog: pytest.LogCaptureFixture
) -> None:
    (sent,) = (planned for planned in month.rows() if planned.row.recipient_id == "SENT")
    ledger.observe(
        Event(
            kind=EventKind.BOUNCE,
            key=sent.key,
            message_id="m-1",
            at=datetime(2026, 11, 1, tzinfo=timezone.utc),
            address="ann@example.com",
            detail="Permanent/General: 550 user unknown",
        )
    )
    report = compile_report(month, ledger)
    assert report.fates == {"BOUNCED": 1}
    assert report.undelivered == [
        {"recipient_id": "SENT", "state": "BOUNCED", "why": "Permanent/General: 550 user unknown"}
    ]
    assert "SENT" not in {one["recipient_id"] for one in report.exceptions}
    with pytest.raises(RecipientsUnresolved):
        report_run(month.uri, run_id="r", dry_run=False)
    assert "SENT: BOUNCED: Permanent/General: 550 user unknown" in caplog.text


def test_who_is_left_out_on_purpose_is_named_and_fails_nobody(
    write: Any, make_row: Any, ledger: MemoryLedger, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = write(make_row("C-1"), suppressed=lambda _addresses: {"ann@example.com": "hard bounce"})
    report = compile_report(snapshot, ledger)
    assert (report.counts, report.unresolved) == ({"suppressed": 1}, 0)
    assert report.suppressed[0]["recipient_id"] == "C-1"
    with caplog.at_level(logging.WARNING):
        assert report_run(snapshot.uri, run_id="r", dry_run=False)["suppressed"] == 1
    assert "C-1: suppressed: email: the address is suppressed and not mailed: hard bounce" in caplog.text


def test_more_recipients_than_are_asked_for_at_a_time(
    write: Any, make_row: Any, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "KEYS_PER_QUESTION", 2)
    assert compile_report(write(*map(make_row, range(5))), ledger).counts == {"not yet": 5}
    assert ledger.calls.count("find") == 3


def test_content_that_changed_since_is_counted_and_named(
    write: Any, make_row: Any, maker: Any, ledger: MemoryLedger, caplog: pytest.LogCaptureFixture
) -> None:
    bring_to(ledger, maker.delivery(read_row(make_row("C-1", units=3))), State.SENT)
    bring_to(ledger, maker.delivery(read_row(make_row("C-2", units=3))), State.SENT)
    snapshot = write(make_row("C-1", units=4), make_row("C-2", units=3))
    report = compile_report(snapshot, ledger)
    assert (report.counts, report.unresolved) == ({"SENT": 2}, 0)
    assert [one["recipient_id"] for one in report.content_changed] == ["C-1"]
    assert "as message m-1, saying something else" in report.content_changed[0]["why"]
    with caplog.at_level(logging.WARNING):
        report_run(snapshot.uri, run_id="r", dry_run=False)
    assert "run the month with another `edition`, for these recipients only" in caplog.text
    stored = json.loads((Path(snapshot.uri.removeprefix("file://")) / "report.json").read_text())
    assert stored["totals"]["content_changed"] == 1


class TestRun:
    def test_the_month_is_certified(self, month: Any, ledger: MemoryLedger, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO), pytest.raises(RecipientsUnresolved):
            report_run(month.uri, run_id="r", dry_run=False)
        stored = json.loads((Path(month.uri.removeprefix("file://")) / "report.json").read_text())
        head, seal = read_certificate(stored["certificate"])
        assert (head.campaign, head.period, seal.lines) == ("usage", "2026-10", 6)
        assert seal.root == stored["certificate_root"]
        assert seal.root in caplog.text

    def test_without_a_certificate_the_report_is_written_all_the_same(
        self, write: Any, make_row: Any, maker: Any, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        def refused(*_: Any) -> Any:
            raise LedgerUnusable("no permission to list a month")

        bring_to(ledger, maker.delivery(read_row(make_row())), State.SENT)
        monkeypatch.setattr(ledger, "of_month", refused)
        result = report_run(write(make_row()).uri, run_id="r", dry_run=False)
        assert (result["SENT"], result["certificate"]) == (1, "")
        assert "no certificate was written (no permission to list a month)" in caplog.text
        assert "No certificate could be written" in Path(result["page"].removeprefix("file://")).read_text()

    def test_the_page_is_beside_it_and_names_no_address(self, month: Any, ledger: MemoryLedger) -> None:
        with pytest.raises(RecipientsUnresolved):
            report_run(month.uri, run_id="r", dry_run=False)
        page = (Path(month.uri.removeprefix("file://")) / "report.html").read_text()
        assert "IN_DOUBT for a reason" in page
        assert "ann@example.com" not in page

    def test_an_older_runs_report_is_kept(self, write: Any, make_row: Any, maker: Any, ledger: Any) -> None:
        bring_to(ledger, maker.delivery(read_row(make_row())), State.SENT)
        uri = write(make_row()).uri
        for run_id in ("scheduled__1", "manual__2"):
            report_run(uri, run_id=run_id, dry_run=False)
        home = Path(uri.removeprefix("file://"))
        assert sorted(json.loads(file.read_text())["run_id"] for file in home.glob("runs/*/report.json")) == [
            "manual__2", "scheduled__1",
        ]  # fmt: skip
        assert json.loads((home / "report.json").read_text())["run_id"] == "manual__2"

    def test_fails_with_counts_and_the_place_of_the_names(self, month: Any, ledger: MemoryLedger) -> None:
        with pytest.raises(RecipientsUnresolved, match="7 of 9 recipients have no confirmed mail") as caught:
            report_run(month.uri, run_id="manual__1", dry_run=False)
        assert "1 SENT" in str(caught.value)
        assert "2 invalid" in str(caught.value)
        file = Path(month.uri.removeprefix("file://")) / "report.json"
        assert str(file) in str(caught.value).replace("file://", "")
        stored = json.loads(file.read_text())
        assert (stored["run_id"], stored["dry_run"], stored["planned"]) == ("manual__1", False, 7)
        assert (stored["campaign"], stored["period"], stored["edition"]) == ("usage", "2026-10", "original")
        assert len(stored["exceptions"]) == 7
        assert "ann@example.com" not in file.read_text()

    def test_is_red_when_the_ledger_was_exchanged_in_the_middle(
        self, write: Any, make_row: Any, maker: Any, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bring_to(ledger, maker.delivery(read_row(make_row())), State.SENT)
        uri = write(make_row()).uri
        report_run(uri, run_id="r", dry_run=False)
        ledger.epoch._epoch = replace(ledger.epoch._epoch, runs=0)
        with pytest.raises(LedgerForgot, match="knows less"):
            report_run(uri, run_id="r", dry_run=False)

    @pytest.mark.parametrize(("tolerated", "fails"), [("0", True), ("6", True), ("7", False)])
    def test_as_many_as_are_tolerated(
        self, month: Any, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch, tolerated: str, fails: bool
    ) -> None:
        monkeypatch.setenv("AIRFLOW__MAILONCE__TOLERATED_FAILURES", tolerated)
        if fails:
            with pytest.raises(RecipientsUnresolved):
                report_run(month.uri, run_id="r", dry_run=False)
        else:
            assert report_run(month.uri, run_id="r", dry_run=False)["SENT"] == 1

    def test_what_goes_to_airflow_is_small_and_plain(self, write: Any, make_row: Any, maker: Any, ledger: Any) -> None:
        bring_to(ledger, maker.delivery(read_row(make_row())), State.SENT)
        result = report_run(write(make_row()).uri, run_id="r", dry_run=False)
        assert set(result) == {"SENT", "report", "page", "certificate", "certificate_root"}
        assert json.loads(json.dumps(result)) == result

    def test_an_empty_month_succeeds(self, write: Any, ledger: Any, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            assert "SENT" not in report_run(write().uri, run_id="r", dry_run=False)
        assert "nobody to mail" in caplog.text

    @pytest.mark.parametrize("uri", [None, ""])
    def test_without_a_snapshot_nobody_was_mailed(self, uri: str | None) -> None:
        with pytest.raises(RecipientsUnresolved, match="no snapshot was written"):
            report_run(uri, run_id="r", dry_run=False)

    def test_the_log_names_only_the_first(
        self, write: Any, make_row: Any, ledger: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(RecipientsUnresolved):
            report_run(write(*map(make_row, range(NAMES_IN_LOG + 7))).uri, run_id="r", dry_run=False)
        assert caplog.text.count("never claimed") == NAMES_IN_LOG
