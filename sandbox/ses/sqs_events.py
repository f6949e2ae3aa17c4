"""Sends events to an SQS queue, in the envelope in which SNS delivers them."""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from .event_records import ACCOUNT
from .records import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence


def sns_envelope(event: dict[str, Any], region: str = "us-east-1") -> dict[str, Any]:
    """The event as an SQS subscriber of the SNS topic receives it. The signature is not a real one."""
    topic = f"arn:aws:sns:{region}:{ACCOUNT}:ses-events"
    host = f"https://sns.{region}.amazonaws.com"
    return {
        "Type": "Notification",
        "MessageId": str(uuid.uuid4()),
        "TopicArn": topic,
        "Subject": "Amazon SES Email Event Notification",
        # The real service ends the text with a newline.
        "Message": json.dumps(event) + "\n",
        "Timestamp": timestamp(),
        "SignatureVersion": "1",
        "Signature": "U3RhbmQtaW46IG5vdCBhIHNpZ25hdHVyZQ==",
        "SigningCertURL": f"{host}/SimpleNotificationService-00000000000000000000000000000000.pem",
        "UnsubscribeURL": f"{host}/?Action=Unsubscribe&SubscriptionArn={topic}:{uuid.UUID(int=0)}",
    }


class SqsEvents:
    """A publisher for `SesStandIn(events=...)`: one SQS message per event."""

    def __init__(
        self,
        queue_url: str,
        endpoint_url: str | None = None,
        wrap_in_sns: bool = True,
        region_name: str = "us-east-1",
    ) -> None:
        """`endpoint_url` names a local SQS; any credentials will do there, and are made up if there are none."""
        credentials: dict[str, Any] = {}
        if endpoint_url and "AWS_ACCESS_KEY_ID" not in os.environ and "AWS_PROFILE" not in os.environ:
            credentials = {"aws_access_key_id": "standin", "aws_secret_access_key": "standin"}
        self._queue_url = queue_url
        self._wrap_in_sns = wrap_in_sns
        self._region = region_name
        self._client: Any = boto3.client(
            "sqs",
            endpoint_url=endpoint_url,
            region_name=region_name,
            config=Config(connect_timeout=2, read_timeout=5),
            **credentials,
        )

    def publish(self, event: dict[str, Any]) -> None:
        """Send one event."""
        self._client.send_message(QueueUrl=self._queue_url, MessageBody=self._body(event))

    def publish_many(self, events: Sequence[dict[str, Any]]) -> None:
        """Send up to ten events in one request."""
        entries = [{"Id": str(number), "MessageBody": self._body(event)} for number, event in enumerate(events)]
        answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        if answer.get("Failed"):
            raise RuntimeError(f"SQS refused {len(answer['Failed'])} of {len(events)} events: {answer['Failed'][0]}")

    def _body(self, event: dict[str, Any]) -> str:
        return json.dumps(sns_envelope(event, self._region) if self._wrap_in_sns else event)
