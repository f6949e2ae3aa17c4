"""An alert through Airflow's own SNS notifier to a real SNS API, over HTTP, read back from a queue that subscribes."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from mailonce.errors import DuplicateMeasured
from mailonce.notifiers import DeliveryAlert, deadline_missed
from sandbox.aws import LocalAws

pytestmark = pytest.mark.dynamodb


@pytest.fixture
def subscribed(local_aws: LocalAws, connect: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names a topic in the settings; returns what asks a queue for the messages that the topic got."""
    sns, sqs = local_aws.client("sns"), local_aws.client("sqs")
    name = f"alerts-{uuid.uuid4().hex[:12]}"
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    extra = {"region_name": "eu-central-1", "endpoint_url": local_aws.url}
    connect("aws_default", conn_type="aws", login="local", password="local", extra=extra)
    monkeypatch.setenv("AIRFLOW__MAILONCE__ALERT_TOPIC", topic)

    def messages() -> list[dict[str, Any]]:
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    return messages


def test_a_failure_reaches_the_topic(subscribed: Any) -> None:
    DeliveryAlert()({"exception": DuplicateMeasured("1 recipients were sent more than one mail: C-1")})
    (message,) = subscribed()
    assert message["Subject"] == "mailonce: somebody got two mails"
    assert message["Message"] == "1 recipients were sent more than one mail: C-1"
    assert message["MessageAttributes"]["about"]["Value"] == "duplicate"


def test_a_missed_deadline_reaches_the_topic(subscribed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://localhost:8080/")
    run = {"dag_id": "monthly_usage_email", "dag_run_id": "scheduled__2026-11-01"}
    context = {"dag_run": run, "deadline": {"id": "1", "deadline_time": "2026-11-02 00:00:00+00:00"}}
    asyncio.run(deadline_missed(context=context))
    (message,) = subscribed()
    assert message["Subject"] == "mailonce: the month is not out in time (monthly_usage_email scheduled__2026-11-01)"
    assert "2026-11-02 00:00:00+00:00 has passed" in message["Message"]
    assert message["Message"].endswith("http://localhost:8080/dags/monthly_usage_email/runs/scheduled__2026-11-01")
