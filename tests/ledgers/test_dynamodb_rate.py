"""What is DynamoDB's own of the pace: few requests, lost answers, clocks that disagree."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from mailonce.ledgers.dynamodb import DynamoDBLedger
from sandbox.aws import LocalAws
from tests.ledgers.dynamodb_wire import Wire, wire_to

pytestmark = pytest.mark.dynamodb

ACCOUNT = "aws_default"


@pytest.fixture
def wire(local_aws: LocalAws) -> Wire:
    return wire_to(local_aws)


def opened(wire: Wire, table: str, ahead: float = 0.0) -> DynamoDBLedger:
    """A worker's ledger. ``ahead``: seconds by which its clock is, less than DynamoDB's answers can tell."""
    return DynamoDBLedger(
        wire.client,
        table=table,
        patience=timedelta(seconds=20),
        clock=lambda: datetime.now(timezone.utc) + timedelta(seconds=ahead),
    )


@pytest.fixture
def ledger(wire: Wire, table: str) -> DynamoDBLedger:
    made = opened(wire, table)
    made.rate.limit(ACCOUNT, 10)
    wire.requests.clear()
    return made


def stored(wire: Wire, table: str) -> Any:
    key = {"key": {"S": f"ledger#rate#{ACCOUNT}"}}
    return wire.client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]


def test_a_reservation_is_one_request(ledger: DynamoDBLedger, wire: Wire) -> None:
    for _ in range(20):
        assert ledger.rate.reserve(ACCOUNT, 3)
    # The first one finds the account idle; the next expects slots ahead.
    assert wire.requests == {"UpdateItem": 20}


def test_rivals_cost_each_other_no_request(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    rival = opened(wire, table)
    rival.rate.reserve(ACCOUNT, 30)
    ledger.rate.reserve(ACCOUNT, 1)
    wire.requests.clear()
    for _ in range(10):
        rival.rate.reserve(ACCOUNT, 1)
        ledger.rate.reserve(ACCOUNT, 1)
    assert wire.requests == {"UpdateItem": 20}


def test_a_change_of_the_rate_costs_each_one_request_more(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    opened(wire, table).rate.limit(ACCOUNT, 20)
    wire.requests.clear()
    reservation = ledger.rate.reserve(ACCOUNT, 1)
    assert reservation
    assert reservation.spacing == 0.05
    assert wire.requests == {"UpdateItem": 2}


@pytest.mark.parametrize("lost", [1, 2], ids=["repeated by boto3", "repeated by us"])
def test_lost_answers_waste_slots_and_hand_none_out_twice(
    ledger: DynamoDBLedger, wire: Wire, table: str, lost: int
) -> None:
    before = ledger.rate.reserve(ACCOUNT, 100)
    wire.lose = lost
    reservation = ledger.rate.reserve(ACCOUNT, 10)
    assert before
    assert reservation
    assert reservation.wait == pytest.approx(10 + lost * 1, abs=2)
    wire.lose = lost
    ledger.rate.throttled(ACCOUNT)
    wire.lose = lost
    ledger.rate.limit(ACCOUNT, 40)
    assert wire.lose == 0
    assert float(stored(wire, table)["maximum"]["N"]) == 40
    assert float(stored(wire, table)["share"]["N"]) == pytest.approx(0.7)


def test_clocks_that_disagree_share_one_timetable(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    """Each takes its slots on its own clock; on the timetable they follow each other."""
    workers = [opened(wire, table, ahead) for ahead in (-1.0, 0.0, 1.0)]
    ends = []
    for number in range(12):
        assert workers[number % 3].rate.reserve(ACCOUNT, 5)
        ends.append(int(stored(wire, table)["free_from"]["N"]))
    assert all(after - before >= 500_000 for before, after in itertools.pairwise(ends))


def test_a_table_made_anew_knows_no_limit(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    assert ledger.rate.reserve(ACCOUNT, 1)
    wire.client.delete_item(TableName=table, Key={"key": {"S": f"ledger#rate#{ACCOUNT}"}})
    assert ledger.rate.reserve(ACCOUNT, 1) is None
    ledger.rate.limit(ACCOUNT, 5)
    reservation = ledger.rate.reserve(ACCOUNT, 1)
    assert reservation
    assert reservation.spacing == 0.2
