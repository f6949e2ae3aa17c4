"""A wire between a client and the local DynamoDB API that counts what passes, and misbehaves as told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

from sandbox.aws import ACCESS_KEY, REGION, SECRET_KEY, LocalAws


class Wire:
    """The wire between a client and DynamoDB: counts what passes, and misbehaves as often as told.

    ``lose`` answers are lost after DynamoDB did the work; ``answer`` takes the place of DynamoDB's.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.requests: Counter[str] = Counter()
        self.lose = 0
        self.answers: list[Callable[[Any], AWSResponse]] = []
        self._http = URLLib3Session(proxies={})
        client.meta.events.register("before-send.dynamodb", self._pass)

    def _pass(self, request: Any, event_name: str, **_rest: Any) -> AWSResponse | None:
        self.requests[event_name.rsplit(".", 1)[-1]] += 1
        if self.answers:
            return self.answers.pop(0)(request)
        if self.lose:
            self.lose -= 1
            self._http.send(request.copy() if hasattr(request, "copy") else request)
            raise ConnectionClosedError(endpoint_url=request.url)
        return None


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self._content


def answer(status: int, body: str) -> Callable[[Any], AWSResponse]:
    return lambda request: AWSResponse(request.url, status, {}, _Body(body.encode()))  # type: ignore[arg-type]


def refusal(code: str, status: int = 400) -> Callable[[Any], AWSResponse]:
    return answer(status, f'{{"__type": "com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}}')


def wire_to(aws: LocalAws) -> Wire:
    """A new client of this API, and the wire that it uses."""
    # Few tries of boto3's own, whose pauses are long; ours follow.
    config = Config(retries={"total_max_attempts": 2, "mode": "standard"}, proxies={}, max_pool_connections=64)
    client = boto3.client(
        "dynamodb",
        endpoint_url=aws.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=config,
    )
    return Wire(client)
