"""What the examination of a DynamoDB table finds; nothing of it may change the table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mailonce.errors import LedgerUnavailable, LedgerUnusable
from mailonce.findings import Finding, Severity
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.ledgers.dynamodb.table import definition
from sandbox.aws import LocalAws
from tests.ledgers.dynamodb_wire import Wire, refusal, wire_to

pytestmark = pytest.mark.dynamodb


@pytest.fixture
def wire(local_aws: LocalAws) -> Wire:
    return wire_to(local_aws)


@pytest.fixture
def ledger(wire: Wire, table: str) -> DynamoDBLedger:
    made = DynamoDBLedger(wire.client, table=table, patience=timedelta(seconds=20))
    made.prepare()
    wire.requests.clear()
    return made


def bad(ledger: DynamoDBLedger) -> list[Finding]:
    found = list(ledger.examine())
    assert all(not finding.remedy for finding in found if finding.severity is Severity.OK)
    return [finding for finding in found if finding.severity is not Severity.OK]


def described(wire: Wire, **changes: Any) -> None:
    """Have DynamoDB describe the table otherwise; None leaves a member out."""

    def change(parsed: Any, **_: Any) -> None:
        parsed["Table"].update(changes)
        for name in [name for name, value in changes.items() if value is None]:
            del parsed["Table"][name]

    wire.client.meta.events.register("after-call.dynamodb.DescribeTable", change)


def deny(wire: Wire, action: str, code: str = "AccessDeniedException", index: str = "") -> None:
    def refuse(request: Any, **_: Any) -> Any:
        return refusal(code)(request) if index.encode() in request.body else None

    wire.client.meta.events.register(f"before-send.dynamodb.{action}", refuse)


def test_a_table_that_mailonce_made_is_as_it_should_be(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    found = list(ledger.examine())
    assert {finding.severity for finding in found} == {Severity.OK}
    assert [finding.check for finding in found] == [
        *("table", "status", "replicas", "capacity", "deletion protection", "expiry", "backups"),
        *["permission"] * 6,
    ]
    assert not any(finding.remedy for finding in found)
    assert wire.client.scan(TableName=table)["Items"] == []
    assert set(wire.requests) == {
        *("DescribeTable", "DescribeTimeToLive", "DescribeContinuousBackups", "BatchGetItem", "UpdateItem", "Query"),
        "Scan",
    }


def test_a_table_that_is_not_there_yet_is_not_made(wire: Wire, table: str) -> None:
    (finding,) = DynamoDBLedger(wire.client, table=table).examine()
    assert (finding.severity, finding.check) == (Severity.WARNING, "table")
    assert "no earlier mail" in finding.found
    assert "ledger_table" in finding.remedy
    assert wire.requests == {"DescribeTable": 1}


@pytest.mark.parametrize("missing", ["by_month", "by_address"])
def test_a_missing_index_is_an_error(wire: Wire, table: str, missing: str) -> None:
    wanted = definition(table)
    wanted["GlobalSecondaryIndexes"] = [i for i in wanted["GlobalSecondaryIndexes"] if i["IndexName"] != missing]
    used = {"key", *(part["AttributeName"] for i in wanted["GlobalSecondaryIndexes"] for part in i["KeySchema"])}
    wanted["AttributeDefinitions"] = [d for d in wanted["AttributeDefinitions"] if d["AttributeName"] in used]
    wire.client.create_table(**wanted)
    found = bad(DynamoDBLedger(wire.client, table=table))
    assert (found[0].severity, found[0].check) == (Severity.ERROR, "table")
    assert f"no index {missing}" in found[0].found
    assert "ledger_table" in found[0].remedy
    (search,) = [finding for finding in found if finding.check == "permission"]
    assert search.severity is Severity.UNKNOWN


@pytest.mark.parametrize(
    ("changes", "severity", "check", "found", "remedy"),
    [
        (
            {"KeySchema": [{"AttributeName": "email", "KeyType": "HASH"}]},
            "ERROR",
            "table",
            "`key` alone",
            "ledger_table",
        ),
        ({"TableStatus": "CREATING"}, "ERROR", "status", "table is CREATING", "Wait"),
        ({"TableStatus": "INACCESSIBLE_ENCRYPTION_CREDENTIALS"}, "ERROR", "status", "INACCESSIBLE", "KMS"),
        ({"Replicas": [{"RegionName": "us-east-1"}]}, "ERROR", "replicas", "eu-central-1 and us-east-1", "replicas"),
        (
            {"Replicas": [{"RegionName": name} for name in ("eu-central-1", "us-east-1", "us-west-2")]},
            *("ERROR", "replicas", "eu-central-1 and us-east-1, us-west-2", "strong consistency"),
        ),
        ({"GlobalTableVersion": "2017.11.29"}, "ERROR", "replicas", "global table", "Remove"),
        ({"BillingModeSummary": None}, "WARNING", "capacity", "provisioned", "PAY_PER_REQUEST"),
        ({"BillingModeSummary": {"BillingMode": "PROVISIONED"}}, "WARNING", "capacity", "throttled", "on-demand"),
        ({"DeletionProtectionEnabled": False}, "WARNING", "deletion protection", "one step", "Switch"),
        ({"DeletionProtectionEnabled": None}, "WARNING", "deletion protection", "one step", "Switch"),
    ],
)
def test_what_the_description_tells(
    ledger: DynamoDBLedger, wire: Wire, changes: Any, severity: str, check: str, found: str, remedy: str
) -> None:
    described(wire, **changes)
    (finding,) = bad(ledger)
    assert (finding.severity, finding.check) == (Severity[severity], check)
    assert found in finding.found
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"TableStatus": "UPDATING"},
        {"Replicas": []},
        {"Replicas": [{"RegionName": "eu-central-1"}]},
        {"Replicas": [{"RegionName": "us-east-1"}], "MultiRegionConsistency": "STRONG"},
    ],
    ids=["settings change", "none any more", "itself", "strong"],
)
def test_what_does_no_harm(ledger: DynamoDBLedger, wire: Wire, changes: Any) -> None:
    described(wire, **changes)
    assert bad(ledger) == []


def no_expiry(client: Any, table: str) -> None:
    specification = {"Enabled": False, "AttributeName": "expires_at"}
    client.update_time_to_live(TableName=table, TimeToLiveSpecification=specification)


def another_expiry(client: Any, table: str) -> None:
    specification = {"Enabled": True, "AttributeName": "sent_at"}
    client.update_time_to_live(TableName=table, TimeToLiveSpecification=specification)


def no_backups(client: Any, table: str) -> None:
    specification = {"PointInTimeRecoveryEnabled": False}
    client.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=specification)


def unprotected(client: Any, table: str) -> None:
    client.update_table(TableName=table, DeletionProtectionEnabled=False)


def provisioned(client: Any, table: str) -> None:
    units = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 7}
    indexes = [{"Update": {"IndexName": name, "ProvisionedThroughput": units}} for name in ("by_month", "by_address")]
    client.update_table(
        TableName=table,
        BillingMode="PROVISIONED",
        ProvisionedThroughput=units,
        GlobalSecondaryIndexUpdates=indexes,
    )


@pytest.mark.parametrize(
    ("change", "check", "found", "remedy"),
    [
        (no_expiry, "expiry", "off", "expires_at"),
        (another_expiry, "expiry", "sent_at", "expires_at"),
        (no_backups, "backups", "off", "Switch it on"),
        (unprotected, "deletion protection", "deleted", "Switch"),
        (provisioned, "capacity", "7 writes", "on-demand"),
    ],
)
def test_settings_of_the_table(
    ledger: DynamoDBLedger,
    wire: Wire,
    table: str,
    change: Callable[[Any, str], None],
    check: str,
    found: str,
    remedy: str,
) -> None:
    change(wire.client, table)
    (finding,) = bad(ledger)
    assert (finding.severity, finding.check) == (Severity.WARNING, check)
    assert found in finding.found
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("action", "index"),
    [("DescribeTable", ""), ("BatchGetItem", ""), ("UpdateItem", ""), ("Query", "by_month"), ("Query", "by_address")],
)
def test_a_permission_that_the_ledger_needs(ledger: DynamoDBLedger, wire: Wire, action: str, index: str) -> None:
    deny(wire, action, index=index)
    (finding,) = bad(ledger)
    assert (finding.severity, finding.check) == (Severity.ERROR, "permission")
    for text in (finding.found, finding.remedy):
        assert f"dynamodb:{action} on the {f'index {index}' if index else 'table'}" in text


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnknownOperationException"])
@pytest.mark.parametrize(
    ("action", "check"), [("DescribeTimeToLive", "expiry"), ("DescribeContinuousBackups", "backups")]
)
def test_what_may_not_be_asked_is_not_known(
    ledger: DynamoDBLedger, wire: Wire, action: str, check: str, code: str
) -> None:
    deny(wire, action, code)
    (finding,) = bad(ledger)
    assert (finding.severity, finding.check) == (Severity.UNKNOWN, check)
    assert f"dynamodb:{action}" in finding.found
    assert (f"dynamodb:{action}" in finding.remedy) == (code == "AccessDeniedException")


def test_a_role_that_may_do_nothing_gets_every_finding(ledger: DynamoDBLedger, wire: Wire) -> None:
    deny(wire, "*")
    assert [finding.severity for finding in bad(ledger)] == [
        *(Severity.ERROR, Severity.UNKNOWN, Severity.UNKNOWN),
        *[Severity.ERROR] * 4,
    ]


def test_wrong_credentials_are_no_finding(ledger: DynamoDBLedger, wire: Wire) -> None:
    deny(wire, "*", "ExpiredTokenException")
    with pytest.raises(LedgerUnusable, match="credentials"):
        list(ledger.examine())


def test_dynamodb_away_is_no_finding(ledger: DynamoDBLedger, wire: Wire, table: str) -> None:
    wire.answers = [refusal("ThrottlingException")] * 1000
    with pytest.raises(LedgerUnavailable):
        list(DynamoDBLedger(wire.client, table=table, patience=timedelta(seconds=0.2)).examine())


def test_who_only_sends_may_do_without_scan(ledger: DynamoDBLedger, wire: Wire) -> None:
    deny(wire, "Scan")
    assert bad(ledger) == []
    said = [finding.found for finding in ledger.examine() if "dynamodb:Scan" in finding.found]
    assert len(said) == 2
    assert all("may not use dynamodb:Scan on the" in text and "the page and the terminal" in text for text in said)
