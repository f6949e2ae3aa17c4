from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import RetryAction
from hypothesis import given
from hypothesis import strategies as st

from mailonce import errors
from mailonce.delivery import Timing
from mailonce.workflow.retries import AFTER_KILL, RETRIES, Backoff, DeliveryRetryPolicy

POLICY = DeliveryRetryPolicy()

FAILURES: list[tuple[BaseException, int, float, float]] = [
    # failure                                         retries  first delay  longest, in seconds, before jitter
    (errors.Throttled("slow"), 10, 2, 300),
    (errors.NeverLeft("refused"), 8, 5, 600),
    (errors.MonthBusy("another run"), 24, 30, 900),
    (errors.InFlight("else"), 5, 20, 120),
    (errors.LedgerUnavailable("away"), 8, 10, 600),
    (errors.AwaitingProof("an event may come"), 24, 20, 300),
    (errors.AwaitingQuota("tomorrow"), 24, 6 * 3600, 6 * 3600),
    (RuntimeError("Airflow's own"), 3, 10, 600),
    (KeyboardInterrupt(), 3, 10, 600),
    (errors.LedgerError("of no kind"), 3, 10, 600),
    (errors.InDoubt("lost"), 0, 0, 0),
    (errors.Rejected("bad"), 0, 0, 0),
    (errors.RunBlocked("paused"), 0, 0, 0),
    (errors.DailyQuotaExceeded("quota"), 0, 0, 0),
    (errors.InvalidInput(field="email", reason="bad", remedy="mend"), 0, 0, 0),
    (errors.LedgerUnusable("no table"), 0, 0, 0),
    (errors.RecipientsUnresolved("3 missing"), 0, 0, 0),
    (errors.RequestsUnmet("paused"), 0, 0, 0),
]


def name(value: Any) -> str:
    return type(value).__name__ if isinstance(value, BaseException) else str(value)


def decide(error: BaseException, retry: int = 1, *, cleared_after: int = 0, policy: Any = POLICY) -> Any:
    """Decide before a retry, as Airflow counts: clearing sets max_tries to the tries so far plus ``retries``."""
    context: Any = {"task": SimpleNamespace(retries=policy.most)}
    max_tries = cleared_after + policy.most
    return policy.evaluate(error, cleared_after + retry, max_tries, context)


@pytest.mark.parametrize(("error", "count", "delay", "cap"), FAILURES, ids=name)
def test_the_table(error: BaseException, count: int, delay: float, cap: float) -> None:
    row = POLICY.backoff(error)
    assert row.count == count
    if count:
        assert (row.delay.total_seconds(), row.cap.total_seconds()) == (delay, cap)


@pytest.mark.parametrize(("error", "count", "delay", "cap"), FAILURES, ids=name)
@pytest.mark.parametrize("cleared_after", [0, 1, 11, 30])
def test_each_class_is_tried_again_so_often_and_no_more(
    error: BaseException, count: int, delay: float, cap: float, cleared_after: int
) -> None:
    for retry in range(1, count + 1):
        decision = decide(error, retry, cleared_after=cleared_after)
        assert decision.action is RetryAction.RETRY
        assert 0 < decision.retry_delay.total_seconds() <= cap * 1.5
        assert f"retry {retry} of {count}" in decision.reason
    decision = decide(error, count + 1, cleared_after=cleared_after)
    assert decision.action is RetryAction.FAIL
    assert type(error).__name__ in decision.reason


def test_without_a_task_the_policy_s_own_number_counts() -> None:
    error = errors.Throttled("slow")
    assert POLICY.evaluate(error, 1, POLICY.most).action is RetryAction.RETRY
    assert POLICY.evaluate(error, POLICY.most + 1, POLICY.most).action is RetryAction.FAIL


def test_a_task_allowed_more_tries_than_the_policy_needs() -> None:
    context: Any = {"task": SimpleNamespace(retries=25)}
    assert "retry 1 of 3" in POLICY.evaluate(RuntimeError(), 1, 25, context).reason
    assert "retry 1 of 3" in POLICY.evaluate(RuntimeError(), 8, 7 + 25, context).reason


@given(
    st.builds(
        Backoff,
        count=st.integers(0, 100),
        delay=st.timedeltas(timedelta(0), timedelta(days=1)),
        growth=st.floats(1, 10),
        cap=st.timedeltas(timedelta(0), timedelta(days=7)),
        jitter=st.floats(0, 1),
    ),
    st.integers(1, 10_000),
    st.floats(0, 1),
)
def test_a_delay_stays_within_its_bounds(row: Backoff, number: int, chance: float) -> None:
    delay = row.before_retry(number, chance=chance).total_seconds()
    assert 0 <= delay <= row.cap.total_seconds() * (1 + row.jitter) + 1e-5
    middle = [row.before_retry(each, chance=0.5) for each in (number, number + 1)]
    assert middle[0] <= middle[1] <= row.cap, "without jitter delays only grow, up to the cap"


@pytest.mark.parametrize(
    ("chance", "seconds"), [(0, [1, 2, 4, 5, 5]), (0.5, [2, 4, 8, 10, 10]), (1, [3, 6, 12, 15, 15])]
)
def test_delays_grow_to_the_cap_with_jitter_around_them(chance: float, seconds: list[int]) -> None:
    row = Backoff(count=5, delay=timedelta(seconds=2), growth=2, cap=timedelta(seconds=10), jitter=0.5)
    assert [row.before_retry(number, chance=chance).total_seconds() for number in range(1, 6)] == seconds


def test_mapped_tasks_do_not_come_back_at_the_same_moment() -> None:
    delays = {decide(errors.Throttled("slow"), 5).retry_delay for _ in range(20)}
    assert len(delays) == 20


@pytest.mark.parametrize(
    ("failures", "number", "like"),
    [
        ([errors.Rejected("a"), errors.InDoubt("b")], 1, None),
        ([errors.Rejected("a"), errors.Throttled("b")], 1, errors.Throttled("b")),
        ([errors.Throttled("a"), errors.InFlight("b")], 1, errors.Throttled("a")),
        ([errors.NeverLeft("a"), errors.Throttled("b"), errors.InDoubt("c")], 1, errors.Throttled("b")),
        # Once those who come back soon have had their tries, the patient ones decide.
        ([errors.Throttled("a"), errors.AwaitingProof("b")], 10, errors.Throttled("a")),
        ([errors.Throttled("a"), errors.AwaitingProof("b")], 11, errors.AwaitingProof("b")),
        ([errors.Throttled("a"), errors.AwaitingProof("b")], 25, None),
        ([errors.AwaitingQuota("a"), errors.Throttled("b")], 1, errors.Throttled("b")),
        ([errors.AwaitingQuota("a"), errors.Rejected("b")], 24, errors.AwaitingQuota("a")),
        ([errors.InvalidInput(field="email", reason="r", remedy="m")], 1, None),
    ],
    ids=str,
)
def test_a_batch_is_tried_again_when_it_first_helps_somebody(
    monkeypatch: pytest.MonkeyPatch, failures: list[Any], number: int, like: BaseException | None
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.5)
    decision = POLICY.evaluate(errors.BatchIncomplete(failures, total=9), number, POLICY.most)
    if like is None:
        assert decision.action is RetryAction.FAIL
    else:
        assert decision.retry_delay == POLICY.evaluate(like, number, POLICY.most).retry_delay


def test_proof_that_comes_at_a_known_moment_is_waited_for_until_then() -> None:
    decision = POLICY.evaluate(errors.AwaitingProof("a", retry_after=900), 1, POLICY.most)
    assert decision.retry_delay is not None
    assert 900 <= decision.retry_delay.total_seconds() <= 910


def test_what_a_task_needs_to_follow_the_policy() -> None:
    assert POLICY.task_arguments == {"retry_policy": POLICY, "retries": 24, "retry_delay": AFTER_KILL}
    # The next try after a kill must find the claim past its deadline.
    assert Timing().window < AFTER_KILL


def test_rows_can_be_overridden_and_added() -> None:
    class Own(RuntimeError): ...

    policy = DeliveryRetryPolicy({errors.InDoubt: Backoff(count=30), Own: Backoff(count=1)})
    assert (policy.backoff(errors.InDoubt("x")).count, policy.backoff(Own()).count, policy.most) == (30, 1, 30)
    assert policy.backoff(errors.Throttled("x")) is RETRIES[errors.Throttled]
    assert POLICY.most == 24, "the default is left alone"
