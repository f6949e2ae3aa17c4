"""The requests that the ledger is made of: write one row on a condition, read rows, look keys up in an index."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mailonce.direct_calls import direct_call
from mailonce.ledgers.dynamodb.calls import CONDITION_FAILED, Calls, NoTable, NothingYet, Request, code_of
from mailonce.ledgers.dynamodb.expressions import Write
from mailonce.ledgers.dynamodb.items import Item, item, shards
from mailonce.ledgers.dynamodb.table import BY_MONTH, LedgerTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

log = logging.getLogger(__name__)
KEYS_PER_QUESTION = 100
"""As many items as ``BatchGetItem`` takes."""


class Rows:
    """Writes and reads the rows of one table, which is made on first use if it does not exist.

    Every method raises what :meth:`mailonce.ledgers.dynamodb.calls.Calls.make` raises.
    """

    def __init__(self, client: DynamoDBClient, calls: Calls, table: LedgerTable) -> None:
        self._client = client
        self._update_item = direct_call(client, "UpdateItem")
        self._calls = calls
        self._table = table

    def write(
        self,
        key: str,
        write: Write,
        values: Callable[[datetime], Mapping[str, Any]],
        patience: timedelta | None = None,
    ) -> tuple[bool, Item | None]:
        """Try one conditional write.

        :param values: makes the write's values, given the table's time.
        :return: whether it was done, and the row as it stands in either case; None when there is none.
        """

        def request(now: datetime) -> dict[str, Any]:
            return {
                "TableName": self._table.name,
                "Key": {"key": {"S": key}},
                "ReturnValues": "ALL_NEW",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                **write.expressions(values(now)),
            }

        try:
            answer = self._call(self._update_item, request, "Attributes", patience)
        except ClientError as refused:
            if code_of(refused) != CONDITION_FAILED:
                raise
            response: Mapping[str, Any] = refused.response
            if row := response.get("Item"):
                return False, item(row)
            # There is no row, or this is a DynamoDB API that does not tell.
            return False, next(self.read([key], patience), None)
        return True, item(answer["Attributes"])

    def read(self, keys: Iterable[str], patience: timedelta | None = None) -> Iterator[Item]:
        """Yield the rows of at most 100 keys, expired or not, as the last write left them."""
        name = self._table.name
        # A key twice in one question is refused.
        question = {"Keys": [{"key": {"S": key}} for key in dict.fromkeys(keys)], "ConsistentRead": True}
        asked: dict[str, Any] = {name: question}
        while asked:
            answer = self._call(self._batch_get_item, _timeless({"RequestItems": asked}), "Responses", patience)
            yield from map(item, answer["Responses"].get(name, ()))
            asked = answer.get("UnprocessedKeys", {})

    def listed(self, name: str) -> Iterator[list[str]]:
        """Yield the keys that the index by month lists under a name, by recipients' ids, at most 100 at a time."""
        found = heapq.merge(
            *(self.look_up(BY_MONTH, "month_shard", shard) for shard in shards(name)), key=itemgetter("recipient_id")
        )
        while some := [row["key"] for row in islice(found, KEYS_PER_QUESTION)]:
            yield some

    def look_up(self, index: str, attribute: str, value: str) -> Iterator[Item]:
        """Yield what an index holds under one partition key, in the order of its sort key, page by page."""
        request: dict[str, Any] = {
            "TableName": self._table.name,
            "IndexName": index,
            "KeyConditionExpression": "#attribute = :value",
            "ExpressionAttributeNames": {"#attribute": attribute},
            "ExpressionAttributeValues": {":value": {"S": value}},
            "Limit": 1000,
        }
        while True:
            answer = self._call(self._client.query, _timeless(request), "Items")
            yield from map(item, answer["Items"])
            if not (last := answer.get("LastEvaluatedKey")):
                return
            request["ExclusiveStartKey"] = last

    def _batch_get_item(self, **request: Any) -> Any:
        """Ask once; an answer without any progress counts as none, so that the next question waits."""
        answer = self._client.batch_get_item(**request)
        (asked,), left = request["RequestItems"].values(), answer.get("UnprocessedKeys", {}).values()
        if sum(len(some["Keys"]) for some in left) == len(asked["Keys"]):
            raise NothingYet
        return answer

    def _call(
        self, operation: Callable[..., Any], request: Request, answer: str, patience: timedelta | None = None
    ) -> Any:
        try:
            return self._calls.make(operation, request, answer=answer, patience=patience)
        except NoTable:
            if self._table.prepare():
                log.warning("ledger table %s did not exist and was made: it knows of no earlier mail", self._table.name)
            return self._calls.make(operation, request, answer=answer, patience=patience)


def _timeless(request: Mapping[str, Any]) -> Request:
    return lambda _now: request
