"""Questions to DynamoDB about the ledger's table; what the answers mean stands in ``description.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mailonce.errors import LedgerUnusable
from mailonce.findings import Finding, Severity
from mailonce.ledgers.dynamodb.calls import ACCESS_DENIED, CONDITION_FAILED, Calls, NoTable, code_of
from mailonce.ledgers.dynamodb.description import no_table, of_backups, of_expiry, of_table
from mailonce.ledgers.dynamodb.table import BY_MONTH, INDEXES, LedgerTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_NOBODY = {"S": "examination#nobody"}
"""A key that neither a delivery nor any other item has, and what the indexes never hold."""


@dataclass(frozen=True)
class _Trial:
    """A request such as the ledger makes, which changes nothing.

    :param member: without it, an answer is none. :param needed: whether who sends cannot do without.
    """

    action: str
    where: str
    operation: Callable[..., Any]
    member: str
    request: Mapping[str, Any]
    needed: bool = True


class Examination:
    """Asks about the table, and tries what the ledger does with it; changes nothing."""

    def __init__(self, client: DynamoDBClient, calls: Calls, table: LedgerTable) -> None:
        self._client = client
        self._calls = calls
        self._table = table

    def findings(self) -> Iterator[Finding]:
        """Yield what there is to say about each thing; only one, if there is no table yet.

        :raises mailonce.errors.LedgerUnavailable: DynamoDB does not answer.
        :raises mailonce.errors.LedgerUnusable: it answers nothing at all, for example because of the credentials.
        """
        try:
            yield from of_table(self._table.describe())
        except NoTable:
            yield no_table(self._table.name)
            return
        except LedgerUnusable as refused:
            if not _denied(refused):
                raise
            yield _not_permitted("DescribeTable", "the table")
        yield from self._settings()
        yield from map(self._try, self._trials())
        # Whatever else than the permission is missing was told by the trials before.
        yield from (found for found in map(self._try, self._looks()) if found.severity is Severity.OK)

    def _settings(self) -> Iterator[Finding]:
        """Look at what the ledger itself has no need to know, so that it may well be denied."""
        ttl, backups = self._client.describe_time_to_live, self._client.describe_continuous_backups
        yield self._ask("expiry", "DescribeTimeToLive", ttl, "TimeToLiveDescription", of_expiry)
        yield self._ask("backups", "DescribeContinuousBackups", backups, "ContinuousBackupsDescription", of_backups)

    def _ask(
        self,
        check: str,
        action: str,
        operation: Callable[..., Any],
        member: str,
        judge: Callable[[Mapping[str, Any]], Finding],
    ) -> Finding:
        try:
            answer = self._calls.make(operation, lambda _now: {"TableName": self._table.name}, answer=member)
        except LedgerUnusable as refused:
            return _unknown(check, action, refused)
        return judge(answer[member])

    def _trials(self) -> Iterator[_Trial]:
        client, name, key = self._client, self._table.name, {"key": _NOBODY}
        question = {"RequestItems": {name: {"Keys": [key], "ConsistentRead": True}}}
        yield _Trial("BatchGetItem", "the table", client.batch_get_item, "Responses", question)
        change = {
            "TableName": name,
            "Key": key,
            "UpdateExpression": "REMOVE #nothing",
            # Cannot hold: nobody has this key.
            "ConditionExpression": "attribute_exists(#key)",
            "ExpressionAttributeNames": {"#key": "key", "#nothing": "nothing"},
        }
        yield _Trial("UpdateItem", "the table", client.update_item, "ResponseMetadata", change)
        for index, (attribute, *_) in INDEXES.items():
            search = {
                "TableName": name,
                "IndexName": index,
                "KeyConditionExpression": "#attribute = :nobody",
                "ExpressionAttributeNames": {"#attribute": attribute},
                "ExpressionAttributeValues": {":nobody": _NOBODY},
            }
            yield _Trial("Query", f"the index {index}", client.query, "Items", search)

    def _looks(self) -> Iterator[_Trial]:
        """Yield what only people's questions need: the list of months, and all mails of a recipient."""
        request = {"TableName": self._table.name, "Select": "COUNT", "Limit": 1}
        for where, more in (("the table", {}), (f"the index {BY_MONTH}", {"IndexName": BY_MONTH})):
            yield _Trial("Scan", where, self._client.scan, "Count", {**request, **more}, needed=False)

    def _try(self, trial: _Trial) -> Finding:
        try:
            self._calls.make(trial.operation, lambda _now: trial.request, answer=trial.member)
        except ClientError as refused:
            if code_of(refused) != CONDITION_FAILED:
                raise
        except LedgerUnusable as refused:
            if _denied(refused):
                return _not_permitted(trial.action, trial.where) if trial.needed else _spared(trial)
            return _unknown("permission", trial.action, refused)
        found = f"This role may use dynamodb:{trial.action} on {trial.where}."
        return Finding(severity=Severity.OK, check="permission", found=found)


def _denied(refused: LedgerUnusable) -> bool:
    return code_of(refused.__cause__ or refused) == ACCESS_DENIED


def _not_permitted(action: str, where: str) -> Finding:
    return Finding(
        severity=Severity.ERROR,
        check="permission",
        found=f"This role may not use dynamodb:{action} on {where}: the ledger cannot do without.",
        remedy=f"Allow dynamodb:{action} on {where} in the role's policy.",
    )


def _spared(trial: _Trial) -> Finding:
    return Finding(
        severity=Severity.OK,
        check="permission",
        found=f"This role may not use dynamodb:{trial.action} on {trial.where}. Who sends does not need it; the page and "
        "the terminal tool do.",
    )


def _unknown(check: str, action: str, refused: LedgerUnusable) -> Finding:
    return Finding(
        severity=Severity.UNKNOWN,
        check=check,
        found=f"dynamodb:{action} did not tell: {refused.__cause__ or refused}.",
        remedy=f"Allow dynamodb:{action} in the role's policy, or look at it yourself." if _denied(refused) else "",
    )
