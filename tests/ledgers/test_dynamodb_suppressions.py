"""Suppressions among DynamoDB's deliveries: neither finds the other, and no answer that was lost counts twice."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.suppression import Suppression
from sandbox.aws import LocalAws
from tests.fakes import make_claim, make_delivery
from tests.ledgers.dynamodb_wire import Wire, wire_to

pytestmark = pytest.mark.dynamodb
YESTERDAY = datetime.now(timezone.utc) - timedelta(days=1)


def suppression(
    address: str = "a@example.org", *, since: datetime = YESTERDAY, by: str = "event Bounce"
) -> Suppression:
    return Suppression(address=address, reason="gone", since=since, by=by, key="a" * 64)


@pytest.fixture
def wire(local_aws: LocalAws) -> Wire:
    return wire_to(local_aws)


@pytest.fixture
def ledger(wire: Wire, table: str) -> DynamoDBLedger:
    made = DynamoDBLedger(wire.client, table=table, patience=timedelta(seconds=20))
    made.prepare()
    wire.requests.clear()
    return made


def test_all_are_found_without_a_look_at_any_delivery(ledger: DynamoDBLedger, wire: Wire) -> None:
    for number in range(40):
        ledger.claim(make_claim(make_delivery(f"C-{number}")))
        ledger.suppressions.add(suppression(f"s-{number:02}@example.org"))
    ledger.suppressions.lift("s-07@example.org", by="support", reason="a new mailbox")
    found = []
    wire.client.meta.events.register("after-call.dynamodb.Query", lambda parsed, **_: found.extend(parsed["Items"]))
    wire.requests.clear()
    held = list(ledger.suppressions.all())
    assert [each.address for each in held] == [f"s-{number:02}@example.org" for number in range(40) if number != 7]
    assert held[0] == suppression("s-00@example.org")
    assert wire.requests == {"Query": 16, "BatchGetItem": 1}
    assert {item["key"]["S"].partition("#")[0] for item in found} == {"suppression"}


def test_questions_about_deliveries_find_no_suppression(ledger: DynamoDBLedger) -> None:
    delivery = make_delivery(campaign="suppressions", email="a@example.org")
    ledger.claim(make_claim(delivery))
    ledger.suppressions.add(suppression())
    assert [entry.key for entry in ledger.of_month("suppressions", "2030-01")] == [delivery.key]
    assert [entry.key for entry in ledger.of_address("a@example.org")] == [delivery.key]
    for period in ("", *"0123456789abcdef"):
        assert list(ledger.of_month("suppressions", period)) == []


def test_a_batch_of_addresses_is_a_question_for_each_hundred(ledger: DynamoDBLedger, wire: Wire) -> None:
    ledger.suppressions.add(suppression("s-3@example.org"))
    wire.requests.clear()
    asked = [f" S-{number}@example.ORG" for number in range(250)] + [f"s-{number}@example.org" for number in range(250)]
    assert list(ledger.suppressions.of(asked)) == [suppression("s-3@example.org")]
    assert wire.requests == {"BatchGetItem": 3}
    assert list(ledger.suppressions.of([])) == []


@pytest.mark.parametrize("lost", [1, 2], ids=["repeated by boto3", "repeated by us"])
def test_changes_whose_answers_are_lost_recognise_their_own_work(
    ledger: DynamoDBLedger, wire: Wire, table: str, lost: int
) -> None:
    wire.lose = lost
    assert ledger.suppressions.add(suppression()) is True
    assert ledger.suppressions.add(suppression()) is False
    assert wire.lose == 0
    wire.lose = lost
    assert ledger.suppressions.lift("a@example.org", by="support", reason="a new mailbox") == suppression()
    assert ledger.suppressions.lift("a@example.org", by="support", reason="a new mailbox") is None
    assert wire.lose == 0
    assert [line["state"]["S"] for line in history(wire, table)] == ["SUPPRESSED", "LIFTED"]


def test_who_lifted_it_and_why_is_kept(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    ledger.suppressions.add(suppression())
    ledger.suppressions.lift("A@example.org", by="support", reason="a new mailbox")
    item = stored(wire, table)
    assert not {"month_shard", "recipient_id", "expires_at", "email"} & set(item)
    lifted = item["history"]["L"][-1]["M"]
    assert (lifted["by"]["S"], lifted["note"]["S"]) == ("support", "a new mailbox")
    assert lifted["at"] == item["lifted_at"]


def test_what_happened_between_the_suppression_and_its_lifting_does_not_bring_it_back(ledger: DynamoDBLedger) -> None:
    ledger.suppressions.add(suppression())
    ledger.suppressions.lift("a@example.org", by="support", reason="a new mailbox")
    between = suppression(since=YESTERDAY + timedelta(hours=23), by="event Complaint")
    assert ledger.suppressions.add(between) is False
    after = suppression(since=datetime.now(timezone.utc) + timedelta(minutes=1), by="event Complaint")
    assert ledger.suppressions.add(after) is True
    assert ledger.suppressions.add(between) is False
    assert list(ledger.suppressions.all()) == [after]


def stored(wire: Wire, table: str) -> Any:
    key = {"key": {"S": "suppression#a@example.org"}}
    return wire.client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]


def history(wire: Wire, table: str) -> list[Any]:
    return [line["M"] for line in stored(wire, table)["history"]["L"]]
