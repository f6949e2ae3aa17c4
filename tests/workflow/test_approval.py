"""What a person is asked who is to approve a plan, and that nothing else is delivered."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput

from mailonce.errors import InvalidInput, RunBlocked
from mailonce.operators.approval import PlanApprovalOperator
from mailonce.workflow.approval import check_approved, check_content, question
from mailonce.workflow.plan import Allowance, Plan, PlanSummary
from mailonce.workflow.retries import RETRIES
from tests.fakes import make_delivery

FIRST, SECOND = "file:///snapshots/usage/2026-10/original/aaa", "file:///snapshots/usage/2026-10/original/bbb"


def test_the_question_has_numbers_digest_and_places_and_nobody_s_name(write: Any, make_row: Any) -> None:
    snapshot = write(make_row("| <b>C-1</b> |"))
    counts = Counter({Plan.NEW: 9, Plan.ALREADY_SENT: 3, Plan.CONTENT_CHANGED: 2, Plan.INVALID: 1})
    asked = question(snapshot, PlanSummary(digest="d1", counts=counts, allowance=Allowance(left_today=5)))
    for told in ("| new | 9 |", "| already sent | 3 |", "| content changed since it was sent | 2 |", "| invalid | 1 |",
                 "| over quota | 4 |", "Snapshot `d1`", f"`{snapshot.uri}/preview/index.html`"):  # fmt: skip
        assert told in asked
    assert "C-1" not in asked
    assert "example.com" not in asked


class TestWhatIsDelivered:
    @pytest.mark.parametrize(("snapshot", "approved"), [(FIRST, None), (None, None), (FIRST, FIRST)])
    def test_goes_on(self, snapshot: str | None, approved: str | None) -> None:
        check_approved(snapshot, approved)

    @pytest.mark.parametrize(
        ("snapshot", "approved"), [(FIRST, SECOND), (FIRST, ""), (FIRST, "None"), (None, FIRST), ("", "")]
    )
    def test_is_refused_if_it_was_not_approved(self, snapshot: str | None, approved: str) -> None:
        with pytest.raises(RunBlocked, match="was not approved") as caught:
            check_approved(snapshot, approved)
        assert RETRIES[type(caught.value)].count == 0

    def test_is_refused_if_it_reads_otherwise_than_approved(self) -> None:
        delivery = make_delivery()
        check_content(delivery, delivery.message.fingerprint)
        with pytest.raises(InvalidInput, match="not the one that was approved"):
            check_content(delivery, "another")


class Instance:
    id = "ti-1"


class TestOperator:
    @pytest.fixture
    def operator(self, monkeypatch: pytest.MonkeyPatch) -> PlanApprovalOperator:
        monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
        monkeypatch.setattr(PlanApprovalOperator, "_shown", lambda *_: "the plan")
        return PlanApprovalOperator(
            task_id="approve", subject="?", body="the plan", snapshot=FIRST, response_timeout=timedelta(days=5)
        )  # fmt: skip

    def event(self, option: str) -> dict[str, Any]:
        return {
            "chosen_options": [option], "params_input": {}, "responded_by_user": {"id": "7", "name": "pat"},
            "responded_at": datetime(2026, 11, 1, tzinfo=timezone.utc), "timedout": False,
        }  # fmt: skip

    def test_what_was_asked_about_is_kept_with_the_question(self, operator: PlanApprovalOperator) -> None:
        with pytest.raises(TaskAwaitingInput) as waiting:
            operator.execute({"task_instance": Instance(), "ti": Instance()})  # type: ignore[typeddict-item]
        assert waiting.value.kwargs == {"asked": FIRST}
        assert waiting.value.timeout == timedelta(days=5)
        operator.snapshot = SECOND  # rendered anew, when the answer comes
        answer = operator.execute_complete({}, self.event("Approve"), **waiting.value.kwargs)
        assert answer == {"snapshot": FIRST, "by": "pat", "at": "2026-11-01T00:00:00+00:00"}

    def test_nobody_is_asked_to_approve_what_they_are_not_shown(self, operator: PlanApprovalOperator) -> None:
        operator.body = "another plan"
        with pytest.raises(RunBlocked, match="Trigger the month again"):
            operator.execute({"task_instance": Instance(), "ti": Instance()})  # type: ignore[typeddict-item]

    def test_rejected_it_fails_and_names_who(self, operator: PlanApprovalOperator) -> None:
        with pytest.raises(RunBlocked, match=r"^pat rejected the plan: nobody is mailed"):
            operator.execute_complete({}, self.event("Reject"), asked=FIRST)

    def test_unanswered_it_fails(self, operator: PlanApprovalOperator) -> None:
        with pytest.raises(RunBlocked, match=r"^Nobody approved the plan in time"):
            operator.execute_complete({}, {"error": "too late", "error_type": "timeout"}, asked=FIRST)

    @pytest.mark.parametrize("preview", [True, "True", "true"])
    def test_a_dry_run_is_not_asked_about(self, preview: bool | str) -> None:
        operator = PlanApprovalOperator(task_id="approve", subject="?", snapshot=FIRST, preview=preview)
        with pytest.raises(AirflowSkipException):
            operator.execute({})
