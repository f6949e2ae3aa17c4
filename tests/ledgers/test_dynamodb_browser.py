"""What DynamoDB is asked to answer people's questions: how often, how much, and what happens where it takes too much."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mailonce.browsing import Search
from mailonce.errors import LedgerUnusable
from mailonce.ledgers.dynamodb import DynamoDBLedger, browser
from mailonce.states import State
from sandbox.aws import LocalAws
from tests.fakes import make_claim, make_delivery
from tests.ledgers.dynamodb_wire import Wire, refusal, wire_to
from tests.ledgers.tools import REJECTED, SENT

pytestmark = pytest.mark.dynamodb

HERE = Search(campaign="usage", period="2030-01")
ROWS = 120


@pytest.fixture
def wire(local_aws: LocalAws) -> Wire:
    return wire_to(local_aws)


@pytest.fixture
def ledger(wire: Wire, table: str) -> DynamoDBLedger:
    """120 rows, of which the last was rejected."""
    made = DynamoDBLedger(wire.client, table=table)
    for number in range(ROWS):
        claim = make_claim(make_delivery(f"C-{number:03}"))
        made.claim(claim)
        made.conclude(claim.delivery.key, claim.token, SENT if number < ROWS - 1 else REJECTED)
    wire.requests.clear()
    return made


def asked(wire: Wire, action: str) -> list[dict[str, Any]]:
    """Return a list that fills with the arguments of each request of a kind."""
    seen: list[dict[str, Any]] = []

    def note(request: Any, **_: Any) -> None:
        seen.append(json.loads(request.body))

    wire.client.meta.events.register(f"before-send.dynamodb.{action}", note)
    return seen


def test_a_delivery_is_two_writes_whoever_may_look_at_it_later(wire: Wire, table: str) -> None:
    ledger = DynamoDBLedger(wire.client, table=table)
    ledger.prepare()
    wire.requests.clear()
    claim = make_claim(make_delivery())
    ledger.claim(claim)
    ledger.conclude(claim.delivery.key, claim.token, SENT)
    assert wire.requests == {"UpdateItem": 2}


def test_a_page_is_one_look_into_each_part_of_the_month_and_one_at_the_rows(ledger: DynamoDBLedger, wire: Wire) -> None:
    page = ledger.browser.search(HERE)
    assert len(page.entries) == 50
    assert wire.requests == {"Query": 16, "BatchGetItem": 1}
    wire.requests.clear()
    page = ledger.browser.search(HERE, after=page.after)
    assert [entry.identity.recipient_id for entry in page.entries] == [f"C-{number:03}" for number in range(50, 100)]
    assert wire.requests == {"Query": 16, "BatchGetItem": 1}


def test_a_prefix_reads_no_rows_of_others(ledger: DynamoDBLedger, wire: Wire) -> None:
    read = asked(wire, "BatchGetItem")
    assert len(ledger.browser.search(Search(campaign="usage", period="2030-01", recipient_id="C-11")).entries) == 10
    assert sum(len(question["Keys"]) for request in read for question in request["RequestItems"].values()) == 10


def test_a_search_for_what_is_rare_stops_and_tells_where_to_go_on(
    ledger: DynamoDBLedger, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "READ_AT_MOST", 50)
    rejected = Search(campaign="usage", period="2030-01", states=frozenset({State.REJECTED}))
    after, found, pages = "", [], 0
    while not pages or after:
        page = ledger.browser.search(rejected, after=after)
        after, pages = page.after, pages + 1
        found += page.entries
    assert [entry.identity.recipient_id for entry in found] == [f"C-{ROWS - 1:03}"]
    assert pages == 3


def test_totals_of_one_month_read_the_month_and_nothing_else(ledger: DynamoDBLedger, wire: Wire) -> None:
    claim = make_claim(make_delivery(period="2029-12"))
    ledger.claim(claim)
    wire.requests.clear()
    read = asked(wire, "BatchGetItem")
    (totals,) = ledger.browser.totals("usage", "2030-01")
    assert totals.states == {State.SENT: ROWS - 1, State.REJECTED: 1}
    assert totals.changed_at
    assert set(wire.requests) == {"Query", "BatchGetItem"}
    questions = [question for request in read for question in request["RequestItems"].values()]
    assert sum(len(question["Keys"]) for question in questions) == ROWS
    assert all("history" not in question["ProjectionExpression"] for question in questions)


def test_months_and_recipients_are_scanned_for_in_parts(ledger: DynamoDBLedger, wire: Wire) -> None:
    assert [month.period for month in ledger.browser.months()] == ["2030-01"]
    assert wire.requests == {"Scan": 8}
    wire.requests.clear()
    assert len(list(ledger.browser.of_recipient("C-007"))) == 1
    assert wire.requests == {"Scan": 8, "BatchGetItem": 1}


def test_who_may_not_scan_is_told(ledger: DynamoDBLedger, wire: Wire) -> None:
    denied = refusal("AccessDeniedException")
    wire.client.meta.events.register("before-send.dynamodb.Scan", lambda request, **_: denied(request))
    with pytest.raises(LedgerUnusable, match=r"dynamodb:.*Scan"):
        ledger.browser.months()
    assert ledger.browser.search(HERE).entries, "this needs no scan"


def test_a_row_that_has_moved_to_another_month_is_found_there_only(
    ledger: DynamoDBLedger, wire: Wire, table: str
) -> None:
    """A key's recipe may leave the month out; the index follows the table after a moment."""
    key = make_delivery("C-000").key
    wire.client.update_item(
        TableName=table,
        Key={"key": {"S": key}},
        UpdateExpression="SET #period = :period",
        ExpressionAttributeNames={"#period": "period"},
        ExpressionAttributeValues={":period": {"S": "2030-02"}},
    )
    assert ledger.browser.search(HERE, limit=1).entries[0].identity.recipient_id == "C-001"
    assert sum(ledger.browser.totals("usage", "2030-01")[0].states.values()) == ROWS - 1


def test_lost_answers_are_asked_for_again(ledger: DynamoDBLedger, wire: Wire) -> None:
    wire.lose = 3
    assert sum(ledger.browser.months()[0].states.values()) == ROWS
    wire.lose = 3
    assert len(ledger.browser.search(HERE, limit=ROWS).entries) == ROWS
