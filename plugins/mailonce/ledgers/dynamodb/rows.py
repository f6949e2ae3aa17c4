"""The requests that the ledger is made of: write one row on a condition, read rows, look keys up in an index."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
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
        # A million rows are counted by these two; with boto3's own parser that would take minutes of processor time.
        self._scan = direct_call(client, "Scan")
        self._read_parts = direct_call(client, "BatchGetItem")
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

    def delete(self, key: str, condition: Write, values: Callable[[datetime], Mapping[str, Any]]) -> bool:
        """Delete one row on a condition; ``dynamodb:DeleteItem``, which no run needs.

        :param condition: a write that changes nothing. :param values: as for :meth:`write`.
        :return: whether it was deleted by this try.
        """

        def request(now: datetime) -> dict[str, Any]:
            asked = condition.expressions(values(now))
            del asked["UpdateExpression"]
            return {"TableName": self._table.name, "Key": {"key": {"S": key}}, **asked}

        try:
            self._call(self._client.delete_item, request, "ResponseMetadata")
        except ClientError as refused:
            if code_of(refused) != CONDITION_FAILED:
                raise
            return False
        return True

    def read(
        self, keys: Iterable[str], patience: timedelta | None = None, attributes: Sequence[str] = ()
    ) -> Iterator[Item]:
        """Yield the rows of at most 100 keys, expired or not, as the last write left them.

        :param attributes: only these; empty: all.
        """
        name = self._table.name
        # A key twice in one question is refused.
        question = {"Keys": [{"key": {"S": key}} for key in dict.fromkeys(keys)], "ConsistentRead": True}
        asked: dict[str, Any] = {name: {**question, **_only(attributes)}}
        operation = self._read_parts if attributes else self._client.batch_get_item
        while asked:
            answer = self._call(
                partial(_progressing, operation), _timeless({"RequestItems": asked}), "Responses", patience
            )
            yield from map(item, answer["Responses"].get(name, ()))
            asked = answer.get("UnprocessedKeys", {})

    def listed(self, name: str) -> Iterator[list[str]]:
        """Yield the keys that the index by month lists under a name, by recipients' ids, at most 100 at a time."""
        found = heapq.merge(
            *(self.look_up(BY_MONTH, "month_shard", shard) for shard in shards(name)), key=itemgetter("recipient_id")
        )
        while some := [row["key"] for row in islice(found, KEYS_PER_QUESTION)]:
            yield some

    def look_up(
        self, index: str, attribute: str, value: str, *, begin: tuple[str, str] | None = None, page: int = 1000
    ) -> Iterator[Item]:
        """Yield what an index holds under one partition key, in the order of its sort key, page by page.

        :param begin: the sort key, and the value with which to begin.
        """
        condition, names, values = "#attribute = :value", {"#attribute": attribute}, {":value": {"S": value}}
        if begin and begin[1]:  # no key is empty, and DynamoDB refuses to look for one
            condition += " AND #sorted >= :begin"
            names["#sorted"], values[":begin"] = begin[0], {"S": begin[1]}
        request = {
            "TableName": self._table.name,
            "IndexName": index,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "Limit": page,
        }
        yield from self._paged(self._client.query, request)

    def scanned(
        self, part: tuple[int, int], attributes: Sequence[str], *, index: str | None = None, equal: tuple[str, str]
    ) -> Iterator[Item]:
        """Yield one part of the whole table, or of an index, in no order; as it was a moment ago.

        :param part: which one (from 0 on), and of how many. :param attributes: only these.
        :param equal: an attribute, and the value that it must have; an empty value: that it must be there.
        """
        name, value = equal
        only = _only(attributes)
        request = {
            "TableName": self._table.name,
            **({"IndexName": index} if index else {}),
            "Segment": part[0],
            "TotalSegments": part[1],
            **only,
            "FilterExpression": "#equal = :value" if value else "attribute_exists(#equal)",
            "ExpressionAttributeNames": {**only["ExpressionAttributeNames"], "#equal": name},
            **({"ExpressionAttributeValues": {":value": {"S": value}}} if value else {}),
        }
        yield from self._paged(self._scan, request)

    def _paged(self, operation: Callable[..., Any], request: dict[str, Any]) -> Iterator[Item]:
        while True:
            answer = self._call(operation, _timeless(request), "Items")
            yield from map(item, answer["Items"])
            if not (last := answer.get("LastEvaluatedKey")):
                return
            request["ExclusiveStartKey"] = last

    def _call(
        self, operation: Callable[..., Any], request: Request, answer: str, patience: timedelta | None = None
    ) -> Any:
        try:
            return self._calls.make(operation, request, answer=answer, patience=patience)
        except NoTable:
            if self._table.prepare():
                log.warning("ledger table %s did not exist and was made: it knows of no earlier mail", self._table.name)
            return self._calls.make(operation, request, answer=answer, patience=patience)


def _only(attributes: Sequence[str]) -> dict[str, Any]:
    """Return the arguments by which a question asks for some attributes only; some of ours are reserved words."""
    if not attributes:
        return {}
    names = {f"#{name}": name for name in attributes}
    return {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}


def _progressing(operation: Callable[..., Any], **request: Any) -> Any:
    """Ask once; an answer without any progress counts as none, so that the next question waits."""
    answer = operation(**request)
    (asked,), left = request["RequestItems"].values(), answer.get("UnprocessedKeys", {}).values()
    if sum(len(some["Keys"]) for some in left) == len(asked["Keys"]):
        raise NothingYet
    return answer


def _timeless(request: Mapping[str, Any]) -> Request:
    return lambda _now: request
