"""The age of a request's signature. Only the age is checked, never the signature itself."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from .errors import SesError

if TYPE_CHECKING:
    from .wire import HttpRequest

STAMP = "%Y%m%dT%H%M%SZ"
CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/,\s]+)/")


def check_signature_age(request: HttpRequest, max_age: float | None) -> None:
    """Refuse a request that is not signed, or was signed more than `max_age` seconds ago.

    None switches the check off. Raises SesError with status 403.
    """
    if max_age is None:
        return
    if not request.header("Authorization"):
        raise SesError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
    stamp = request.header("X-Amz-Date")
    try:
        signed_at = datetime.strptime(stamp, STAMP).replace(tzinfo=timezone.utc)
    except ValueError:
        raise SesError(
            "IncompleteSignatureException", "Date must be in ISO-8601 basic format, in X-Amz-Date.", 403
        ) from None
    now = datetime.now(timezone.utc)
    earliest = now - timedelta(seconds=max_age)
    if signed_at < earliest:
        raise SesError(
            "InvalidSignatureException",
            f"Signature expired: {stamp} is now earlier than {earliest.strftime(STAMP)} "
            f"({now.strftime(STAMP)} - {max_age:g} sec.)",
            403,
        )


def signed_region(request: HttpRequest) -> str:
    """The region for which the request was signed."""
    found = CREDENTIAL.search(request.header("Authorization"))
    return found.group(2) if found else "us-east-1"


def signed_by(request: HttpRequest) -> str:
    """The access key that signed the request."""
    found = CREDENTIAL.search(request.header("Authorization"))
    return found.group(1) if found else "unsigned"
