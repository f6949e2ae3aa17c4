"""The plan of a snapshot, compared with the ledger, in numbers and as files."""

from __future__ import annotations

import json
import logging
import tracemalloc
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from mailonce.delivery import Conclusion
from mailonce.messages.rows import read_row
from mailonce.states import State
from mailonce.workflow import plan as plan_module
from mailonce.workflow import plan_files
from mailonce.workflow.plan import UNTROUBLED, Allowance, Plan, PlanLine, PlanSummary, compare, plan_of
from mailonce.workflow.plan_files import told_plan, write_plan
from mailonce.workflow.preview import ALL_UP_TO, Sampler
from mailonce.workflow.report import report_run
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def entry_in(state: State, **changes: Any) -> Any:
    ledger = MemoryLedger()
    entry = ledger.claim(make_claim(make_delivery()))
    return replace(entry, state=state, **changes)


@pytest.mark.parametrize(
    ("entry", "plan"),
    [
        (None, Plan.NEW),
        (entry_in(State.RELEASED), Plan.NEW),
        (entry_in(State.SENT), Plan.ALREADY_SENT),
        (entry_in(State.SENT, fingerprint=""), Plan.ALREADY_SENT),
        (entry_in(State.SENT, fingerprint="other"), Plan.CONTENT_CHANGED),
        (entry_in(State.IN_DOUBT), Plan.IN_DOUBT),
        (entry_in(State.SENDING), Plan.IN_FLIGHT),
        # Its sender is past its deadline: whoever delivers next makes it IN_DOUBT.
        (entry_in(State.SENDING, deadline_at=LONG_AGO), Plan.IN_DOUBT),
        (entry_in(State.REJECTED), Plan.REJECTED),
        (entry_in(State.CANCELLED), Plan.CANCELLED),
    ],
    ids=lambda value: value.name if isinstance(value, Plan) else "",
)
def test_what_delivering_would_do(entry: Any, plan: Plan) -> None:
    assert plan_of(make_delivery().message.fingerprint, entry) is plan


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


def bring_to(ledger: MemoryLedger, delivery: Any, state: State, error: str | None = None) -> None:
    claim = make_claim(delivery)
    ledger.claim(claim)
    message_id = "m-1" if state is State.SENT else None
    ledger.conclude(delivery.key, claim.token, Conclusion(state=state, message_id=message_id, error=error))


@pytest.fixture
def month(write: Any, make_row: Any, maker: Any, ledger: MemoryLedger) -> Any:
    """A snapshot with one recipient of nearly every plan."""
    rows = {name: make_row(name) for name in ("new", "sent", "changed", "held", "refused")}
    for name, state in (("sent", State.SENT), ("held", State.IN_DOUBT), ("refused", State.REJECTED)):
        error = None if state is State.SENT else f"{name} for a reason"
        bring_to(ledger, maker.delivery(read_row(rows[name])), state, error)
    bring_to(ledger, maker.delivery(read_row(make_row("changed", units=99))), State.SENT)
    return write(
        *rows.values(), make_row("bad", email="nobody"), make_row("asked us not to", email="stop@example.org"),
        suppressed=lambda _addresses: {"stop@example.org": "complaint"},
    )  # fmt: skip


class TestCompare:
    def test_everybody_is_counted_once_and_the_ledger_is_only_read(self, month: Any, ledger: MemoryLedger) -> None:
        moves = list(ledger.moves)
        ledger.calls.clear()
        lines: list[PlanLine] = []
        summary = compare(month, ledger, heed=lines.append)
        assert {line.recipient_id: line.plan for line in lines} == {
            "new": Plan.NEW, "sent": Plan.ALREADY_SENT, "changed": Plan.CONTENT_CHANGED, "held": Plan.IN_DOUBT,
            "refused": Plan.REJECTED, "bad": Plan.INVALID, "asked us not to": Plan.SUPPRESSED,
        }  # fmt: skip
        assert summary.counts == {line.plan: 1 for line in lines}
        assert summary.digest == month.uri.rpartition("/")[2]
        assert (ledger.moves, set(ledger.calls)) == (moves, {"find"})

    def test_each_line_says_what_it_rests_on(self, month: Any, ledger: MemoryLedger) -> None:
        lines: dict[str, PlanLine] = {}
        compare(month, ledger, heed=lambda line: lines.update({line.recipient_id: line}))
        assert lines["new"].why == ""
        assert lines["sent"].why.startswith("sent on ")
        assert lines["sent"].why.endswith(" UTC as message m-1")
        assert lines["changed"].why.endswith("as message m-1; a corrected mail is a new edition")
        assert lines["held"].why == "held for a reason"
        assert lines["bad"].why.startswith("email: ")
        assert "complaint" in lines["asked us not to"].why
        assert [name for name, line in lines.items() if line.planned is None] == ["bad", "asked us not to"]

    def test_the_ledger_is_asked_for_many_at_once(
        self, write: Any, make_row: Any, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plan_module, "KEYS_PER_QUESTION", 2)
        assert compare(write(*map(make_row, range(5))), ledger).counts == {Plan.NEW: 5}
        assert ledger.calls.count("find") == 3


@pytest.mark.parametrize(
    ("new", "left", "quota", "spread", "over", "days", "words"),
    [
        (5, None, None, False, 0, 1, "5 new"),
        (5, 5, 200, True, 0, 1, "5 new"),
        (5, 3, 200, False, 2, 2, "5 new, 2 of the new over the quota (3 left today), which would fail"),
        (450, 50, 200, True, 400, 3,
         "450 new, 400 of the new over the quota (50 left today), which follow by themselves: 3 days in all"),
        (2, 0, 0, True, 2, None, "2 new, 2 of the new over the quota (0 left today), which follow by themselves"),
        (0, 0, 200, False, 0, 1, "nobody to mail"),
    ],
)  # fmt: skip
def test_the_quota_counts_the_new_ones_only(
    new: int, left: int | None, quota: int | None, spread: bool, over: int, days: int | None, words: str
) -> None:
    allowance = Allowance(left_today=left, daily_quota=quota, spread=spread)
    summary = PlanSummary(digest="d", allowance=allowance)
    summary.counts.update({Plan.NEW: new})
    assert (summary.over_quota, summary.days, summary.words) == (over, days, words)
    summary.counts.update({Plan.ALREADY_SENT: 1000})
    assert summary.over_quota == over, "who was mailed before takes nothing of it"


def test_whoever_should_get_a_mail_and_would_not_is_an_exception() -> None:
    assert set(Plan) - UNTROUBLED == {
        Plan.CONTENT_CHANGED, Plan.IN_FLIGHT, Plan.IN_DOUBT, Plan.REJECTED, Plan.INVALID,
    }  # fmt: skip


def written(month: Any, ledger: Any, maker: Any, **options: Any) -> Path:
    given = {"allowance": Allowance(left_today=0, daily_quota=10), "run_id": "manual__1", "dry_run": True,
             "sampler": Sampler(), **options}  # fmt: skip
    write_plan(month, ledger, maker, **given)
    return Path(month.uri.removeprefix("file://"))


class TestFiles:
    def test_the_plan_in_numbers_and_names(self, month: Any, ledger: MemoryLedger, maker: Any) -> None:
        home = written(month, ledger, maker)
        plan = json.loads((home / "plan.json").read_text())
        assert (plan["campaign"], plan["period"], plan["edition"]) == ("usage", "2026-10", "original")
        assert (plan["run_id"], plan["dry_run"], plan["planned"], plan["samples"]) == ("manual__1", True, 5, 5)
        assert plan["digest"] == home.name
        assert plan["counts"]["new"] == 1
        assert sum(plan["counts"].values()) == 7
        assert plan["quota"] == {"left_today": 0, "daily_quota": 10, "spread": False, "over_quota": 1, "days": 2}
        assert {one["recipient_id"]: one["state"] for one in plan["exceptions"]} == {
            "changed": "content changed since it was sent", "held": "held as in doubt",
            "refused": "rejected for good", "bad": "invalid",
        }  # fmt: skip
        assert [one["recipient_id"] for one in plan["suppressed"]] == ["asked us not to"]
        assert (plan["duplicates"], plan["undelivered"], plan["fates"]) == ([], [], {})
        assert "ann@example.com" not in (home / "plan.json").read_text()

    def test_every_recipient_has_a_line(self, month: Any, ledger: MemoryLedger, maker: Any) -> None:
        lines = [json.loads(line) for line in (written(month, ledger, maker) / "plan.jsonl").read_text().splitlines()]
        assert [line["recipient_id"] for line in lines] == [
            "new", "sent", "changed", "held", "refused", "bad", "asked us not to",
        ]  # fmt: skip
        assert all(set(line) == {"recipient_id", "plan", "why"} for line in lines)

    def test_ids_to_correct_are_ready_to_paste(self, month: Any, ledger: MemoryLedger, maker: Any) -> None:
        assert (written(month, ledger, maker) / "changed.txt").read_text() == "changed\n"

    def test_a_second_plan_takes_the_place_of_the_first(
        self, write: Any, make_row: Any, maker: Any, ledger: MemoryLedger
    ) -> None:
        snapshot = write(make_row())
        home = written(snapshot, ledger, maker)
        bring_to(ledger, maker.delivery(read_row(make_row(units=4))), State.SENT)
        written(snapshot, ledger, maker, run_id="second")
        plan = json.loads((home / "plan.json").read_text())
        assert (plan["run_id"], plan["counts"]) == ("second", {"content changed since it was sent": 1})
        assert (home / "changed.txt").read_text() == "C-1\n"

    def test_the_names_in_one_file_are_bounded_and_stand_in_the_other(
        self, write: Any, make_row: Any, maker: Any, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plan_files, "MOST_NAMES", 3)
        home = written(write(*(make_row(f"bad-{n}", email="nobody") for n in range(8))), ledger, maker)
        plan = json.loads((home / "plan.json").read_text())
        assert (len(plan["exceptions"]), plan["counts"]) == (3, {"invalid": 8})
        assert len((home / "plan.jsonl").read_text().splitlines()) == 8

    def test_the_run_s_end_tells_where_to_look(
        self, month: Any, ledger: MemoryLedger, maker: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        home = written(month, ledger, maker)
        with caplog.at_level(logging.INFO):
            result = report_run(month.uri, run_id="r", dry_run=True)
        assert result == {**json.loads((home / "plan.json").read_text())["counts"], "report": f"{month.uri}/plan.json"}
        assert json.loads(json.dumps(result)) == result
        assert "changed: content changed since it was sent: sent on " in caplog.text
        assert f"{month.uri}/preview/index.html (5 samples)" in caplog.text
        assert f"for the recipients in {month.uri}/changed.txt" in caplog.text
        assert "The plan: 1 new, 1 already sent, 1 content changed since it was sent" in caplog.text
        assert "1 of the new over the quota (0 left today), which would fail" in caplog.text
        assert not (home / "report.json").exists()

    def test_the_log_names_only_the_first(
        self, write: Any, make_row: Any, maker: Any, ledger: Any, caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(plan_files, "NAMES_IN_LOG", 3)
        snapshot = write(*(make_row(f"bad-{n}", email="nobody") for n in range(8)))
        written(snapshot, ledger, maker)
        told_plan(snapshot.uri)
        assert caplog.text.count(": invalid: ") == 3


def test_a_large_plan_is_flat_in_memory_and_in_files(write: Any, make_row: Any, maker: Any) -> None:
    class NobodyWasMailed(MemoryLedger):
        def find(self, keys: Any) -> Any:
            return iter(())

    def peak(recipients: int) -> tuple[int, int]:
        snapshot = write(*(make_row(f"C-{recipients}-{n}") for n in range(recipients)))
        tracemalloc.start()
        try:
            home = written(snapshot, NobodyWasMailed(), maker)
            return tracemalloc.get_traced_memory()[1], len(list((home / "preview").iterdir()))
        finally:
            tracemalloc.stop()

    peak(1500)  # what is imported and cached once
    (few, files), (many, more_files) = peak(2500), peak(7500)
    assert many < few * 1.1
    assert files <= 2 * ALL_UP_TO + 1
    assert abs(more_files - files) <= 4, "samples that fall together"
