"""What DynamoDB's descriptions of a table mean for the promise. The field names are those of its API reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mailonce.findings import Finding, Severity
from mailonce.ledgers.dynamodb.table import EXPIRY, REMEDY, shortcomings

Description = Mapping[str, Any]
_USABLE = ("ACTIVE", "UPDATING")
"""While settings of a table change its rows can be used."""


def no_table(name: str) -> Finding:
    """Return what it means that there is no table of this name."""
    return Finding(
        severity=Severity.WARNING,
        check="table",
        found=f"There is no DynamoDB table {name} yet: it is made on first use, and then knows of no earlier mail.",
        remedy="If there were earlier mails, do not run: name the right table in the setting ledger_table, or restore it.",
    )


def of_table(table: Description) -> Iterator[Finding]:
    """Yield what ``DescribeTable`` tells."""
    yield _keys(table)
    yield _status(table)
    yield _replicas(table)
    yield _capacity(table)
    yield _deletion(table)


def of_expiry(expiry: Description) -> Finding:
    """Return what ``DescribeTimeToLive`` tells."""
    attribute = expiry.get("AttributeName")
    on = expiry.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    if on and attribute == EXPIRY:
        return _fine("expiry", "Rows past their retention are deleted.")
    return Finding(
        severity=Severity.WARNING,
        check="expiry",
        found=f"Time to live is on, but for the attribute {attribute}." if on else "Time to live is off.",
        remedy=f"Switch it on for {EXPIRY}: rows past their retention stay otherwise. Only if every row is kept for ever "
        "(retention_days is 0) it does not matter.",
    )


def of_backups(backups: Description) -> Finding:
    """Return what ``DescribeContinuousBackups`` tells."""
    if backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") == "ENABLED":
        return _fine("backups", "Point-in-time recovery is on.")
    return Finding(
        severity=Severity.WARNING,
        check="backups",
        found="Point-in-time recovery is off.",
        remedy="Switch it on: without the ledger nobody knows who was mailed.",
    )


def _keys(table: Description) -> Finding:
    if wrong := shortcomings(table):
        found = f"{table['TableName']} is not a mailonce ledger: {'; '.join(wrong)}."
        return Finding(severity=Severity.ERROR, check="table", found=found, remedy=f"{REMEDY}.")
    return _fine("table", f"{table['TableName']} has the key and the indexes of a ledger.")


def _status(table: Description) -> Finding:
    parts = {"table": table["TableStatus"]}
    parts |= {index["IndexName"]: index["IndexStatus"] for index in table.get("GlobalSecondaryIndexes", ())}
    if not (waiting := [f"{name} is {status}" for name, status in parts.items() if status not in _USABLE]):
        return _fine("status", "The table and its indexes can be used.")
    return Finding(
        severity=Severity.ERROR,
        check="status",
        found=f"Not everything can be used: {', '.join(waiting)}.",
        remedy="Wait until it is ACTIVE. INACCESSIBLE_ENCRYPTION_CREDENTIALS: let DynamoDB use its KMS key again.",
    )


def _replicas(table: Description) -> Finding:
    """Judge a global table. Its replicas are named without the one that is asked, so one is enough.

    Only with multi-Region strong consistency a condition is evaluated "against the latest version of an item"
    wherever it is written. Otherwise each region decides by itself, and the last writer wins (DynamoDB Developer
    Guide, "How DynamoDB global tables work").
    """
    home = table["TableArn"].split(":")[3]
    others = sorted({replica["RegionName"] for replica in table.get("Replicas", ())} - {home})
    if not others and table.get("GlobalTableVersion") != "2017.11.29":  # which may name none
        return _fine("replicas", "The table is in one region only.")
    where = f"{home} and {', '.join(others) or 'others'}"
    if table.get("MultiRegionConsistency") == "STRONG":
        return _fine("replicas", f"The table is in {where}, with strong consistency: a claim counts in all of them.")
    return Finding(
        severity=Severity.ERROR,
        check="replicas",
        found=f"The table is a global table, in {where}: two regions can both win the same claim, and the last writer's "
        "row hides the other mail.",
        remedy="Remove the replicas and back up otherwise, or make a global table with strong consistency.",
    )


def _capacity(table: Description) -> Finding:
    # DynamoDB leaves it out for a table that was never anything but provisioned.
    if table.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST":
        return _fine("capacity", "Capacity is on demand.")
    units = table.get("ProvisionedThroughput", {}).get("WriteCapacityUnits")
    return Finding(
        severity=Severity.WARNING,
        check="capacity",
        found=f"Capacity is provisioned: {units} writes a second. A month's run is a burst, and will be throttled.",
        remedy="Switch the table to on-demand capacity (PAY_PER_REQUEST).",
    )


def _deletion(table: Description) -> Finding:
    if table.get("DeletionProtectionEnabled"):
        return _fine("deletion protection", "The table is protected from deletion.")
    return Finding(
        severity=Severity.WARNING,
        check="deletion protection",
        found="The table can be deleted in one step.",
        remedy="Switch deletion protection on: who deletes the ledger makes every mail of the past sendable again.",
    )


def _fine(check: str, found: str) -> Finding:
    return Finding(severity=Severity.OK, check=check, found=found)
