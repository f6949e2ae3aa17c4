"""The SQS queue in which the provider's events arrive: a standard queue, which gives out of order and more than once.

Needs ``sqs:ReceiveMessage``, ``sqs:DeleteMessage``, ``sqs:ChangeMessageVisibility`` and ``sqs:GetQueueAttributes``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mailonce.errors import InvalidInput

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

log = logging.getLogger(__name__)

BATCH = 10
"""Messages a request: the most that SQS allows."""

WAIT_SECONDS = 1
"""How long an empty queue is waited for. Any wait makes SQS ask all of its servers, so that no message is overlooked
(SQS Developer Guide, "Amazon SQS short and long polling")."""

VISIBILITY_SECONDS = 120
"""How long a batch is ours alone, whatever the queue's own setting: longer than a ledger's patience. What takes longer
is given out again, which is harmless."""

_MISTAKES = frozenset({
    "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "InvalidAddress", "AccessDenied",
    "AccessDeniedException", "KmsAccessDenied", "InvalidClientTokenId", "UnrecognizedClientException",
})  # fmt: skip
"""What SQS says when somebody must correct something first."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message, ours until it becomes visible again.

    :param id: names it in SQS. :param receipt: names this handing out of it.
    :param again: whether it was handed out before: whoever had it then may have done part of the work.
    """

    id: str
    body: str
    receipt: str
    again: bool


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How many messages there are, approximately; AWS says that it may take a minute to be exact.

    :param waiting: to be had now. :param hidden: handed out to somebody and neither deleted nor given back, or delayed.
    """

    waiting: int
    hidden: int


class EventQueue:
    """One queue. Safe to use from many threads; that SQS's client repeats requests by itself is harmless.

    :param url: of the queue. :param setting: the setting that names it.
    :raises mailonce.errors.InvalidInput: it is none.

    Every method raises :class:`mailonce.errors.InvalidInput` for a queue that is not there or may not be used.
    """

    def __init__(self, client: SQSClient, url: str, *, setting: str = "events_queue_url") -> None:
        self._client = client
        self._url = url
        self._setting = setting
        if not url.startswith(("https://", "http://")):
            raise self._mistake(f"{url!r} is no URL", "Give the queue's URL, not its name or ARN")

    def receive(self) -> Sequence[Message]:
        """Take up to :data:`BATCH` messages; none: there are none that could be had."""
        with self._asking("ReceiveMessage"):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=WAIT_SECONDS,
                VisibilityTimeout=VISIBILITY_SECONDS,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        return [
            Message(
                id=message["MessageId"],
                body=message["Body"],
                receipt=message["ReceiptHandle"],
                again=message.get("Attributes", {}).get("ApproximateReceiveCount", "1") != "1",
            )
            for message in answer.get("Messages", [])
        ]

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages. What SQS does not delete comes again, and is known by then."""
        with self._asking("DeleteMessageBatch"):
            answer = self._client.delete_message_batch(
                QueueUrl=self._url,
                Entries=[{"Id": str(n), "ReceiptHandle": message.receipt} for n, message in enumerate(messages)],
            )
        for failed in answer.get("Failed", []):
            log.warning(
                "SQS did not delete message %s, so it will come again (%s: %s)",
                messages[int(failed["Id"])].id, failed["Code"], failed.get("Message", ""),
            )  # fmt: skip

    def give_back(self, messages: Sequence[Message], *, after: int = 0) -> None:
        """Let messages be had again, at once or ``after`` so many seconds. Never raises: something else is wrong already."""
        try:
            answer = self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": message.receipt, "VisibilityTimeout": after}
                    for n, message in enumerate(messages)
                ],
            )
            failures: Any = answer.get("Failed", [])
        except (BotoCoreError, ClientError) as error:
            failures = error
        if failures:
            log.warning(
                "messages could not be given back, and come again within %d seconds: %s", VISIBILITY_SECONDS, failures
            )

    def depth(self) -> Depth:
        """Ask how many messages there are."""
        with self._asking("GetQueueAttributes"):
            answer = self._client.get_queue_attributes(
                QueueUrl=self._url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )
        numbers: Mapping[str, str] = {str(name): value for name, value in answer["Attributes"].items()}
        return Depth(
            waiting=int(numbers["ApproximateNumberOfMessages"]),
            hidden=int(numbers["ApproximateNumberOfMessagesNotVisible"])
            + int(numbers.get("ApproximateNumberOfMessagesDelayed", 0)),
        )

    @contextmanager
    def _asking(self, action: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            said = error.response["Error"]
            if said["Code"] not in _MISTAKES:
                raise
            raise self._mistake(
                f"SQS refuses {action} on {self._url} ({said['Code']}: {said.get('Message', '')})",
                f"Check the URL, and that the role of aws_conn_id may do sqs:{action.removesuffix('Batch')}",
            ) from error

    def _mistake(self, reason: str, remedy: str) -> InvalidInput:
        return InvalidInput(field=f"setting [mailonce] {self._setting}", reason=reason, remedy=remedy)
