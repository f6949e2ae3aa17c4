"""What each failure of Amazon SES proves: one table, read from top to bottom.

Sources: the errors of ``SendEmail`` in the SES v2 API reference; the classes in ``botocore.exceptions`` and where
``botocore.httpsession`` raises them.
"""

from __future__ import annotations

import re
import ssl
from http import HTTPStatus
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
)

from mailonce.errors import DailyQuotaExceeded, InDoubt, NeverLeft, NotDelivered, Rejected, RunBlocked, Throttled

THROTTLED = frozenset({"TooManyRequestsException", "Throttling", "ThrottlingException", "RequestLimitExceeded"})
REFUSED_RECIPIENT = frozenset(
    {"MessageRejected", "BadRequestException", "InvalidParameterValue", "ValidationException"}
)
"""Refusals of this recipient or this mail. Every other refusal stops the run: it would hit everybody."""

_NEVER_CONNECTED = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, NoRegionError)


def proved_by(error: Exception, *, sender: str) -> NotDelivered:
    """Return the error that says what a failed ``SendEmail`` proves.

    :param error: what botocore raised.
    :param sender: the mail's sender: a refusal that names it is no fault of the recipient.
    """
    if isinstance(error, ClientError):
        return _answer(error, sender)
    if isinstance(error, _NEVER_CONNECTED) or _certificate_refused(error):
        return NeverLeft(f"the provider could not be reached ({type(error).__name__}: {error}).")
    if isinstance(error, ParamValidationError):
        return Rejected(f"the mail does not fit the provider's interface ({error}).")
    if isinstance(error, _NO_CREDENTIALS):
        return RunBlocked(f"no usable AWS credentials or region ({error}).")
    if isinstance(error, (HTTPClientError, SSLError)):
        # Read time-out, connection lost, an SSL fault after the handshake: the same whether the mail was taken or not.
        return InDoubt(f"the request left, but no answer came ({type(error).__name__}: {error}).")
    if isinstance(error, BotoCoreError):
        return InDoubt(f"the answer could not be understood ({type(error).__name__}: {error}).")
    return InDoubt(f"failed while sending ({type(error).__name__}: {error}).")


def _certificate_refused(error: Exception) -> bool:
    """Tell whether the TLS handshake failed at the certificate: only then is an SSLError known to come before sending."""
    cause: Any = error.kwargs.get("error") if isinstance(error, SSLError) else None
    while isinstance(cause, BaseException):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        inner = next((part for part in cause.args if isinstance(part, BaseException)), None)
        cause = cause.__cause__ or getattr(cause, "reason", None) or inner
    return False


def _answer(error: ClientError, sender: str) -> NotDelivered:
    code = str(error.response.get("Error", {}).get("Code", ""))
    text = str(error.response.get("Error", {}).get("Message", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{code}: {text}" if text else code
    if not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return InDoubt(f"the provider answered {status} ({said}), which does not say whether it took the mail.")
    if code in THROTTLED or status == HTTPStatus.TOO_MANY_REQUESTS:
        # Rate and daily quota share one error; only the text tells them apart.
        if "quota" in text.lower():
            return DailyQuotaExceeded(f"the daily quota is used up ({said}).")
        return Throttled(f"the provider asks for a slower pace ({said}).")
    if code == "MessageRejected" and "not verified" in text.lower():
        return _not_verified(said, text, sender)
    if code in REFUSED_RECIPIENT:
        return Rejected(f"the provider refused it ({said}).")
    return RunBlocked(f"the provider refuses to send for this account ({said}).")


def _not_verified(said: str, text: str, sender: str) -> NotDelivered:
    """An account in the SES sandbox must verify its recipients too; a sender that is not verified stops everybody."""
    address = sender.rpartition("<")[2].rstrip("> ").lower()
    domain = address.rpartition("@")[2]
    # The text ends in the addresses that failed, after a colon, with or without display names.
    named = re.split(r"[\s,<>]+", text.lower().rpartition(":")[2].strip(" ,<>."))
    if any(named) and not {address, domain} & set(named):
        return Rejected(f"the provider refused it ({said}).")
    return RunBlocked(f"the sender is not verified at the provider ({said}).")
