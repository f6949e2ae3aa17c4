"""What leaves the DynamoDB ledger, seen in its items, and who may do it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from mailonce.errors import LedgerUnusable
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.privacy.person import erase_person, find_person
from mailonce.states import State
from tests.ledgers.test_postgres_privacy import ADDRESS, KEYS, PURGE, mail
from tests.ledgers.tools import drive

pytestmark = pytest.mark.dynamodb


@pytest.fixture
def ledger(dynamodb_client: Any, table: str) -> DynamoDBLedger:
    return DynamoDBLedger(dynamodb_client, table=table)


def test_no_item_holds_the_address_any_more(ledger: DynamoDBLedger, dynamodb_client: Any, table: str) -> None:
    mail(ledger)

    def everything() -> str:
        return str(dynamodb_client.scan(TableName=table, ConsistentRead=True)["Items"]).lower()

    assert everything().count(ADDRESS) > 5
    erase_person(ledger, find_person(ledger, ADDRESS, KEYS), KEYS, by="ann", reason=f"request of {ADDRESS}")
    assert ADDRESS not in everything()


def test_a_mark_is_no_delivery_and_keeps_who_took_it_away(
    ledger: DynamoDBLedger, dynamodb_client: Any, table: str
) -> None:
    drive(ledger, State.SENT, "C-1")
    ledger.privacy.mark(PURGE)
    assert [month.states for month in ledger.browser.months()] == [{State.SENT: 1}]
    ledger.privacy.reopen("usage", "2030-01", "original", by="bob", reason="restored")
    key = {"key": {"S": "purge#usage#2030-01#original"}}
    item = dynamodb_client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    lines = [(line["M"]["state"]["S"], line["M"]["by"]["S"]) for line in item["history"]["L"]]
    assert lines == [("PURGED", "ann"), ("REOPENED", "bob")]
    assert "month_shard" not in item


def test_who_may_not_delete_is_told_which_permission_is_missing(
    ledger: DynamoDBLedger, dynamodb_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(ledger, State.SENT, "C-1")

    def denied(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DeleteItem")

    monkeypatch.setattr(dynamodb_client, "delete_item", denied)
    with pytest.raises(LedgerUnusable, match="to purge and to erase DeleteItem"):
        ledger.privacy.purge("usage", "2030-01")
    assert len(list(ledger.of_month("usage", "2030-01"))) == 1
