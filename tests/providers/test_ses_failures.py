"""The table of :mod:`mailonce.providers.ses_failures`, from the outside: every failure, and what it proves."""

from __future__ import annotations

import inspect
import ssl
from typing import Any

import botocore.exceptions as aws
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from mailonce.errors import DailyQuotaExceeded, InDoubt, NeverLeft, NotDelivered, Rejected, RunBlocked, Throttled
from mailonce.providers.ses_failures import proved_by

URL = "https://email.eu-central-1.amazonaws.com"
SENDER = "Billing <billing@example.com>"


def answer(status: int, code: str, text: str = "") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "SendEmail")


REFUSED_BY_TLS = ssl.SSLCertVerificationError("certificate verify failed")


@pytest.mark.parametrize(
    ("status", "code", "text", "proved"),
    [
        # Too fast, or the day's quota: one error, told apart by its text.
        (429, "TooManyRequestsException", "Maximum sending rate exceeded.", Throttled),
        (429, "TooManyRequestsException", "Daily message quota exceeded.", DailyQuotaExceeded),
        (429, "TooManyRequestsException", "", Throttled),
        (429, "SomethingNew", "slow down", Throttled),
        (400, "Throttling", "Maximum sending rate exceeded.", Throttled),
        (400, "Throttling", "Daily message quota exceeded.", DailyQuotaExceeded),
        (400, "ThrottlingException", "Rate exceeded", Throttled),
        (400, "RequestLimitExceeded", "", Throttled),
        # This recipient, this mail.
        (400, "MessageRejected", "Email content is not allowed.", Rejected),
        (400, "BadRequestException", "Missing final '@domain'", Rejected),
        (400, "InvalidParameterValue", "Illegal address", Rejected),
        (400, "ValidationException", "", Rejected),
        # Everybody.
        (400, "SendingPausedException", "Sending paused for this account.", RunBlocked),
        (400, "AccountSuspendedException", "", RunBlocked),
        (400, "MailFromDomainNotVerifiedException", "", RunBlocked),
        (404, "NotFoundException", "Configuration set <x> does not exist.", RunBlocked),
        (400, "LimitExceededException", "", RunBlocked),
        (403, "AccessDeniedException", "not authorized to perform ses:SendEmail", RunBlocked),
        (403, "SignatureDoesNotMatch", "Signature expired", RunBlocked),
        (403, "ExpiredTokenException", "", RunBlocked),
        (400, "SomethingNew", "", RunBlocked),
        # The server may have taken it, whatever it says.
        (500, "InternalFailure", "", InDoubt),
        (500, "MessageRejected", "Email content is not allowed.", InDoubt),
        (502, "502", "Bad Gateway", InDoubt),
        (503, "ServiceUnavailable", "", InDoubt),
        (503, "Throttling", "Maximum sending rate exceeded.", InDoubt),
        (504, "GatewayTimeout", "", InDoubt),
        (408, "RequestTimeout", "", InDoubt),
        (200, "Whatever", "", InDoubt),
        (302, "PermanentRedirect", "", InDoubt),
        (0, "NoStatus", "", InDoubt),
    ],
)
def test_answers(status: int, code: str, text: str, proved: type[NotDelivered]) -> None:
    error = proved_by(answer(status, code, text), sender=SENDER)
    assert type(error) is proved
    assert code in error.detail
    assert text in error.detail


def test_an_answer_without_any_detail_is_in_doubt() -> None:
    assert type(proved_by(ClientError({}, "SendEmail"), sender=SENDER)) is InDoubt


FAILED_CHECK = "Email address is not verified. The following identities failed the check in region EU-CENTRAL-1: "


@pytest.mark.parametrize(
    ("named", "sender", "proved"),
    [
        ("billing@example.com", SENDER, RunBlocked),
        ("Billing@Example.COM", "billing@example.com", RunBlocked),
        ("Billing <billing@example.com>", SENDER, RunBlocked),
        ("example.com", SENDER, RunBlocked),
        ("ann@else.example", SENDER, Rejected),
        ("ann@else.example, ben@else.example", SENDER, Rejected),
        ("ann@else.example, billing@example.com", SENDER, RunBlocked),
        ("", SENDER, RunBlocked),
    ],
)
def test_whose_address_is_not_verified(named: str, sender: str, proved: type[NotDelivered]) -> None:
    error = proved_by(answer(400, "MessageRejected", FAILED_CHECK + named), sender=sender)
    assert type(error) is proved


NEVER_LEFT = [
    aws.EndpointConnectionError(endpoint_url=URL, error="refused"),
    aws.ConnectTimeoutError(endpoint_url=URL),
    aws.ProxyConnectionError(proxy_url="http://proxy"),
    aws.SSLError(endpoint_url=URL, error=REFUSED_BY_TLS),
    aws.SSLError(endpoint_url=URL, error=OSError("max retries", REFUSED_BY_TLS)),
]
LEFT = [
    aws.ReadTimeoutError(endpoint_url=URL),
    aws.ConnectionClosedError(endpoint_url=URL),
    aws.HTTPClientError(error="anything"),
    aws.ResponseStreamingError(error="cut off"),
    aws.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    # TLS breaks after the handshake too, with the request on its way.
    aws.SSLError(endpoint_url=URL, error=ssl.SSLError("bad record mac")),
    aws.SSLError(endpoint_url=URL, error=ssl.SSLEOFError("EOF occurred in violation of protocol")),
    aws.SSLError(endpoint_url=URL, error="text only"),
]
BLOCKED = [
    aws.NoCredentialsError(),
    aws.PartialCredentialsError(provider="env", cred_var="aws_secret_access_key"),
    aws.CredentialRetrievalError(provider="iam", error_msg="expired"),
    aws.NoRegionError(),
]
OTHER = [
    aws.BotoCoreError(),
    ValueError("Extra data"),
    KeyError("MessageId"),
    OSError("disk"),
    RuntimeError("cannot schedule new futures"),
]


@pytest.mark.parametrize(
    ("error", "proved"),
    [
        *((error, NeverLeft) for error in NEVER_LEFT),
        *((error, InDoubt) for error in [*LEFT, *OTHER]),
        *((error, RunBlocked) for error in BLOCKED),
        (aws.ParamValidationError(report="Unknown parameter"), Rejected),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else repr(value)[:60],
)
def test_failures_without_an_answer(error: Exception, proved: type[NotDelivered]) -> None:
    found = proved_by(error, sender=SENDER)
    assert type(found) is proved
    assert str(error) in found.detail


KNOWN_NOT_TO_BE_IN_DOUBT = {type(error) for error in [*NEVER_LEFT, *BLOCKED]} | {aws.ParamValidationError}
EVERY_OTHER_CLASS = sorted(
    (
        kind
        for _, kind in inspect.getmembers(aws, inspect.isclass)
        if issubclass(kind, (BotoCoreError, ClientError)) and not issubclass(kind, tuple(KNOWN_NOT_TO_BE_IN_DOUBT))
    ),
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", EVERY_OTHER_CLASS, ids=lambda kind: kind.__name__)
def test_whatever_else_botocore_raises_proves_nothing(kind: type[Exception]) -> None:
    # Made without its arguments, for the class alone decides here.
    error = kind.__new__(kind)
    error.__dict__.update(response={}, operation_name="SendEmail", kwargs={})
    assert type(proved_by(error, sender=SENDER)) is InDoubt
