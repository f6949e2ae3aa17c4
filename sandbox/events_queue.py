"""The queue of the provider's events, with another behind it for what nobody can read.

As a program it makes them at the API that the AWS SDK's own variables name (``AWS_ENDPOINT_URL`` and so on): the local
AWS of docker-compose.yaml runs this file whenever it has started.
"""

from __future__ import annotations

import json
from typing import Any

import boto3

NAME = "ses-events"


def create_events_queue(sqs: Any) -> str:
    """Make both queues, unless they are there.

    :param sqs: a boto3 client of SQS.
    :return: the URL of the queue of events.
    """
    dead = sqs.create_queue(QueueName=f"{NAME}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "20"})
    attributes = {"RedrivePolicy": redrive, "MessageRetentionPeriod": str(14 * 24 * 3600)}
    return str(sqs.create_queue(QueueName=NAME, Attributes=attributes)["QueueUrl"])


if __name__ == "__main__":
    print(create_events_queue(boto3.client("sqs")))
