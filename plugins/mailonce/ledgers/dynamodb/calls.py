"""Requests to DynamoDB: repeated while it is away, and their failures given the meaning of this package's errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
)
from botocore.exceptions import (
    ConnectionError as NoConnection,
)
from botocore.parsers import ResponseParserError
from tenacity import Retrying, before_sleep_log, retry_if_exception, stop_after_delay, wait_random_exponential

from mailonce.errors import LedgerUnavailable, LedgerUnusable
from mailonce.ledgers.dynamodb.clock import TableClock

log = logging.getLogger(__name__)
Request = Callable[[datetime], Mapping[str, Any]]
"""Makes a request's arguments, new for each try: they hold the moment at which it is made."""

ACCESS_DENIED = "AccessDeniedException"
CONDITION_FAILED = "ConditionalCheckFailedException"
_NO_TABLE = "ResourceNotFoundException"
_AWAY = (NoConnection, HTTPClientError, ChecksumError, CredentialRetrievalError, ResponseParserError)
_TRY_AGAIN = frozenset({
    "InternalServerError", "LimitExceededException", "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException", "RequestLimitExceeded", "ServiceUnavailable", "Throttling",
    "ThrottlingException", "TransactionConflictException", "TransactionInProgressException",
})  # fmt: skip

_CREDENTIALS = "Check the AWS connection's credentials, and this machine's clock"
_REMEDIES = {
    ACCESS_DENIED: "Allow this role dynamodb:UpdateItem, BatchGetItem, Query and DescribeTable on the table and "
    "its indexes, and for people who look through the ledger Scan; to purge and to erase DeleteItem; and, if mailonce is to make the table, "
    "CreateTable, UpdateTimeToLive and UpdateContinuousBackups",
    "ExpiredTokenException": _CREDENTIALS,
    "IncompleteSignatureException": _CREDENTIALS,
    "InvalidSignatureException": _CREDENTIALS,
    "MissingAuthenticationTokenException": _CREDENTIALS,
    "UnrecognizedClientException": _CREDENTIALS,
    "ValidationException": "The table may not be a mailonce ledger, or of another version: preflight says what is missing",
}


class NoTable(LedgerUnusable):
    """The table does not exist."""


class UnreadableAnswer(HTTPClientError):
    """DynamoDB answered, but not with an answer: cut off on the way, or something in between answered for it."""

    fmt = "Unreadable answer from DynamoDB: no {member}"


class NothingYet(HTTPClientError):
    """DynamoDB handed every question back: too many at once."""

    fmt = "DynamoDB answered none of the questions yet"


class Calls:
    """Makes requests, as often as it takes. They must be such that a repetition recognises its own work.

    :param patience: how long to keep trying while DynamoDB is away or asks for a slower pace.
    :param clock: learns the table's time from every answer.
    """

    def __init__(self, clock: TableClock, patience: timedelta) -> None:
        self.clock = clock
        self._patience = patience

    def make(
        self, operation: Callable[..., Any], request: Request, *, answer: str, patience: timedelta | None = None
    ) -> Any:
        """Make one request and return DynamoDB's answer.

        :param operation: the boto3 client's method.
        :param answer: the member without which an answer is none.
        :param patience: None: as long as for any request.
        :raises botocore.exceptions.ClientError: the write's condition does not hold (``CONDITION_FAILED``).
        :raises NoTable: there is no such table.
        :raises mailonce.errors.LedgerUnavailable: DynamoDB stayed away.
        :raises mailonce.errors.LedgerUnusable: it refused; says what to do.
        """
        tries = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_delay(self._patience if patience is None else patience),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            before_sleep=before_sleep_log(log, logging.WARNING),
            reraise=True,
        )
        try:
            return tries(self._once, operation, request, answer)
        except (ClientError, BotoCoreError, ResponseParserError) as error:
            if code_of(error) == CONDITION_FAILED:
                raise
            raise _meaning(error) from error

    def _once(self, operation: Callable[..., Any], request: Request, member: str) -> Any:
        asked_at = self.clock.unadjusted()
        try:
            answer = operation(**request(self.clock.now()))
        except ClientError as error:
            self.clock.hear(error.response, asked_at)
            raise
        self.clock.hear(answer, asked_at)
        if member not in answer:
            raise UnreadableAnswer(member=member)
        return answer


def code_of(error: BaseException) -> str:
    """Return the name that AWS gave an error; empty if AWS gave none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _may_pass(error: BaseException) -> bool:
    """Tell whether a failure may be over by the next try. A repetition is always safe."""
    if not isinstance(error, ClientError):
        return isinstance(error, _AWAY)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    # A number in the place of the name means that the error itself could not be read.
    return status >= 500 or code_of(error) in _TRY_AGAIN or code_of(error).isdigit()


def _meaning(error: Exception) -> LedgerUnavailable | LedgerUnusable:
    if _may_pass(error):
        return LedgerUnavailable(f"the DynamoDB ledger is not reachable: {error}")
    code = code_of(error)
    if code == _NO_TABLE:
        return NoTable(f"the DynamoDB ledger's table does not exist: {error}")
    remedy = _REMEDIES.get(code, "" if code else _CREDENTIALS)
    return LedgerUnusable(f"the DynamoDB ledger refused: {error}. {remedy}".rstrip(". "))
