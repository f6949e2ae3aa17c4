"""The governor at work: processes that share nothing but the ledger, and a server that enforces a rate.

``python -m benchmarks.governor --workers 20 --mails 2000`` does the same at full size.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.governor import ACCOUNT, Order, begin, delivery, measure, open_ledger, worker
from mailonce.states import State
from sandbox.aws import LocalAws
from sandbox.postgres import EmbeddedPostgres
from sandbox.ses import SesStandIn

RATE = 50


@pytest.fixture(
    params=[pytest.param("postgres", marks=pytest.mark.postgres), pytest.param("dynamodb", marks=pytest.mark.dynamodb)]
)
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a ledger that nobody has used; the workers find this package as the tests do."""
    root = Path(__file__).resolve().parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{root / 'plugins'}:{root}")
    if request.param == "postgres":
        server: EmbeddedPostgres = request.getfixturevalue("postgres")
        yield server.create_database(f"governor_{time.monotonic_ns()}")
    else:
        with LocalAws() as aws:
            yield aws.url


def test_all_together_stay_within_the_rate_and_use_it(store: str) -> None:
    found = measure(store, workers=6, mails=60, rate=RATE)
    assert (found.duplicates, found.missing) == (0, 0)
    assert found.throttled <= 0.005
    assert found.used >= 0.7
    assert found.spread <= 1.6, "one worker is served long before another"


@pytest.mark.postgres
@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_a_rate_that_is_set_too_high_is_found_out_together_and_nothing_is_lost(store: str) -> None:
    """And this is what the server would see without a governor: the bounds above can be missed."""
    found = measure(store, workers=4, mails=100, rate=RATE, limit=4 * RATE)
    assert (found.duplicates, found.missing) == (0, 0)
    assert 0.05 < found.throttled < 0.6
    assert found.used >= 0.7


@pytest.mark.postgres
@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_a_batch_killed_half_way_is_finished_by_a_retry_that_sends_only_what_is_missing(
    store: str, tmp_path: Path
) -> None:
    mails, threads = 300, 8
    keys = {delivery(0, number).key for number in range(mails)}
    with closing(open_ledger(store, threads=1)) as ledger, SesStandIn(latency=0.02) as ses:
        ledger.rate.limit(ACCOUNT, 200)
        order = Order(
            ledger=store, provider=ses.url, worker=0, mails=mails, threads=threads, journal=str(tmp_path / "journal")
        )
        with worker(order) as first:
            begin(first)
            while len(ses.mails) < mails // 2:
                time.sleep(0.01)
            first.kill()
            first.wait()
        time.sleep(0.2)
        sent = len(ses.mails)
        assert sent < mails
        with worker(order) as second:
            begin(second)
            assert second.wait(timeout=90) == 0
        times = Counter(mail.key for mail in ses.mails)
        assert set(times.values()) == {1}
        held = {entry.key for entry in ledger.find(keys) if entry.state is State.IN_DOUBT}
        assert len(held) <= threads, "only what was on the wire"
        assert set(times) | held == keys
        assert len(ses.requests) == len(ses.mails), "nobody is asked for twice"
