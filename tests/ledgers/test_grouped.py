"""Group commit: who writes with whom, and what each is told. The contract and the races hold for it as for any ledger."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
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

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        self.patience.append(patience)
        self._pass("conclusion", [key])
        return super().conclude(key, token, conclusion, patience=patience)

    def write_many(
        self, claims: Sequence[Claim], conclusions: Sequence[Concluded]
    ) -> tuple[list[Entry], list[Entry | None]]:
        keys = [*(claim.delivery.key for claim in claims), *(key for key, _, _ in conclusions)]
        self._pass(f"{len(claims)} claims, {len(conclusions)} conclusions", keys)
        return super().write_many(claims, conclusions)

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
        until(lambda: waiting(ledger._group) == len(some) - 1)
    return futures


def test_a_thread_alone_makes_the_single_call(slow: SlowLedger) -> None:
    slow.gate.release(100)
    ledger = GroupedLedger(slow)
    (claim,) = claims(1)
    assert ledger.claim(claim).token == claim.token
    assert ledger.conclude(claim.delivery.key, claim.token, SENT, patience=MINUTES)
    assert [name for name, _ in slow.written] == ["claim", "conclusion"]


def test_who_comes_during_a_write_shares_the_next(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    some = claims(5)
    futures = claim_together(slow, pool, some)
    assert [future.result().token for future in futures] == [claim.token for claim in some]
    assert slow.written == [("claim", keys(some[:1])), ("4 claims, 0 conclusions", keys(some[1:]))]


def test_claims_and_conclusions_share_a_write(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    first, sent, claimed = claims(3)
    MemoryLedger.claim(slow, sent)
    ledger = GroupedLedger(slow)
    works = [
        lambda: ledger.claim(first),
        lambda: ledger.conclude(sent.delivery.key, sent.token, SENT),
        lambda: ledger.claim(claimed),
    ]
    with behind(slow, pool, works) as futures:
        until(lambda: waiting(ledger._group) == 2)
    assert [future.result().key for future in futures] == [claim.delivery.key for claim in (first, sent, claimed)]
    assert [future.result().state for future in futures] == [State.SENDING, State.SENT, State.SENDING]
    assert slow.written[1] == ("1 claims, 1 conclusions", keys([sent, claimed]))


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
        until(lambda: waiting(ledger._group) == 2)
    pool.shutdown()
    assert look(slow, second).state is State.SENT


def test_a_ledger_that_is_away_is_away_for_the_whole_group(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    slow.fails = lambda name: LedgerUnavailable("gone") if name.startswith("3 ") else None
    futures = claim_together(slow, pool, claims(4))
    assert futures[0].result()
    errors = [future.exception() for future in futures[1:]]
    assert [(type(error), str(error)) for error in errors] == [(LedgerUnavailable, "gone")] * 3
    assert len({id(error) for error in errors}) == 3, "each thread adds its own traceback"
    assert len(slow.written) == 2, "nobody tries once more for himself"


def test_a_row_that_is_refused_does_not_fail_the_others(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    some = claims(4)
    slow.fails = lambda name: LedgerUnusable("one of them") if name.startswith("3 ") else None
    futures = claim_together(slow, pool, some)
    assert [future.result().token for future in futures] == [claim.token for claim in some]
    assert [name for name, _ in slow.written] == ["claim", "3 claims, 0 conclusions", "claim", "claim", "claim"]


def test_a_leader_that_is_told_to_stop_leaves_nobody_waiting(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    some = claims(4)
    slow.fails = lambda name: KeyboardInterrupt() if name.startswith("3 ") else None
    futures = claim_together(slow, pool, some)
    stopped = [future for future in futures if isinstance(future.exception(timeout=30), KeyboardInterrupt)]
    assert len(stopped) == 1
    assert len([future.result() for future in futures if future not in stopped]) == 3


def test_one_who_leaves_the_queue_is_not_written_and_not_waited_for(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    first, left, last = claims(3)
    ledger = GroupedLedger(slow)
    with behind(slow, pool, [lambda: ledger.claim(first), lambda: ledger.claim(left)]) as futures:
        until(lambda: waiting(ledger._group) == 1)
        turn = ledger._group._waiting[0]
        ledger._group._leave(turn)
        futures.append(pool.submit(lambda: ledger.claim(last)))
        until(lambda: waiting(ledger._group) == 1)
    assert [futures[number].result(timeout=30).state for number in (0, 2)] == [State.SENDING] * 2
    turn.come.release()
    assert keys([left, last]) not in [written for _, written in slow.written]


def test_who_has_patience_goes_on_when_the_group_has_given_up(slow: SlowLedger, pool: ThreadPoolExecutor) -> None:
    some = claims(3)
    for claim in some:
        MemoryLedger.claim(slow, claim)
    slow.fails = lambda name: LedgerUnavailable("gone") if name.startswith("0 claims, 2") else None
    ledger = GroupedLedger(slow)
    works = [
        lambda claim=claim, much=much: ledger.conclude(claim.delivery.key, claim.token, SENT, patience=much)
        for claim, much in zip(some, [None, None, MINUTES], strict=True)
    ]
    with behind(slow, pool, works) as futures:
        until(lambda: waiting(ledger._group) == 2)
    assert isinstance(futures[1].exception(timeout=30), LedgerUnavailable)
    assert futures[2].result(timeout=30)
    assert slow.patience[-1] == MINUTES


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

    entries, _ = ledger.write_many(some, [])
    assert [entry.key for entry in entries] == [claim.delivery.key for claim in some]
    assert [entry.token for entry in entries] == [rivals[0].token, *(claim.token for claim in some[1:])]
    assert [entry.attempt for entry in entries] == [1, 2, *[1] * 38]
    assert [entry.token for entry in ledger.write_many(some, [])[0]] == [entry.token for entry in entries]

    stranger = make_delivery("nobody").key
    ends = [SENT, RELEASED, IN_DOUBT]
    told = [(claim.delivery.key, claim.token, ends[number % 3]) for number, claim in enumerate(some)]
    newcomers = [make_claim(make_delivery(f"new-{number}")) for number in range(3)]
    claimed, after = ledger.write_many(newcomers, [*told, (stranger, str(uuid.uuid4()), SENT)])
    assert [entry.token for entry in claimed] == [claim.token for claim in newcomers]
    assert after[0] is not None
    assert after[0].state is State.SENDING, "taken by a rival"
    assert [entry and entry.state for entry in after[1:]] == [*(end.state for _, _, end in told[1:]), None]
    assert all(entry.history[-1]["by"] == "worker" for entry in after[1:] if entry)
    ledger.close()


@pytest.mark.postgres
def test_a_first_write_of_claims_and_conclusions_makes_the_table(dsn: str, table: str) -> None:
    ledger = PostgresLedger(dsn, table=table)
    new, old = claims(2)
    claimed, concluded = ledger.write_many([new], [(old.delivery.key, old.token, SENT)])
    assert (claimed[0].token, concluded) == (new.token, [None])
    ledger.close()


@pytest.mark.postgres
def test_groups_that_overlap_never_block_each_other(dsn: str, table: str, pool: ThreadPoolExecutor) -> None:
    """Four workers claim the same mails, each in another order, and conclude in the same write what they won before."""
    ledgers = [PostgresLedger(dsn, table=table, connections=1) for _ in range(4)]
    ledgers[0].prepare()
    deadlocks = deadlocks_of(dsn)
    deliveries = [make_delivery(f"C-{number}") for number in range(800)]

    def work(index: int) -> int:
        turned = deliveries[index * 7 :] + deliveries[: index * 7]
        won: list[Claim] = []
        pages = [turned[start : start + 20] for start in range(0, len(turned), 20)]
        for page in [*pages, []]:
            mine = [make_claim(delivery) for delivery in (page if index % 2 else page[::-1])]
            ends = [(claim.delivery.key, claim.token, SENT) for claim in won if claim.delivery not in page]
            entries, concluded = ledgers[index].write_many(mine, ends)
            assert [entry and entry.state for entry in concluded] == [State.SENT] * len(ends)
            won = [claim for claim, entry in zip(mine, entries, strict=True) if entry.token == claim.token]
            total.append(len(won))
        return len(won)

    total: list[int] = []
    list(pool.map(work, range(4)))
    assert sum(total) == len(deliveries)
    found = list(ledgers[0].find(delivery.key for delivery in deliveries))
    assert {(entry.state, len(entry.history)) for entry in found} == {(State.SENT, 2)}
    assert deadlocks_of(dsn) == deadlocks
    for ledger in ledgers:
        ledger.close()


def deadlocks_of(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[1])
