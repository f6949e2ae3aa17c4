"""What is DynamoDB's own: lost answers, throttling, few requests, clocks that disagree, tables that are no ledger."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from mailonce.delivery import Conclusion, Receipt, Timing
from mailonce.errors import InvalidInput, LedgerUnavailable, LedgerUnusable
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.ledgers.dynamodb.clock import TableClock
from mailonce.ledgers.dynamodb.table import definition
from mailonce.states import State
from sandbox.aws import LocalAws
from tests.fakes import make_claim, make_delivery
from tests.ledgers.dynamodb_wire import Wire, answer, refusal, wire_to

pytestmark = pytest.mark.dynamodb
SENT = Conclusion(state=State.SENT, message_id="m-1")
LATER = "2030-01-01T00:00:00.000000+00:00"


@pytest.fixture
def wire(local_aws: LocalAws) -> Wire:
    return wire_to(local_aws)


@pytest.fixture
def ledger(wire: Wire, table: str) -> DynamoDBLedger:
    made = DynamoDBLedger(wire.client, table=table, patience=timedelta(seconds=20))
    made.prepare()
    wire.requests.clear()
    return made


def test_two_writes_and_no_read_on_the_happy_path(ledger: DynamoDBLedger, wire: Wire) -> None:
    for number in range(5):
        claim = make_claim(make_delivery(f"C-{number}"))
        ledger.claim(claim)
        ledger.conclude(claim.delivery.key, claim.token, SENT)
    assert wire.requests == {"UpdateItem": 10}


def test_a_lost_claim_is_one_request(ledger: DynamoDBLedger, wire: Wire) -> None:
    ledger.claim(make_claim(make_delivery()))
    wire.requests.clear()
    ledger.claim(make_claim(make_delivery()))
    assert wire.requests == {"UpdateItem": 1}


def test_the_event_of_a_recorded_mail_is_one_request(ledger: DynamoDBLedger, wire: Wire) -> None:
    claim = make_claim(make_delivery())
    ledger.claim(claim)
    ledger.conclude(claim.delivery.key, claim.token, SENT)
    wire.requests.clear()
    ledger.witness(Receipt(key=claim.delivery.key, message_id="m-1", evidence="event"))
    assert wire.requests == {"UpdateItem": 1}


@pytest.mark.parametrize("lost", [1, 4], ids=["repeated by boto3", "repeated by us"])
def test_writes_whose_answers_are_lost_recognise_their_own_work(ledger: DynamoDBLedger, wire: Wire, lost: int) -> None:
    claim = make_claim(make_delivery())
    wire.lose = lost
    won = ledger.claim(claim)
    assert wire.lose == 0
    assert (won.state, won.token, won.attempt, len(won.history)) == (State.SENDING, claim.token, 1, 1)
    wire.lose = lost
    done = ledger.conclude(claim.delivery.key, claim.token, SENT)
    assert done
    assert (done.state, done.message_id, len(done.history)) == (State.SENT, "m-1", 2)
    wire.lose = lost
    proved = ledger.witness(Receipt(key=claim.delivery.key, message_id="m-2"))
    assert proved
    assert proved.duplicate_message_ids == ("m-2",)


def does_not_ask_for_the_row(request: Any, **_: Any) -> None:
    question = json.loads(request.body)
    del question["ReturnValuesOnConditionCheckFailure"]
    request.body = json.dumps(question).encode()
    request.headers["Content-Length"] = str(len(request.body))


def test_an_api_that_does_not_tell_the_row_is_asked_for_it(ledger: DynamoDBLedger, wire: Wire) -> None:
    """Some stand-ins for DynamoDB refuse without the row as it stands."""
    claim = make_claim(make_delivery())
    ledger.claim(claim)
    wire.client.meta.events.register_first("before-send.dynamodb.UpdateItem", does_not_ask_for_the_row)
    wire.requests.clear()
    rival = make_claim(make_delivery())
    assert ledger.claim(rival).token == claim.token
    assert wire.requests == {"UpdateItem": 1, "BatchGetItem": 1}
    assert ledger.claim(claim).token == claim.token
    entry = ledger.conclude(claim.delivery.key, rival.token, SENT)
    assert entry
    assert entry.state is State.SENDING
    assert ledger.conclude(make_delivery("unknown").key, rival.token, SENT) is None
    unknown = make_delivery("unknown")
    assert ledger.witness(Receipt(key=unknown.key, message_id="m-1"), unknown).state is State.SENT


@pytest.mark.parametrize(
    "trouble",
    [
        refusal("ThrottlingException"),
        refusal("TransactionConflictException"),
        refusal("InternalServerError", 500),
        answer(503, "<html>try later</html>"),
        answer(200, '{"Attributes": {"key":'),
        answer(400, "cut"),
    ],
    ids=["throttled", "conflict", "internal", "proxy", "cut off", "error cut off"],
)
def test_trouble_that_passes_is_waited_out(ledger: DynamoDBLedger, wire: Wire, trouble: Any) -> None:
    wire.answers = [trouble] * 4
    claim = make_claim(make_delivery())
    assert ledger.claim(claim).token == claim.token
    wire.answers = [trouble] * 2
    assert [entry.token for entry in ledger.find([claim.delivery.key])] == [claim.token]


def test_unavailable_once_patience_is_over(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    wire.answers = [refusal("ThrottlingException")] * 1000
    hasty = DynamoDBLedger(wire.client, table=table, patience=timedelta(seconds=0.2))
    claim = make_claim(make_delivery())
    for question in (
        lambda: hasty.claim(claim),
        lambda: list(hasty.of_month("usage", "2030-01")),
        lambda: ledger.conclude(claim.delivery.key, claim.token, SENT, patience=timedelta(seconds=0.2)),
    ):
        with pytest.raises(LedgerUnavailable):
            question()


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("AccessDeniedException", "dynamodb:UpdateItem"),
        ("ExpiredTokenException", "credentials"),
        ("InvalidSignatureException", "clock"),
        ("ValidationException", "not be a mailonce ledger"),
    ],
)
def test_a_refusal_says_what_to_do(ledger: DynamoDBLedger, wire: Wire, code: str, remedy: str) -> None:
    wire.answers = [refusal(code)] * 10
    with pytest.raises(LedgerUnusable, match=remedy):
        ledger.claim(make_claim(make_delivery()))
    assert wire.requests["UpdateItem"] == 1


def test_missing_credentials_are_unusable(ledger: DynamoDBLedger, wire: Wire) -> None:
    def none(**_: Any) -> None:
        raise NoCredentialsError

    wire.client.meta.events.register("before-sign.dynamodb", none)
    with pytest.raises(LedgerUnusable, match="credentials"):
        ledger.claim(make_claim(make_delivery()))


def test_keys_that_dynamodb_hands_back_are_asked_again(ledger: DynamoDBLedger, wire: Wire) -> None:
    """Of each answer DynamoDB leaves all but a few out, as it does when there is too much to read."""
    claims = [make_claim(make_delivery(f"C-{number}")) for number in range(10)]
    for claim in claims:
        ledger.claim(claim)
    asked = []
    real = wire.client.batch_get_item

    def some(RequestItems: Any) -> Any:
        ((name, question),) = RequestItems.items()
        asked.append(len(question["Keys"]))
        now = 0 if len(asked) == 2 else 4
        left = question["Keys"][now:]
        answered = real(RequestItems={name: {**question, "Keys": question["Keys"][:now]}}) if now else {"Responses": {}}
        return {**answered, "UnprocessedKeys": {name: {**question, "Keys": left}} if left else {}}

    wire.client.batch_get_item = some
    keys = [claim.delivery.key for claim in claims]
    assert sorted(entry.key for entry in ledger.find(keys)) == sorted(keys)
    assert asked == [10, 6, 6, 2]


def test_a_month_comes_page_by_page(ledger: DynamoDBLedger, wire: Wire) -> None:
    for number in range(60):
        ledger.claim(make_claim(make_delivery(f"C-{number:02}")))
    wire.client.meta.events.register("provide-client-params.dynamodb.Query", lambda params, **_: {**params, "Limit": 2})
    wire.requests.clear()
    ids = [entry.identity.recipient_id for entry in ledger.of_month("usage", "2030-01")]
    assert ids == [f"C-{number:02}" for number in range(60)]
    assert wire.requests["Query"] > 16
    assert wire.requests["BatchGetItem"] == 1


def test_the_table_as_it_is_made(wire: Wire, table: str, caplog: pytest.LogCaptureFixture) -> None:
    ledger = DynamoDBLedger(wire.client, table=table)
    assert ledger.prepare() is True
    assert ledger.prepare() is False
    made = wire.client.describe_table(TableName=table)["Table"]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert made["DeletionProtectionEnabled"]
    assert {index["Projection"]["ProjectionType"] for index in made["GlobalSecondaryIndexes"]} == {"KEYS_ONLY"}
    ttl = wire.client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "expires_at")
    backups = wire.client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert "could not" not in caplog.text


def test_a_table_made_on_first_use_is_announced(wire: Wire, table: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        DynamoDBLedger(wire.client, table=table).claim(make_claim(make_delivery()))
    assert "knows of no earlier mail" in caplog.text


def test_an_api_without_backups_is_good_enough(wire: Wire, table: str, caplog: pytest.LogCaptureFixture) -> None:
    def unknown(**_: Any) -> None:
        raise wire.client.exceptions.ClientError({"Error": {"Code": "UnknownOperationException"}}, "x")

    wire.client.meta.events.register("before-call.dynamodb.UpdateContinuousBackups", unknown)
    assert DynamoDBLedger(wire.client, table=table).prepare() is True
    assert "point-in-time recovery could not be switched on" in caplog.text


def test_eight_prepare_at_once_and_one_makes_it(local_aws: LocalAws, dynamodb_client: Any, table: str) -> None:
    ledgers = [DynamoDBLedger(dynamodb_client, table=table) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda ledger: ledger.prepare(), ledgers))
    assert sorted(made) == [False] * 7 + [True]


@pytest.mark.parametrize("missing", ["by_month", "by_address", "key"])
def test_a_table_that_is_no_ledger_is_named_and_left_alone(wire: Wire, table: str, missing: str) -> None:
    wanted = definition(table)
    if missing == "key":
        wanted["KeySchema"] = [{"AttributeName": "email", "KeyType": "HASH"}]
        wanted["AttributeDefinitions"] = [d for d in wanted["AttributeDefinitions"] if d["AttributeName"] != "key"]
    else:
        wanted["GlobalSecondaryIndexes"] = [
            index for index in wanted["GlobalSecondaryIndexes"] if index["IndexName"] != missing
        ]
        used = {"key", *(part["AttributeName"] for i in wanted["GlobalSecondaryIndexes"] for part in i["KeySchema"])}
        wanted["AttributeDefinitions"] = [d for d in wanted["AttributeDefinitions"] if d["AttributeName"] in used]
    wire.client.create_table(**wanted)
    ledger = DynamoDBLedger(wire.client, table=table)
    with pytest.raises(LedgerUnusable, match=f"(no index {missing}|`{missing}` alone)"):
        ledger.prepare()
    use: dict[str, Callable[[], object]] = {
        "by_month": lambda: list(ledger.of_month("usage", "2030-01")),
        "by_address": lambda: list(ledger.of_address("c@example.org")),
        "key": lambda: ledger.claim(make_claim(make_delivery())),
    }
    with pytest.raises(LedgerUnusable, match="preflight"):
        use[missing]()


@pytest.mark.parametrize("name", ["", "ab", "a b", "x" * 256, "arn:aws:dynamodb:x", "schema/table"])
def test_a_bad_table_name_is_refused(wire: Wire, name: str) -> None:
    with pytest.raises(InvalidInput, match="ledger_table"):
        DynamoDBLedger(wire.client, table=name)


def test_moments_are_text_of_one_width_and_expiry_is_a_number(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    claim = make_claim(make_delivery(), timing=Timing(retention=timedelta(days=1)))
    ledger.claim(claim)
    ledger.conclude(claim.delivery.key, claim.token, SENT)
    item = wire.client.get_item(TableName=table, Key={"key": {"S": claim.delivery.key}})["Item"]
    for name in ("claimed_at", "deadline_at", "settled_at", "sent_at", "updated_at"):
        assert len(item[name]["S"]) == len(LATER)
    left = int(item["expires_at"]["N"]) - datetime.now(timezone.utc).timestamp()
    assert 86_300 < left <= 86_400
    assert item["month_shard"]["S"] == f"usage#2030-01#{claim.delivery.key[0]}"


@pytest.mark.parametrize(
    "wrong_by", [timedelta(days=-3), timedelta(minutes=-4), timedelta(minutes=7), timedelta(days=9)]
)
def test_a_worker_with_a_wrong_clock_writes_the_tables_time(wire: Wire, table: str, wrong_by: timedelta) -> None:
    def clock() -> datetime:
        return datetime.now(timezone.utc) + wrong_by

    ledger = DynamoDBLedger(wire.client, table=table, clock=clock)
    ledger.prepare()
    entry = ledger.claim(make_claim(make_delivery()))
    assert entry.claimed_at
    for moment in (entry.claimed_at, entry.read_at):
        assert abs(moment - datetime.now(timezone.utc)) < timedelta(seconds=5)


def test_a_clock_that_may_be_right_is_left_alone() -> None:
    now = datetime(2030, 2, 1, 9, 0, 0, 700_000, tzinfo=timezone.utc)
    clock = TableClock(lambda: now)
    for seconds in (-1.9, -0.7, 0.3):
        clock.hear(dated(now.replace(microsecond=0) + timedelta(seconds=int(seconds))), now)
        assert clock.now() == now


@pytest.mark.parametrize("date", [None, "", "yesterday", "Fri, 01 Feb 2030 09:00:00 -0000"])
def test_an_answer_without_a_usable_date_teaches_nothing(date: str | None) -> None:
    now = datetime(2030, 2, 1, 9, tzinfo=timezone.utc)
    clock = TableClock(lambda: now)
    clock.hear({"ResponseMetadata": {"HTTPHeaders": {"date": date} if date is not None else {}}}, now)
    clock.hear({}, now)
    assert clock.now() == now


def test_a_slow_answer_corrects_no_more_than_it_proves() -> None:
    """The date may have been written at any moment between the question and the answer."""
    asked = datetime(2030, 2, 1, 9, tzinfo=timezone.utc)
    times = iter([asked + timedelta(seconds=30), asked + timedelta(seconds=30)])
    clock = TableClock(lambda: next(times))
    clock.hear(dated(asked + timedelta(seconds=40)), asked)
    assert clock.now() == asked + timedelta(seconds=40)


def dated(moment: datetime) -> dict[str, Any]:
    return {"ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(moment, usegmt=True)}}}
