"""Many at once on one key: in every round exactly one wins, and everybody is told the same.

``MAILONCE_RACE_ROUNDS`` sets the number of rounds.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from mailonce.delivery import Claim, Conclusion, Decision, Receipt, Timing
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from tests.fakes import make_claim, make_delivery
from tests.ledgers.conftest import THREADS, MakeLedger
from tests.ledgers.tools import ROUNDS, SETTLED_AT_ONCE, at_once


def test_of_many_claims_one_wins(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    ledger.prepare()
    for number in range(ROUNDS):
        claims = [make_claim(make_delivery(f"C-{number}"), by=f"worker {racer}") for racer in range(THREADS)]
        entries = at_once(pool, [functools.partial(ledger.claim, claim) for claim in claims])
        winners = [claim.token for claim, entry in zip(claims, entries, strict=True) if entry.token == claim.token]
        assert len(winners) == 1, f"round {number}: {len(winners)} winners"
        assert {entry.token for entry in entries} == set(winners)
        assert {(entry.state, entry.attempt, len(entry.history)) for entry in entries} == {(State.SENDING, 1, 1)}


def test_the_same_claim_made_many_times_at_once_is_one_attempt(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    ledger.prepare()
    for number in range(ROUNDS // 4):
        claim = make_claim(make_delivery(f"C-{number}"))
        entries = at_once(pool, [functools.partial(ledger.claim, claim)] * 8)
        assert {(entry.token, entry.attempt, len(entry.history)) for entry in entries} == {(claim.token, 1, 1)}


def test_an_expired_row_is_claimed_by_one(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    ledger.prepare()
    for number in range(ROUNDS // 4):
        old = make_claim(make_delivery(f"C-{number}"), timing=Timing(retention=timedelta(seconds=-1)))
        ledger.claim(old)
        ledger.conclude(old.delivery.key, old.token, Conclusion(state=State.SENT, message_id="m"))
        claims = [make_claim(old.delivery) for _ in range(8)]
        entries = at_once(pool, [functools.partial(ledger.claim, claim) for claim in claims])
        assert sum(entry.token == claim.token for claim, entry in zip(claims, entries, strict=True)) == 1
        assert {(entry.attempt, len(entry.history)) for entry in entries} == {(1, 1)}


def test_claims_and_releases_never_have_two_owners(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    """Workers claim, hold and release one key again and again; no two ever hold it together."""
    ledger.prepare()
    delivery = make_delivery()
    inside = threading.Semaphore(1)
    attempts = max(4, ROUNDS // 8)

    def worker(name: str) -> int:
        wins = 0
        for _ in range(attempts):
            claim = make_claim(delivery, by=name)
            entry = ledger.claim(claim)
            if entry.token != claim.token:
                continue
            wins += 1
            assert inside.acquire(blocking=False), "two owners at once"
            inside.release()
            ledger.conclude(delivery.key, claim.token, Conclusion(state=State.RELEASED, error="slow down"))
        return wins

    wins = sum(at_once(pool, [functools.partial(worker, f"worker {n}") for n in range(8)]))
    (entry,) = ledger.find([delivery.key])
    assert entry.state is State.RELEASED
    assert (entry.attempt, len(entry.history)) == (wins, 2 * wins)


def test_the_owners_answer_beats_the_doubt_of_others(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    ledger.prepare()
    doubt = Conclusion(state=State.IN_DOUBT, error="left no answer")
    for number in range(ROUNDS):
        claim = claimed(ledger, number)
        key, token = claim.delivery.key, claim.token
        sent = Conclusion(state=State.SENT, message_id="m-1")
        works = [functools.partial(ledger.conclude, key, token, what) for what in (doubt, sent, doubt, doubt)]
        at_once(pool, works)
        (entry,) = ledger.find([key])
        assert (entry.state, entry.message_id) == (State.SENT, "m-1")
        assert Counter(line["state"] for line in entry.history)["SENT"] == 1
        assert Counter(line["state"] for line in entry.history)["IN_DOUBT"] <= 1


def test_an_answer_and_a_release_exclude_each_other(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    """Either the owner's acceptance stands and the release changes nothing, or the other way round."""
    ledger.prepare()
    outcomes: Counter[State] = Counter()
    for number in range(ROUNDS):
        claim = claimed(ledger, number)
        key, token = claim.delivery.key, claim.token
        ledger.conclude(key, token, Conclusion(state=State.IN_DOUBT, error="no answer"))
        release = Decision(state=State.RELEASED, by="support", reason="not at the provider", token=token)
        told = at_once(pool, [
            functools.partial(ledger.conclude, key, token, Conclusion(state=State.SENT, message_id="m-1")),
            functools.partial(ledger.decide, key, release),
        ])  # fmt: skip
        (entry,) = ledger.find([key])
        assert len(entry.history) == 3
        outcomes[entry.state] += 1
        assert {answer.state for answer in told if answer} == {entry.state}
    assert set(outcomes) <= {State.SENT, State.RELEASED}


def test_no_proof_is_lost(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    ledger.prepare()
    for number in range(ROUNDS // 4):
        delivery = make_delivery(f"C-{number}")
        receipts = [Receipt(key=delivery.key, message_id=f"m-{n % 4}") for n in range(8)]
        at_once(pool, [functools.partial(ledger.witness, receipt, delivery) for receipt in receipts])
        (entry,) = ledger.find([delivery.key])
        assert sorted([entry.message_id or "", *entry.duplicate_message_ids]) == ["m-0", "m-1", "m-2", "m-3"]
        assert len(entry.history) == 4


def test_a_fresh_table_is_made_by_many_at_once(make_ledger: MakeLedger, pool: ThreadPoolExecutor) -> None:
    ledgers = [make_ledger() for _ in range(8)]
    claims = [make_claim(make_delivery()) for _ in ledgers]
    pairs = list(zip(ledgers, claims, strict=True))
    entries = at_once(pool, [functools.partial(ledger.claim, claim) for ledger, claim in pairs])
    assert sum(entry.token == claim.token for claim, entry in zip(claims, entries, strict=True)) == 1


def claimed(ledger: Ledger, number: int) -> Claim:
    claim = make_claim(make_delivery(f"C-{number}"), timing=SETTLED_AT_ONCE)
    ledger.claim(claim)
    return claim
