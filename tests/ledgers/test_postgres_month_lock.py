"""The month's lock, between real sessions of a real PostgreSQL: who shares it, who waits, and what becomes of it."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier

import psycopg
import pytest

from mailonce.errors import LedgerUnavailable, MonthBusy, NotSent
from mailonce.ledgers.postgres.month_lock import MonthLock

pytestmark = pytest.mark.postgres
Make = Callable[..., MonthLock]

HOLD = """
import sys
from mailonce.ledgers.postgres.month_lock import MonthLock
with MonthLock(sys.argv[1], ledger="ledger", campaign=sys.argv[2], period="2026-10", run="first"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def campaign() -> str:
    """A month of its own for each test."""
    return uuid.uuid4().hex


@pytest.fixture
def lock(dsn: str, campaign: str) -> Make:
    def make(run: str = "first", **changes: str) -> MonthLock:
        return MonthLock(dsn, **{"ledger": "ledger", "campaign": campaign, "period": "2026-10", "run": run, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def held(lock: Make) -> Iterator[MonthLock]:
    with lock("first") as entered:
        yield entered


def take(lock: MonthLock) -> None:
    with lock:
        pass


def wait_until_free(lock: MonthLock) -> None:
    """Take the lock once the server has noticed that its owner is gone."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return take(lock)
        except MonthBusy:
            assert time.monotonic() < deadline, "the lock outlived its owner"
            time.sleep(0.05)


def test_another_run_is_turned_away_and_told_by_whom(held: MonthLock, lock: Make, campaign: str) -> None:
    with pytest.raises(MonthBusy, match=f"run first is at work on {campaign} 2026-10") as busy:
        take(lock("second"))
    assert isinstance(busy.value, NotSent)
    assert "nothing is to do" in str(busy.value)


def test_tasks_of_one_run_share_it_and_the_last_one_frees_it(lock: Make) -> None:
    with ExitStack() as tasks, lock("first"):
        tasks.enter_context(lock("first"))
        tasks.enter_context(lock("first"))
        with pytest.raises(MonthBusy):
            take(lock("second"))
        tasks.close()
        with pytest.raises(MonthBusy):
            take(lock("second"))
    take(lock("second"))


@pytest.mark.parametrize("other", [{"period": "2026-11"}, {"campaign": "other"}, {"ledger": "another"}])
def test_other_months_campaigns_and_ledgers_are_free(held: MonthLock, lock: Make, other: dict[str, str]) -> None:
    take(lock("second", **other))


def test_of_runs_that_begin_at_one_moment_exactly_one_has_it(lock: Make) -> None:
    runs = 8
    together, decided = Barrier(runs, timeout=60), Barrier(runs, timeout=60)

    def begin(run: int) -> bool:
        together.wait()
        try:
            with lock(f"run {run}"):
                decided.wait()
                return True
        except MonthBusy:
            decided.wait()
            return False

    with ThreadPoolExecutor(runs) as pool:
        for _ in range(5):
            assert sum(pool.map(begin, range(runs))) == 1


def test_a_failed_task_frees_it(lock: Make) -> None:
    with pytest.raises(RuntimeError), lock("first"):
        raise RuntimeError
    take(lock("second"))


def test_it_dies_with_its_process(lock: Make, dsn: str, campaign: str) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, dsn, campaign], stdin=-1, stdout=-1, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(MonthBusy):
            take(lock("second"))
        owner.kill()
        wait_until_free(lock("second"))


def test_a_lost_session_loses_the_quiet_says_so_and_stops_nobody(
    lock: Make, hand: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), lock("first run of a dag"):
        ended = hand.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = %s",
            ["mailonce first run of a dag"],
        )
        assert ended.fetchall() == [(True,)]
        take(lock("second"))
    assert "No mail goes out twice for that; only the quiet was lost" in caplog.text
    take(lock("third"))


def test_it_is_no_transaction_s_and_waits_for_no_idle_limit(held: MonthLock, hand: psycopg.Connection) -> None:
    found = hand.execute(
        "SELECT state, xact_start FROM pg_stat_activity WHERE application_name = 'mailonce first'"
    ).fetchall()
    # A transaction left open would keep vacuum from its work for as long as the month takes.
    assert found == [("idle", None)]
    assert held._connection is not None
    shown = held._connection.execute("SELECT current_setting('idle_session_timeout') AS limit").fetchone()
    assert shown == {"limit": "0"}


def test_a_database_that_is_away_is_tried_again_by_the_task(campaign: str) -> None:
    nobody = "host=127.0.0.1 port=1 dbname=ledger connect_timeout=2"
    with pytest.raises(LedgerUnavailable, match="month's lock"):
        take(MonthLock(nobody, ledger="ledger", campaign=campaign, period="2026-10", run="first"))
