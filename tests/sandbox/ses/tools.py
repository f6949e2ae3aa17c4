"""What the tests of the SES stand-in share: a client, a mail, a call by hand."""

from __future__ import annotations

import http.client
import json
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
)

from sandbox.ses import SesStandIn

ANN = "ann@example.com"
ROOT = Path(__file__).resolve().parents[3]


def client_of(url: str, read_timeout: float = 1) -> Any:
    return boto3.client(
        "sesv2",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(
            retries={"total_max_attempts": 1},
            read_timeout=read_timeout,
            connect_timeout=1,
            max_pool_connections=32,
        ),
    )


def message(to: str = ANN, subject: str = "Your statement", **changes: Any) -> dict[str, Any]:
    """The arguments of send_email for a small ordinary mail."""
    return {
        "FromEmailAddress": "Billing <billing@example.org>",
        "Destination": {"ToAddresses": [to]},
        "Content": {
            "Simple": {
                "Subject": {"Data": subject, "Charset": "UTF-8"},
                "Body": {
                    "Text": {"Data": "Grüße, 12 €", "Charset": "UTF-8"},
                    "Html": {"Data": "<p>Grüße, <b>12 €</b></p>", "Charset": "UTF-8"},
                },
            }
        },
        **changes,
    }


def tags(**values: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]


def http_call(ses: SesStandIn, method: str, path: str, content: Any = None, **headers: str) -> tuple[int, str, Any]:
    """Status, body and headers of one plain HTTP request. `content` is sent as JSON, or as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", ses.port, timeout=5)
    try:
        body = content if isinstance(content, bytes) or content is None else json.dumps(content).encode()
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


def admin(ses: SesStandIn, method: str, path: str, content: Any = None) -> Any:
    status, body, _ = http_call(ses, method, f"/_standin/{path}", content)
    assert status == 200, body
    return json.loads(body)


def refusal(call: Callable[[], object]) -> tuple[str, int, str]:
    """Error code, HTTP status and text of a call that must be refused."""
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


class Collector:
    """A publisher that hands the events to the test."""

    def __init__(self) -> None:
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()

    def publish(self, event: dict[str, Any]) -> None:
        self.events.put(event)

    def next_types(self, count: int) -> list[str]:
        return [self.events.get(timeout=3)["eventType"] for _ in range(count)]
