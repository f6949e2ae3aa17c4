"""Calls without what boto3 does around them: the same request, the same answers and the same errors as boto3's own."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from mailonce.direct_calls import USER_AGENT, direct_call

REQUESTS: dict[tuple[str, str], dict[str, Any]] = {
    ("sesv2", "SendEmail"): {
        "FromEmailAddress": "Ann <ann@example.com>",
        "Destination": {"ToAddresses": ["bob@example.com"]},
        "Content": {"Simple": {"Subject": {"Data": "grüßt"}, "Body": {"Text": {"Data": "3 €"}}}},
    },
    ("dynamodb", "UpdateItem"): {
        "TableName": "ledger",
        "Key": {"key": {"S": "0f"}},
        "UpdateExpression": "SET #n = :n",
        "ExpressionAttributeNames": {"#n": "name"},
        "ExpressionAttributeValues": {":n": {"L": [{"M": {"by": {"NULL": True}, "number": {"N": "1"}}}]}},
    },
}
METHODS = {"SendEmail": "send_email", "UpdateItem": "update_item"}
ONCE = Config(retries={"total_max_attempts": 1, "mode": "standard"}, proxies={}, user_agent=USER_AGENT)


class Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self._content


class Wire:
    """A client whose requests are kept and answered here."""

    def __init__(self, service: str, status: int = 200, body: str = "{}", **options: Any) -> None:
        self.requests: list[Any] = []
        self.answer = (status, body)
        keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret", "aws_session_token": "token"}
        self.client: Any = boto3.session.Session().client(
            service, **{"region_name": "eu-central-1", "config": ONCE, **keys, **options}
        )
        self.client.meta.events.register_last("before-send", self._answer)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        self.requests.append(request)
        status, body = self.answer
        return AWSResponse(request.url, status, {"Date": "now"}, Body(body.encode()))  # type: ignore[arg-type]


def both(service: str, operation: str, *answer: Any) -> list[tuple[Wire, Callable[..., Any]]]:
    wires = [Wire(service, *answer), Wire(service, *answer)]
    return [
        (wires[0], getattr(wires[0].client, METHODS[operation])),
        (wires[1], learned(wires[1], operation)),
    ]


def learned(wire: Wire, operation: str) -> Callable[..., Any]:
    """Return a direct call that knows where to: from a first call, which is boto3's own."""
    call = direct_call(wire.client, operation)
    real, wire.answer = wire.answer, (200, "{}")
    call(**REQUESTS[wire.client.meta.service_model.service_name, operation])
    wire.answer = real
    assert wire.requests.pop().headers["amz-sdk-invocation-id"]
    return call


def headers(request: Any) -> dict[str, str]:
    """What a service may look at, without what differs between two requests of the same client."""
    told = {
        name.lower(): value if isinstance(value, str) else value.decode() for name, value in request.headers.items()
    }
    signed = told.pop("authorization").partition("Signature=")[0].partition("SignedHeaders=")[0]
    for name in ("x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request"):
        told.pop(name, None)
    return {**told, "authorization": signed.partition("/20")[0]}


@pytest.mark.parametrize(("service", "operation"), REQUESTS)
def test_the_same_request(service: str, operation: str) -> None:
    arguments = REQUESTS[service, operation]
    sent = []
    for wire, call in both(service, operation):
        call(**arguments)
        (request,) = wire.requests
        sent.append((request.method, request.url, json.loads(request.body), headers(request)))
    assert sent[1] == sent[0]


def signature_of(request: Any, service: str) -> str:
    """Return the signature that the service computes: AWS General Reference, "Create a signed AWS API request"."""
    told = {
        name.lower(): value if isinstance(value, str) else value.decode() for name, value in request.headers.items()
    }
    signed = told["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    address = urlsplit(request.url)
    told["host"] = address.netloc
    lines = [f"{name}:{' '.join(told[name].split())}" for name in signed.split(";")]
    digest = hashlib.sha256(request.body).hexdigest()
    canonical = "\n".join([request.method, address.path, address.query, *lines, "", signed, digest])
    moment = told["x-amz-date"]
    scope = [moment[:8], "eu-central-1", service, "aws4_request"]
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4secret"
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


@pytest.mark.parametrize(
    ("service", "operation", "name"), [("sesv2", "SendEmail", "ses"), ("dynamodb", "UpdateItem", "dynamodb")]
)
def test_the_signature_is_the_one_that_the_service_computes(service: str, operation: str, name: str) -> None:
    for wire, call in both(service, operation):
        call(**REQUESTS[service, operation])
        (request,) = wire.requests
        told = str(request.headers["Authorization"])
        assert f"/eu-central-1/{name}/aws4_request" in told
        assert told.partition("Signature=")[2].rstrip("'") == signature_of(request, name)


@pytest.mark.parametrize(("service", "operation"), REQUESTS)
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, '{"__type": "com.amazonaws.dynamodb#ConditionalCheckFailedException", "Item": {"key": {"S": "0f"}}, "message": "no"}'),
        (400, '{"message": "Email address is not verified."}'),
        (429, '{"message": "Maximum sending rate exceeded."}'),
        (403, "{}"),
        (500, ""),
        (503, "<html>busy</html>"),
        (302, ""),
    ],
)  # fmt: skip
def test_the_same_errors(service: str, operation: str, status: int, body: str) -> None:
    raised = []
    for _, call in both(service, operation, status, body):
        with pytest.raises(ClientError) as caught:
            call(**REQUESTS[service, operation])
        response: Any = caught.value.response
        for about_retries in ("RetryAttempts", "MaxAttemptsReached"):
            response["ResponseMetadata"].pop(about_retries, None)
        words = str(caught.value).replace(" (reached max retries: 0)", "")
        raised.append((type(caught.value).__name__, words, response))
    assert raised[1] == raised[0]


@pytest.mark.parametrize("body", ['{"MessageId": "m-1"}', '{"MessageId', "", "[]", "null"])
def test_the_same_answers(body: str) -> None:
    said = []
    for _, call in both("sesv2", "SendEmail", 200, body):
        try:
            said.append(call(**REQUESTS["sesv2", "SendEmail"]).get("MessageId"))
        except Exception as error:  # noqa: BLE001 - whatever it is
            said.append(type(error).__name__)
    assert said[1] == said[0]


@pytest.mark.parametrize(("service", "operation"), REQUESTS)
@pytest.mark.parametrize("region", ["us-east-1", "eu-south-2", "us-gov-west-1", "cn-north-1"])
@pytest.mark.parametrize("variant", [{}, {"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}])
def test_the_same_address(service: str, operation: str, region: str, variant: dict[str, bool]) -> None:
    """boto3 evaluates the service's endpoint rules for each call; here the client's own answer to them must do."""
    sent = []
    for use_direct_call in (False, True):
        wire = Wire(service, region_name=region, config=ONCE.merge(Config(**variant)))  # type: ignore[arg-type]
        call = learned(wire, operation) if use_direct_call else getattr(wire.client, METHODS[operation])
        call(**REQUESTS[service, operation])
        sent.append(wire.requests[0].url)
    assert sent[1] == sent[0]


def test_no_credentials_is_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.credentials.CredentialResolver.load_credentials", lambda _self: None)
    nobody = {"aws_access_key_id": None, "aws_secret_access_key": None, "aws_session_token": None}
    for call in (Wire("sesv2", **nobody).client.send_email, direct_call(Wire("sesv2", **nobody).client, "SendEmail")):
        with pytest.raises(NoCredentialsError):
            call(**REQUESTS["sesv2", "SendEmail"])


def test_what_never_connects_is_the_same_error() -> None:
    client: Any = boto3.session.Session().client(
        "sesv2", region_name="eu-central-1", endpoint_url="http://127.0.0.1:9", config=ONCE,
        aws_access_key_id="a", aws_secret_access_key="s",
    )  # fmt: skip
    for call in (client.send_email, direct_call(client, "SendEmail")):
        with pytest.raises(EndpointConnectionError):
            call(**REQUESTS["sesv2", "SendEmail"])


def test_a_client_of_another_make_keeps_its_own_method() -> None:
    class Imitation:
        def __init__(self, meta: Any) -> None:
            self.meta = meta

        def send_email(self, **_: Any) -> str:
            return "its own"

    meta = Wire("sesv2").client.meta
    assert direct_call(Imitation(meta), "SendEmail")() == "its own"
