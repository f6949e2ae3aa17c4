"""The DynamoDB table: its definition, and how it is made and checked.

Limits to know: an item holds 400 KB, and so some hundreds of attempts on one key with their history (a claim that
would not fit is refused, and nothing is sent); the two indexes follow the table after a moment, so a row may be
missing from ``of_month`` and ``of_address`` for about a second after its first claim, never from anything else.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mailonce.errors import InvalidInput, LedgerUnavailable, LedgerUnusable
from mailonce.ledgers.dynamodb.calls import Calls, NoTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

log = logging.getLogger(__name__)

BY_ADDRESS = "by_address"
BY_MONTH = "by_month"
EXPIRY = "expires_at"
"""The attribute by which DynamoDB deletes expired rows."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_KEY = {"key": "HASH"}
REMEDY = "Name another table in the setting ledger_table (mailonce makes it), or add what is missing"

# Both indexes hold the keys only, and their own attributes change with no change of state: so the second write of
# a delivery touches no index. With whole rows in them, each write would be paid for three times. Who asks pays
# instead: the rows are read from the table itself, and are therefore never stale.
INDEXES = {
    # One address has few rows. Their order comes from claimed_at, but that is no sort key here: a second claim would
    # have to move the row, and a row that was never claimed (proof from an event alone) would not be found at all.
    BY_ADDRESS: {"email": "HASH", "period": "RANGE"},
    BY_MONTH: {"month_shard": "HASH", "recipient_id": "RANGE"},
}


def table_name(name: str) -> str:
    """Return the name, if it is one.

    :raises mailonce.errors.InvalidInput: DynamoDB would not take it.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            field="ledger_table",
            reason=f"{name!r} is not the name of a DynamoDB table",
            remedy="Use 3 to 255 letters, digits, underscores, hyphens and dots, as in mailonce_ledger",
        )
    return name


def definition(name: str) -> dict[str, Any]:
    """Return the arguments of ``CreateTable``."""
    attributes = sorted({*_KEY, *(attribute for index in INDEXES.values() for attribute in index)})
    return {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": attribute, "AttributeType": "S"} for attribute in attributes],
        "KeySchema": _key_schema(_KEY),
        "GlobalSecondaryIndexes": [
            {"IndexName": index, "KeySchema": _key_schema(keys), "Projection": {"ProjectionType": "KEYS_ONLY"}}
            for index, keys in INDEXES.items()
        ],
        # A month's run is a burst after weeks of quiet.
        "BillingMode": "PAY_PER_REQUEST",
        # Who deletes the ledger makes every mail of the past sendable again: it shall take two steps.
        "DeletionProtectionEnabled": True,
    }


def shortcomings(table: Mapping[str, Any]) -> list[str]:
    """Return in what a table, as DynamoDB describes it, is no ledger; nothing, if it is one. :data:`REMEDY` mends it."""
    indexes = {index["IndexName"]: index["KeySchema"] for index in table.get("GlobalSecondaryIndexes", ())}
    wrong = [] if _same(table["KeySchema"], _KEY) else ["its key is not the attribute `key` alone"]
    for name, keys in INDEXES.items():
        if not _same(indexes.get(name, ()), keys):
            wrong.append(f"it has no index {name} on {' and '.join(keys)}")
    return wrong


class LedgerTable:
    """Makes and checks one table."""

    def __init__(self, client: DynamoDBClient, calls: Calls, name: str, *, poll: float = 0.5) -> None:
        self.name = name
        self._client = client
        self._calls = calls
        self._poll = poll

    def prepare(self, patience: timedelta = timedelta(minutes=5)) -> bool:
        """Make the table if it does not exist, wait until it can be used, check that it is a ledger.

        :return: whether it was made just now, by us.
        :raises mailonce.errors.LedgerUnusable: it is another kind of table; says what is missing.
        :raises mailonce.errors.LedgerUnavailable: it did not become usable in time.
        """
        try:
            self.describe()
            made = False
        except NoTable:
            made = self._create()
        if wrong := shortcomings(self._usable(patience)):
            raise LedgerUnusable(f"DynamoDB table {self.name} is not a mailonce ledger: {'; '.join(wrong)}. {REMEDY}")
        if made:
            self._protect()
            log.info("ledger table %s: made", self.name)
        return made

    def describe(self) -> Mapping[str, Any]:
        """Return DynamoDB's description of the table.

        :raises mailonce.ledgers.dynamodb.calls.NoTable: there is none.
        :raises mailonce.errors.LedgerError: DynamoDB does not answer, or refuses.
        """
        answer = self._calls.make(self._client.describe_table, lambda _now: {"TableName": self.name}, answer="Table")
        table: Mapping[str, Any] = answer["Table"]
        return table

    def _create(self) -> bool:
        try:
            self._calls.make(self._client.create_table, lambda _now: definition(self.name), answer="TableDescription")
        except LedgerUnusable as error:
            # Somebody else made it since we looked.
            if getattr(error.__cause__, "response", {}).get("Error", {}).get("Code") == "ResourceInUseException":
                return False
            raise
        return True

    def _usable(self, patience: timedelta) -> Mapping[str, Any]:
        """Wait until the table and its indexes are built, and return its description."""
        give_up_at = time.monotonic() + patience.total_seconds()
        while True:
            try:
                table = self.describe()
            except NoTable:
                table = {}  # made, but this answer does not know of it yet
            parts = [
                table.get("TableStatus"),
                *(index["IndexStatus"] for index in table.get("GlobalSecondaryIndexes", ())),
            ]
            # While settings of a table change its rows can be used.
            if all(status in ("ACTIVE", "UPDATING") for status in parts):
                return table
            if time.monotonic() > give_up_at:
                raise LedgerUnavailable(f"DynamoDB table {self.name} is not ready: {parts}")
            time.sleep(self._poll)

    def _protect(self) -> None:
        """Let DynamoDB delete expired rows, and keep backups; the ledger is right without either."""
        for what, switch in (("deletion of expired rows", self._expire), ("point-in-time recovery", self._back_up)):
            try:
                switch()
            except (ClientError, BotoCoreError) as error:
                log.warning("ledger table %s: %s could not be switched on: %s", self.name, what, error)

    def _expire(self) -> None:
        self._client.update_time_to_live(
            TableName=self.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRY}
        )

    def _back_up(self) -> None:
        self._client.update_continuous_backups(
            TableName=self.name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )


def _key_schema(keys: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()]


def _same(schema: Any, keys: Mapping[str, str]) -> bool:
    return {part["AttributeName"]: part["KeyType"] for part in schema} == dict(keys)
