"""One row of usage data: checked, named in every complaint, and written to a snapshot without losing a digit."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from mailonce.errors import InvalidInput
from mailonce.messages.addresses import recipient_address
from mailonce.messages.message import refuse_control_characters

MAXIMUM_ROW_BYTES = 262_144
"""A larger row is a broken query (a whole table aggregated into one value), not a statement."""

_TAGGED: Mapping[str, Callable[[str], Any]] = {
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One recipient's data.

    :param email: normalised address. :param fields: all columns, by lower-case name.
    """

    recipient_id: str
    email: str
    fields: Mapping[str, Any]


def read_row(raw: Mapping[str, Any], *, number: int | None = None) -> Row:
    """Check one row as a query or a Dag author gives it.

    :param raw: columns by name, in any case; ``recipient_id`` and ``email`` are required.
    :param number: the row's number, to name it by when it has no usable id.
    :raises mailonce.errors.InvalidInput: names the row and the field.
    """
    fields = {str(name).lower(): value for name, value in raw.items()}
    row_name = f"number {number}" if number is not None else "given"
    try:
        recipient_id = _recipient_id(fields)
        row_name = recipient_id
        _check_text(fields)
        return Row(recipient_id=recipient_id, email=recipient_address(fields.get("email")), fields=fields)
    except InvalidInput as complaint:
        raise complaint.at_row(row_name) from complaint


def _recipient_id(fields: Mapping[str, Any]) -> str:
    value = fields.get("recipient_id")
    if value is None or not str(value).strip():
        raise InvalidInput(
            field="recipient_id",
            reason="is missing or empty",
            remedy="Let the query return the customer's id for every row",
        )
    recipient_id = str(value).strip()
    refuse_control_characters("recipient_id", recipient_id)
    _check_text({"recipient_id": recipient_id})  # first of all, for every complaint from here on names the row by it
    return recipient_id


def _check_text(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        try:
            size = len(encode_fields({name: value}))
            _refuse_tags(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(
                field=name,
                reason=f"cannot be written as text ({error})",
                remedy="Let the query return text, numbers, dates or JSON, in a valid encoding",
            ) from error
        if size > MAXIMUM_ROW_BYTES:
            raise InvalidInput(
                field=name,
                reason=f"{size} bytes long, more than {MAXIMUM_ROW_BYTES}",
                remedy="Check the query's joins and aggregates",
            )


def encode_fields(fields: Mapping[str, Any]) -> bytes:
    """Return fields as one line of JSON that :func:`decode_fields` reads back equal, decimals and dates included.

    :raises TypeError: a value of a kind that has no text form here. :raises ValueError: not a finite number.
    """
    text = json.dumps(fields, default=_tag, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode()


def decode_fields(line: bytes | str) -> dict[str, Any]:
    """Read back what :func:`encode_fields` wrote."""
    decoded: dict[str, Any] = json.loads(line, object_hook=_untag)
    return decoded


def _refuse_tags(value: Any) -> None:
    """Refuse an object that would be read back as something else: what :func:`_tag` writes for a decimal or a date."""
    if isinstance(value, Mapping):
        if len(value) == 1 and next(iter(value)) in {f"${name}" for name in _TAGGED}:
            raise ValueError(
                f"an object with the single name {next(iter(value))!r}, which has a meaning of its own here"
            )
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for member in value:
        _refuse_tags(member)


def _tag(value: Any) -> Any:
    # datetime is a date too: the order matters.
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is not a finite number")
        return {"$decimal": str(value)}
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, uuid.UUID):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__}")


def _untag(value: dict[str, Any]) -> Any:
    if len(value) == 1:
        ((name, text),) = value.items()
        if name.startswith("$") and name[1:] in _TAGGED and isinstance(text, str):
            return _TAGGED[name[1:]](text)
    return value
