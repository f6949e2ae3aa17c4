"""E-mail addresses: one recipient a row, in the form that the provider takes."""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email

from mailonce.errors import InvalidInput
from mailonce.messages.message import refuse_control_characters

_LONGEST_LOCAL_PART = 64
"""Octets (RFC 5321, section 4.5.3.1.1)."""
_EXAMPLE = "It must be one address such as billing@example.com"


def recipient_address(value: object, *, field: str = "email") -> str:
    """Return the one address in ``value``, normalised, with its domain in Punycode.

    Amazon SES takes an ASCII local part and a Punycode domain (SES v2 API reference, ``Destination``). Whether
    the domain exists is not asked: a resolver's hiccup must not cost anybody their statement.

    :param value: what the row holds.
    :param field: what to call it in the complaint.
    :raises mailonce.errors.InvalidInput: no address, several, or one that the provider cannot take.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(field=field, reason="the address is empty", remedy=_EXAMPLE)
    # The end may carry blanks from a fixed-width column; anything inside is the validator's business.
    address = value.strip(" \t")
    refuse_control_characters(field, address)
    try:
        # A test environment may use reserved domains (.test, .example).
        parsed = validate_email(
            address,
            check_deliverability=False,
            allow_smtputf8=False,
            globally_deliverable=False,
            test_environment=True,
        )
    except EmailNotValidError as error:
        raise InvalidInput(field=field, reason=str(error).rstrip("."), remedy=_EXAMPLE) from error
    # Not left to the library: up to version 2.2 it always looks, from 2.3 on only if it is told to, by an argument that
    # 2.2 refuses.
    if (excess := len(parsed.local_part) - _LONGEST_LOCAL_PART) > 0:
        reason = f"The email address is too long before the @-sign ({excess} characters too many)"
        raise InvalidInput(field=field, reason=reason, remedy=_EXAMPLE)
    if parsed.ascii_email is None or "." not in parsed.ascii_domain:
        raise InvalidInput(field=field, reason="the domain has no dot", remedy=_EXAMPLE)
    return parsed.ascii_email


def masked(address: str) -> str:
    """Return an address fit for a log: enough to recognise, too little to write to.

    >>> masked("billing@example.com")
    'b…@example.com'
    """
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…{at}{domain}" if at else "…"
