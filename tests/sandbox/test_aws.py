"""The local AWS API does what the ledger and the events queue need of the real one."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from sandbox.aws import LocalAws

ROUNDS = 100
RACERS = 32


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as started:
        yield started


@pytest.fixture(scope="module")
def dynamodb(aws: LocalAws) -> Any:
    client = aws.client("dynamodb")
    client.create_table(
        TableName="claims",
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


def test_it_listens_on_loopback_only(aws: LocalAws) -> None:
    own = [child.pid for child in psutil.Process().children(recursive=True)]
    listening = [
        connection.laddr.ip
        for pid in own
        for connection in psutil.Process(pid).net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}  # the session may have other servers of ours


def test_a_proxy_in_the_environment_is_not_asked(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    aws.client("sqs").list_queues()


def test_a_conditional_write_has_one_winner(dynamodb: Any) -> None:
    """All racers write the same key at the same moment; exactly one may win, in every round."""
    start = Barrier(RACERS)

    def race(round_number: int, racer: int) -> bool:
        start.wait()
        try:
            dynamodb.put_item(
                TableName="claims",
                Item={"key": {"S": f"round-{round_number}"}, "owner": {"N": str(racer)}},
                ConditionExpression="attribute_not_exists(#key)",
                ExpressionAttributeNames={"#key": "key"},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    with ThreadPoolExecutor(RACERS) as pool:
        winners = [sum(pool.map(race, [number] * RACERS, range(RACERS))) for number in range(ROUNDS)]
    assert winners == [1] * ROUNDS


def test_the_loser_of_a_claim_is_told_who_won(dynamodb: Any) -> None:
    item = {"key": {"S": "told"}, "owner": {"S": "first"}}
    dynamodb.put_item(TableName="claims", Item=item)
    with pytest.raises(ClientError) as refused:
        dynamodb.put_item(
            TableName="claims",
            Item={"key": {"S": "told"}, "owner": {"S": "second"}},
            ConditionExpression="attribute_not_exists(#key)",
            ExpressionAttributeNames={"#key": "key"},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert refused.value.response["Item"] == item  # type: ignore[typeddict-item]


def test_queue_topic_and_bucket(aws: LocalAws) -> None:
    sqs, sns, s3 = aws.client("sqs"), aws.client("sns"), aws.client("s3")
    queue = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name="mail-events")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sns.publish(TopicArn=topic, Message='{"eventType": "Send"}')
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    assert json.loads(json.loads(message["Body"])["Message"]) == {"eventType": "Send"}
    s3.create_bucket(Bucket="snapshots", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="snapshots", Key="2030-01/0.json", Body=b"[]")
    assert s3.get_object(Bucket="snapshots", Key="2030-01/0.json")["Body"].read() == b"[]"


def test_it_stops_and_frees_the_port() -> None:
    with LocalAws() as short_lived:
        port = short_lived.port
        environment = short_lived.environment()
    assert environment["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{port}"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
