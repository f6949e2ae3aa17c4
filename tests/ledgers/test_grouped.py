"""Group commit: who writes with whom, and what each is told. The contract and the races hold for it as for any ledger."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from mailonce.delivery import Claim, Conclusion, Entry
from mailonce.errors import LedgerUnavailable, LedgerUnusable
from mailonce.ledgers.base import Concluded
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.ledgers.group_commit import Group
from mailonce.ledgers.grouped import GroupedLedger, grouped
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.states import State
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery
from tests.ledgers.tools import IN_DOUBT, RELEASED, SENT, look

MINUTES = timedelta(minutes=3)


class SlowLedger(MemoryLedger):
    """Holds back each write until it is let through, and remembers which were written together."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[str, list[str]]] = []
        self.patience: list[timedelta | None] = []
        self.gate = threading.Semaphore(0)
        self.at_the_gate = threading.Semaphore(0)
        self.fails: Callable[[str], BaseException | None] = lambda _name: None

    def claim(self, claim: Claim) -> Entry:
        self._pass("claim", [claim.delivery.key])
        return super().claim(claim)

    def claim_many(self, claims: Sequence[Claim]) -> list[Entry]:
        self._pass("claims", [claim.delivery.key for claim in claims])
        return super().claim_many(claims)

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        self.patience.append(patience)
        self._pass("conclusion", [key])
        return super().conclude(key, token, conclusion, patience=patience)

    def conclude_many(
        self, conclusions: Sequence[Concluded], *, patience: timedelta | None = None
    ) -> list[Entry | None]:
        self.patience.append(patience)
        self._pass("conclusions", [key for key, _, _ in conclusions])
        return super().conclude_many(conclusions, patience=patience)

    def _pass(self, name: str, keys: list[str]) -> None:
        self.at_the_gate.release()
        assert self.gate.acquire(timeout=30)
        self.written.append((name, sorted(keys)))
        if failure := self.fails(name):
            raise failure


@pytest.fixture
def slow() -> SlowLedger:
    return SlowLedger()


def waiting(group: Group[Any, Any]) -> int:
    return len(group._waiting)


@contextmanager
def behind(slow: SlowLedger, pool: ThreadPoolExecutor, works: list[Callable[[], Any]]) -> Iterator[list[Future[Any]]]:
    """Start the first, and the others while its write is under way; all have asked when the block begins."""
    futures = [pool.submit(works[0])]
    assert slow.at_the_gate.acquire(timeout=30)
    futures += [pool.submit(work) for work in works[1:]]
    yield futures
    slow.gate.release(100)


def until(holds: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(3000):
        if holds():
            return
        done.wait(0.01)
    raise TimeoutError


def claims(count: int) -> list[Claim]:
    return [make_claim(make_delivery(f"C-{number}")) for number in range(count)]


def keys(some: Sequence[Claim]) -> list[str]:
    return sorted(claim.delivery.key for claim in some)


def claim_together(slow: SlowLedger, pool: ThreadPoolExecutor, some: Sequence[Claim]) -> list[Future[Entry]]:
    ledger = GroupedLedger(slow)
    works = [lambda claim=claim: ledger.claim(claim) for claim in some]
    with behind(slow, pool, works) as futures:
        until(lambda: waiting(ledger._claims) == len(some) - 1)
    return futures


def test_a_thread_alone_makes_the_single_call(slow: SlowLedger) -> None:
    slow.gate.release(100)
    ledger = GroupedLedger(slow)
    (claim,) = claims(1)
    assert ledger.claim(claim).token == claim.token
    assert ledger.conclude(claim.delivery.key, claim.token, SENT, patience=MINUTES)
    assert [name for name, _ in slow.written] == ["claim", "conclusion"]
    assert slow.patience == [MINUTES]


def test_who_comes_during_a_write_shares_the_next(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    some = claims(5)
    futures = claim_together(slow, pool, some)
    assert [future.result().token for future in futures] == [claim.token for claim in some]
    assert slow.written == [("claim", keys(some[:1])), ("claims", keys(some[1:]))]


def test_nobody_waits_for_a_claim_to_write_a_conclusion(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    claim, other = claims(2)
    MemoryLedger.claim(slow, claim)
    ledger = GroupedLedger(slow)
    works = [lambda: ledger.claim(other), lambda: ledger.conclude(claim.delivery.key, claim.token, SENT)]
    with behind(slow, pool, works):
        assert slow.at_the_gate.acquire(timeout=30), "both are on their way"


def test_of_one_key_each_gets_its_own_turn(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    first, second = claims(2)
    again = [make_claim(second.delivery) for _ in range(2)]
    futures = claim_together(slow, pool, [first, second, *again])
    assert {future.result().token for future in futures[1:]} <= {claim.token for claim in (second, *again)}
    assert len({future.result().token for future in futures[1:]}) == 1
    assert look(slow, second).attempt == 1


def test_doubt_and_proof_of_one_key_in_one_moment(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    first, second = claims(2)
    for claim in (first, second):
        MemoryLedger.claim(slow, claim)
    ledger = GroupedLedger(slow)
    key, token = second.delivery.key, second.token
    works = [
        lambda: ledger.conclude(first.delivery.key, first.token, RELEASED),
        lambda: ledger.conclude(key, token, IN_DOUBT),
        lambda: ledger.conclude(key, token, SENT),
    ]
    with behind(slow, pool, works):
        until(lambda: waiting(ledger._conclusions[None]) == 2)
    pool.shutdown()
    assert look(slow, second).state is State.SENT


def test_a_ledger_that_is_away_is_away_for_the_whole_group(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    slow.fails = lambda name: LedgerUnavailable("gone") if name == "claims" else None
    futures = claim_together(slow, pool, claims(4))
    assert futures[0].result()
    errors = [future.exception() for future in futures[1:]]
    assert [(type(error), str(error)) for error in errors] == [(LedgerUnavailable, "gone")] * 3
    assert len({id(error) for error in errors}) == 3, "each thread adds its own traceback"
    assert len(slow.written) == 2, "nobody tries once more for himself"


def test_a_row_that_is_refused_does_not_fail_the_others(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    some = claims(4)
    slow.fails = lambda name: LedgerUnusable("one of them") if name == "claims" else None
    futures = claim_together(slow, pool, some)
    assert [future.result().token for future in futures] == [claim.token for claim in some]
    assert [name for name, _ in slow.written] == ["claim", "claims", "claim", "claim", "claim"]


def test_a_leader_that_is_told_to_stop_leaves_nobody_waiting(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    some = claims(4)
    slow.fails = lambda name: KeyboardInterrupt() if name == "claims" else None
    futures = claim_together(slow, pool, some)
    stopped = [future for future in futures if isinstance(future.exception(timeout=30), KeyboardInterrupt)]
    assert len(stopped) == 1
    assert len([future.result() for future in futures if future not in stopped]) == 3


def test_one_who_leaves_the_queue_is_not_written_and_not_waited_for(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    first, left, last = claims(3)
    ledger = GroupedLedger(slow)
    with behind(slow, pool, [lambda: ledger.claim(first), lambda: ledger.claim(left)]) as futures:
        until(lambda: waiting(ledger._claims) == 1)
        turn = ledger._claims._waiting[0]
        ledger._claims._leave(turn)
        futures.append(pool.submit(lambda: ledger.claim(last)))
        until(lambda: waiting(ledger._claims) == 1)
    assert [futures[number].result(timeout=30).state for number in (0, 2)] == [State.SENDING] * 2
    turn.come.release()
    assert ("claims", keys([left, last])) not in slow.written


def test_only_the_same_patience_shares_a_group(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    some = claims(5)
    for claim in some:
        MemoryLedger.claim(slow, claim)
    ledger = GroupedLedger(slow)
    patience = [None, None, None, MINUTES, MINUTES]
    works = [
        lambda claim=claim, much=much: ledger.conclude(claim.delivery.key, claim.token, SENT, patience=much)
        for claim, much in zip(some, patience, strict=True)
    ]
    with behind(slow, pool, works) as futures:
        until(lambda: waiting(ledger._conclusions[None]) == 2)
        until(lambda: MINUTES in ledger._conclusions)
    assert all(future.result(timeout=30) for future in futures)
    shared = [(name, much) for (name, _), much in zip(slow.written, slow.patience, strict=False)]
    assert ("conclusions", None) in [(name, None) for name, _ in shared]
    assert set(slow.patience) == {None, MINUTES}


def test_only_a_ledger_that_can_is_grouped(dsn: str, dynamodb_client: Any) -> None:
    one_by_one = DynamoDBLedger(dynamodb_client, table="unused")
    assert grouped(one_by_one) is one_by_one
    assert isinstance(grouped(PostgresLedger(dsn)), GroupedLedger)


@pytest.mark.postgres
def test_postgres_writes_many_rows_as_one_by_one(dsn: str, table: str) -> None:
    ledger = PostgresLedger(dsn, table=table)
    some = claims(40)
    taken, released = some[0], some[1]
    rivals = [make_claim(claim.delivery, by="rival") for claim in (taken, released)]
    for rival in rivals:
        ledger.claim(rival)
    ledger.conclude(released.delivery.key, rivals[1].token, RELEASED)

    entries = ledger.claim_many(some)
    assert [entry.key for entry in entries] == [claim.delivery.key for claim in some]
    assert [entry.token for entry in entries] == [rivals[0].token, *(claim.token for claim in some[1:])]
    assert [entry.attempt for entry in entries] == [1, 2, *[1] * 38]
    assert [entry.token for entry in ledger.claim_many(some)] == [entry.token for entry in entries]

    stranger = make_delivery("nobody").key
    ends = [SENT, RELEASED, IN_DOUBT]
    told = [(claim.delivery.key, claim.token, ends[number % 3]) for number, claim in enumerate(some)]
    after = ledger.conclude_many([*told, (stranger, str(uuid.uuid4()), SENT)])
    assert after[0] is not None
    assert after[0].state is State.SENDING, "taken by a rival"
    assert [entry and entry.state for entry in after[1:]] == [*(end.state for _, _, end in told[1:]), None]
    assert all(entry.history[-1]["by"] == "worker" for entry in after[1:] if entry)
    ledger.close()


@pytest.mark.postgres
def test_groups_that_overlap_never_block_each_other(dsn: str, table: str, pool: ThreadPoolExecutor) -> None:
    """Each with its keys in another order: a deadlock would fail one of them."""
    ledgers = [PostgresLedger(dsn, table=table, patience=timedelta(0)) for _ in range(4)]
    ledgers[0].prepare()
    for number in range(10):
        deliveries = [make_delivery(f"C-{number}-{each}") for each in range(200)]

        def work(index: int, deliveries: list[Any] = deliveries) -> int:
            turned = deliveries[index * 50 :] + deliveries[: index * 50]
            mine = [make_claim(delivery) for delivery in (turned if index % 2 else turned[::-1])]
            won = [
                claim
                for claim, entry in zip(mine, ledgers[index].claim_many(mine), strict=True)
                if entry.token == claim.token
            ]
            everybody = [(claim.delivery.key, claim.token, SENT) for claim in mine]
            ledgers[index].conclude_many(everybody)
            return len(won)

        assert sum(pool.map(work, range(4))) == 200
        found = list(ledgers[0].find(delivery.key for delivery in deliveries))
        assert {(entry.state, len(entry.history)) for entry in found} == {(State.SENT, 2)}
    for ledger in ledgers:
        ledger.close()
