"""Events on DynamoDB's rows: many tellers at once, lost answers, few requests, and a second opinion on the expressions."""

from __future__ import annotations

import functools
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import product

import boto3
import pytest
from moto import mock_aws

from mailonce.delivery import Claim, Conclusion, Decision, Entry
from mailonce.events import Event, EventKind
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.ledgers.dynamodb.items import moment
from mailonce.states import State
from mailonce.suppression import Suppression
from sandbox.aws import REGION, LocalAws
from tests.fakes import make_claim, make_delivery
from tests.ledgers.dynamodb_wire import Wire, wire_to
from tests.ledgers.tools import NOON, ROUNDS, at_once, drive, gist, look, make_event, states_told

pytestmark = pytest.mark.dynamodb
BEFORE = [None, State.SENDING, State.SENT, State.REJECTED, State.CANCELLED]
"""In SENT the row knows of the mail m-1."""


def everything(claim: Claim) -> list[Event]:
    """Each kind of event, some of them again: about a second mail, at another moment, in other words."""
    told = functools.partial(make_event, claim, known=True)
    later = NOON + timedelta(hours=1)
    return [
        *(told(kind) for kind in EventKind),
        told(EventKind.SEND, "m-2"),
        told(EventKind.DELIVERY, "m-2"),
        told(EventKind.DELIVERY_DELAY, at=later, detail="greylisted"),
        told(EventKind.COMPLAINT, at=later, detail="abuse"),
        told(EventKind.COMPLAINT, "m-2", at=later, detail="fraud"),
    ]


def shuffled(events: list[Event], seed: int) -> list[Event]:
    """Each of them twice, in some order."""
    return random.Random(seed).sample(events * 2, k=2 * len(events))


def assert_knows_everything(entry: Entry, events: list[Event], before: State | None) -> None:
    fates = {event.id for event in events if event.fate}
    assert entry.event_ids == fates
    assert sorted([entry.message_id or "", *entry.duplicate_message_ids]) == ["m-1", "m-2"]
    assert (entry.state, entry.fate_detail, entry.fate_at) == (State.SENT, "fraud", NOON + timedelta(hours=1))
    evidence = [line for line in entry.history if (line["by"] or "").startswith("event ")]
    assert len(evidence) == len(fates) + (1 if before is State.SENT else 2)


@pytest.fixture
def wire(local_aws: LocalAws) -> Wire:
    return wire_to(local_aws)


@pytest.fixture
def ledger(wire: Wire, table: str) -> DynamoDBLedger:
    made = DynamoDBLedger(wire.client, table=table, patience=timedelta(seconds=20))
    made.prepare()
    return made


@pytest.mark.parametrize("kind", EventKind)
def test_the_event_of_a_recorded_mail_is_one_request(ledger: DynamoDBLedger, wire: Wire, kind: EventKind) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    wire.requests.clear()
    ledger.observe(make_event(claim, kind))
    assert wire.requests == {"UpdateItem": 1}
    ledger.observe(make_event(claim, kind))
    assert wire.requests == {"UpdateItem": 2}


@pytest.mark.parametrize("before", [None, State.SENDING, State.SENT])
@pytest.mark.parametrize("lost", [1, 2], ids=["repeated by boto3", "repeated by us"])
def test_an_event_whose_answer_is_lost_is_told_once(
    ledger: DynamoDBLedger, wire: Wire, before: State | None, lost: int
) -> None:
    for kind, message_id in product([EventKind.SEND, EventKind.BOUNCE], ["m-1", "m-2"]):
        claims = [drive(ledger, before, f"C-{kind.value}-{message_id}-{nth}") for nth in range(2)]
        first, second = (make_event(claim, kind, message_id, known=True) for claim in claims)
        wire.lose = lost
        entry = ledger.observe(first)
        assert wire.lose == 0
        undisturbed = ledger.observe(second)
        assert entry
        assert undisturbed
        assert states_told(entry) == states_told(undisturbed)
        assert gist(entry) == gist(look(ledger, claims[0]))
        assert (entry.fate, len(entry.event_ids)) == (undisturbed.fate, len(undisturbed.event_ids))
        assert entry.has_message(message_id)


@pytest.mark.parametrize("before", BEFORE)
def test_many_tell_at_once_in_any_order(ledger: DynamoDBLedger, pool: ThreadPoolExecutor, before: State | None) -> None:
    for number in range(max(2, ROUNDS // 8)):
        claim = drive(ledger, before, f"C-{number}")
        events = everything(claim)
        at_once(pool, [functools.partial(ledger.observe, event) for event in shuffled(events, number)])
        assert_knows_everything(look(ledger, claim), events, before)


@pytest.mark.parametrize("before", BEFORE)
def test_another_implementation_of_dynamodb_comes_to_the_same(before: State | None) -> None:
    """Two stand-ins, written by different people, read the expressions alike."""
    with mock_aws():
        ledger = DynamoDBLedger(boto3.client("dynamodb", region_name=REGION), table="ledger")
        for number in range(6):
            claim = drive(ledger, before, f"C-{number}")
            events = everything(claim)
            for event in shuffled(events, number):
                ledger.observe(event)
            assert_knows_everything(look(ledger, claim), events, before)


def test_how_a_fate_is_stored(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    claim = make_claim(make_delivery())
    event = make_event(claim, EventKind.DELIVERY, detail="250 ok", known=True)
    ledger.observe(event)
    key = {"key": {"S": claim.delivery.key}}
    item = wire.client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    assert (item["fate"], item["fate_at"], item["fate_detail"]) == (
        {"S": "DELIVERED"},
        {"S": moment(NOON)},
        {"S": "250 ok"},
    )
    assert item["event_ids"] == {"SS": [event.id]}
    assert item["month_shard"] == {"S": f"usage#2030-01#{claim.delivery.key[0]}"}
    assert "expires_at" not in item


def test_the_ledgers_other_items_are_no_deliveries(ledger: DynamoDBLedger) -> None:
    ledger.epoch.read()
    ledger.suppressions.add(Suppression(address="a@example.org", reason="gone", since=NOON, by="event Bounce"))
    others = ["ledger#epoch", "suppression#a@example.org"]
    assert list(ledger.find(others)) == []
    for key in others:
        assert ledger.decide(key, Decision(state=State.CANCELLED, by="support", reason="mistyped")) is None
        assert ledger.conclude(key, "token", Conclusion(state=State.REJECTED, error="mistyped")) is None
    assert len(list(ledger.suppressions.all())) == 1
