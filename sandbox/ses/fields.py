"""Reads fields of a JSON request. A field of the wrong kind is a BadRequestException that names it."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from .errors import bad_request


def json_body(body: bytes) -> dict[str, Any]:
    """The request's body as an object. An empty body is an empty object."""
    try:
        document = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise bad_request("The body of the request is not valid JSON.") from None
    if not isinstance(document, dict):
        raise bad_request("The body of the request must be a JSON object.")
    return document


def object_field(parent: dict[str, Any], name: str, required: bool = True) -> dict[str, Any]:
    """The object of this name. If it is not required and left out: an empty one."""
    value = parent.get(name)
    if value is None and not required:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"{name} is missing." if value is None else f"{name} must be an object.")
    return value


def list_field(parent: dict[str, Any], name: str) -> list[Any]:
    """The list of this name; empty if it is left out."""
    value = parent.get(name)
    if value is not None and not isinstance(value, list):
        raise bad_request(f"{name} must be a list.")
    return value or []


def text_field(parent: dict[str, Any], name: str) -> str:
    """The text of this name; empty if it is left out."""
    value = parent.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"{name} must be a text.")
    return value or ""


def base64_field(part: dict[str, Any], name: str) -> bytes:
    """The bytes that the text of this name encodes."""
    try:
        return base64.b64decode(part[name], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise bad_request(f"{name} is missing or not base64.") from None
