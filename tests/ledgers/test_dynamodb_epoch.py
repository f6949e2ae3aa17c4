"""Which ledger a DynamoDB table holds: made once, known again, and known to have been copied or restored."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from mailonce.errors import LedgerUnusable
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.ledgers.dynamodb.table import definition
from sandbox.aws import LocalAws
from tests.ledgers.dynamodb_wire import Wire, refusal, wire_to
from tests.ledgers.tools import NOON, at_once

pytestmark = pytest.mark.dynamodb


@pytest.fixture
def wire(local_aws: LocalAws) -> Wire:
    return wire_to(local_aws)


@pytest.fixture
def ledger(wire: Wire, table: str) -> DynamoDBLedger:
    made = opened(wire, table)
    made.prepare()
    wire.requests.clear()
    return made


def opened(wire: Wire, table: str) -> DynamoDBLedger:
    return DynamoDBLedger(wire.client, table=table, patience=timedelta(seconds=20))


def removed(wire: Wire, table: str) -> None:
    wire.client.update_table(TableName=table, DeletionProtectionEnabled=False)
    wire.client.delete_table(TableName=table)


def restored(wire: Wire, items: list[Any], table: str) -> None:
    """What a restore does: a new table, and the old items. The stand-in's own restore forgets the indexes."""
    wire.client.create_table(**definition(table))
    for item in items:
        wire.client.put_item(TableName=table, Item=item)


def stored(wire: Wire, table: str) -> Any:
    return wire.client.get_item(TableName=table, Key={"key": {"S": "ledger#epoch"}}, ConsistentRead=True)["Item"]


def test_the_table_is_asked_for_its_name_once(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    for _ in range(3):
        epoch = ledger.epoch.read()
        ledger.epoch.advance()
    assert not epoch.moved
    assert f"table/{table} " in epoch.home
    assert wire.requests["DescribeTable"] == 1


def test_of_many_first_users_one_makes_it(wire: Wire, table: str, pool: ThreadPoolExecutor) -> None:
    ledgers = [opened(wire, table) for _ in range(8)]
    read = at_once(pool, [ledger.epoch.read for ledger in ledgers])
    assert len({epoch.id for epoch in read}) == 1
    assert {(epoch.moved, epoch.runs) for epoch in read} == {(False, 0)}


def test_what_many_drained_is_the_latest(ledger: DynamoDBLedger, pool: ThreadPoolExecutor) -> None:
    moments = [NOON + timedelta(minutes=number * 7 % 16) for number in range(16)]
    at_once(pool, [functools.partial(ledger.epoch.drained, moment) for moment in moments])
    assert ledger.epoch.read().events_drained_at == max(moments)
    ledger.epoch.drained(NOON)
    assert ledger.epoch.read().events_drained_at == max(moments)


@pytest.mark.parametrize("lost", [1, 2], ids=["repeated by boto3", "repeated by us"])
def test_lost_answers(ledger: DynamoDBLedger, wire: Wire, table: str, lost: int) -> None:
    wire.lose = lost
    made = ledger.epoch.read()
    wire.lose = lost
    counted = ledger.epoch.advance()
    assert counted.runs >= 1
    assert (ledger.epoch.read().id, ledger.epoch.read().runs) == (made.id, counted.runs)
    wire.lose = lost
    adopted = ledger.epoch.adopt(by="operations", reason="restored")
    assert wire.lose == 0
    assert [line["M"]["id"]["S"] for line in stored(wire, table)["earlier"]["L"]] == [made.id]
    assert ledger.epoch.read().id == adopted.id


def test_whoever_finds_it_made_just_after_the_refusal_writes_all_the_same(
    ledger: DynamoDBLedger, wire: Wire, local_aws: LocalAws, table: str
) -> None:
    """There is nothing to change; but before we look at what there is, a rival has made it."""
    rival = opened(wire_to(local_aws), table)
    made = []

    def make_first(**_: Any) -> None:
        if not made:
            made.append(rival.epoch.read())

    wire.client.meta.events.register("before-send.dynamodb.BatchGetItem", make_first)
    assert ledger.epoch.advance().runs == 1
    made.clear()
    wire.client.delete_item(TableName=table, Key={"key": {"S": "ledger#epoch"}})
    ledger.epoch.drained(NOON)
    assert ledger.epoch.read().events_drained_at == NOON
    assert ledger.epoch.read().id == made[0].id


def test_an_answer_lost_in_the_middle_of_an_adoption(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    """The write itself is lost, not the look before it."""
    made = ledger.epoch.read()
    wire.client.meta.events.register_first("before-send.dynamodb.UpdateItem", lose_once(wire))
    adopted = ledger.epoch.adopt(by="operations", reason="restored")
    assert adopted.id != made.id
    assert len(stored(wire, table)["earlier"]["L"]) == 1


def lose_once(wire: Wire) -> Any:
    left = [1]

    def lose(**_: Any) -> None:
        if left:
            wire.lose = left.pop()

    return lose


def test_whoever_adopts_at_once_is_kept(
    ledger: DynamoDBLedger, wire: Wire, table: str, pool: ThreadPoolExecutor
) -> None:
    made = ledger.epoch.read()
    adopt = functools.partial(ledger.epoch.adopt, by="operations", reason="restored")
    adopted = at_once(pool, [adopt] * 8)
    earlier = [line["M"]["id"]["S"] for line in stored(wire, table)["earlier"]["L"]]
    assert earlier[0] == made.id
    assert sorted([*earlier[1:], ledger.epoch.read().id]) == sorted(epoch.id for epoch in adopted)


def test_a_restored_copy_knows_that_it_is_one_until_somebody_adopts_it(
    ledger: DynamoDBLedger, wire: Wire, table: str
) -> None:
    ledger.epoch.advance()
    ledger.epoch.drained(NOON)
    made = ledger.epoch.advance()
    restored(wire, wire.client.scan(TableName=table)["Items"], f"{table}_copy")
    copy = opened(wire, f"{table}_copy")
    found = copy.epoch.read()
    assert found.moved
    assert (found.id, found.home, found.runs, found.events_drained_at) == (made.id, made.home, 2, NOON)
    adopted = copy.epoch.adopt(by="operations", reason="the old region is gone")
    assert not adopted.moved
    assert (adopted.home, adopted.runs, adopted.events_drained_at) == (found.here, 2, NOON)
    assert adopted.id != made.id
    (line,) = stored(wire, f"{table}_copy")["earlier"]["L"]
    told = {name: value["S"] for name, value in line["M"].items()}
    moment = datetime.fromisoformat(told.pop("until"))
    assert abs(moment - datetime.now(timezone.utc)) < timedelta(seconds=20)
    assert told == {"id": made.id, "home": made.home, "by": "operations", "reason": "the old region is gone"}
    assert ledger.epoch.read().id == made.id


def test_a_backup_restored_under_the_same_name_is_another_table(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    made = ledger.epoch.advance()
    backup = wire.client.scan(TableName=table)["Items"]
    removed(wire, table)
    restored(wire, backup, table)
    found = opened(wire, table).epoch.read()
    assert (found.id, found.runs, found.moved) == (made.id, 1, True)


def test_a_table_made_anew_is_another_ledger_and_has_not_moved(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    made = ledger.epoch.advance()
    removed(wire, table)
    found = ledger.epoch.read()
    assert (found.runs, found.moved) == (0, False)
    assert found.id != made.id
    # Somebody else makes it anew, while we remember the name of the old one.
    removed(wire, table)
    assert opened(wire, table).epoch.read().id == ledger.epoch.read().id
    assert not ledger.epoch.read().moved


def test_a_stand_in_whose_tables_have_no_ids(wire: Wire, table: str) -> None:
    wire.client.meta.events.register(
        "after-call.dynamodb.DescribeTable", lambda parsed, **_: parsed.get("Table", {}).pop("TableId", None)
    )
    home = opened(wire, table).epoch.read().home
    assert opened(wire, table).epoch.read().here == home
    made = datetime.fromisoformat(home.split()[1])
    assert abs(made - datetime.now(timezone.utc)) < timedelta(seconds=20)


def test_a_role_that_may_not_ask_for_the_tables_name_is_told(ledger: DynamoDBLedger, wire: Wire) -> None:
    wire.client.meta.events.register("before-send.dynamodb.DescribeTable", denied)
    with pytest.raises(LedgerUnusable, match="DescribeTable"):
        ledger.epoch.read()


def denied(request: Any, **_: Any) -> Any:
    return refusal("AccessDeniedException")(request)
