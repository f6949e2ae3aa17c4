from __future__ import annotations

import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.errors import InvalidInput
from mailonce.messages.rows import MAXIMUM_ROW_BYTES, decode_fields, encode_fields, read_row

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(timezone.utc))
    | TEXT
)
NAMES = TEXT.filter(lambda name: not name.startswith("$"))
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


def row(**columns: Any) -> dict[str, Any]:
    return {"recipient_id": "C-1", "email": "ann@example.com", **columns}


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_written_is_read_back_equal(fields: dict[str, Any]) -> None:
    line = encode_fields(fields)
    assert decode_fields(line) == fields
    assert b"\n" not in line
    assert encode_fields(decode_fields(line)) == line


@pytest.mark.parametrize(
    "value",
    [
        Decimal("10.50"),
        Decimal("-0.00"),
        Decimal("1E+3"),
        Decimal("12345678901234567890.123456789"),
        datetime(2026, 10, 1, 23, 59, 59, 999999, tzinfo=timezone.utc),
        datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        datetime(2026, 10, 1),  # noqa: DTZ001 - so a column without a zone comes
        date(2024, 2, 29),
        2**63,
        0.1 + 0.2,
        True,
        "\x00 \u2028 \U0001f600 \\ \" '",
        {"lines": [{"amount": Decimal("1.10"), "on": date(2026, 10, 1)}], "none": None},
    ],
)
def test_types_and_digits_survive(value: Any) -> None:
    read = decode_fields(encode_fields({"x": value}))["x"]
    assert read == value
    assert (type(read), str(read)) == (type(value), str(value))


def test_a_named_zone_becomes_its_offset_and_a_uuid_its_text() -> None:
    moment = datetime(2026, 10, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    number = uuid.UUID("12345678-1234-5678-1234-567812345678")
    read = decode_fields(encode_fields({"at": moment, "id": number}))
    assert read == {"at": moment, "id": str(number)}
    assert read["at"].utcoffset() == timedelta(hours=2)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "not JSON compliant|nan"),
        (float("inf"), "not JSON compliant|inf"),
        (Decimal("NaN"), "not a finite number"),
        (Decimal("-Infinity"), "not a finite number"),
        ([{"deep": float("nan")}], "not JSON compliant|nan"),
        ("lone \ud800 surrogate", "surrogates not allowed"),
        ({"\udfff": 1}, "surrogates not allowed"),
        (b"bytes", "type bytes"),
        (memoryview(b"x"), "type memoryview"),
        (timedelta(hours=1), "type timedelta"),
        (time(12, 30), "type time"),
        ({1, 2}, "type set"),
        (object(), "type object"),
        (deep(100_000), "recursion"),
        (10**5000, "integer string conversion"),
        # What a decimal and a date look like in a snapshot: they would come back as something else.
        ({"$decimal": "x"}, "single name '\\$decimal'"),
        ([{"a": {"$date": "2026-10-01"}}], "single name '\\$date'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_written_names_row_and_field(value: Any, reason: str) -> None:
    with pytest.raises(InvalidInput, match=f"cannot be written as text .*({reason})") as caught:
        read_row(row(usage=value), number=7)
    assert (caught.value.row, caught.value.field) == ("C-1", "usage")


@pytest.mark.parametrize("value", [{"$decimal": "1", "unit": "kg"}, {"decimal": "1"}, {"$other": "1"}])
def test_objects_that_only_resemble_those_are_kept(value: dict[str, str]) -> None:
    assert decode_fields(encode_fields(dict(read_row(row(usage=value)).fields)))["usage"] == value


def test_a_giant_value_is_refused_and_one_within_the_limit_is_not() -> None:
    fits = "x" * (MAXIMUM_ROW_BYTES - len('{"usage":""}'))
    assert read_row(row(usage=fits)).fields["usage"] == fits
    with pytest.raises(InvalidInput, match="row C-1, field usage: 262145 bytes long"):
        read_row(row(usage=fits + "x"))
    with pytest.raises(InvalidInput, match="field usage"):
        read_row(row(usage="é" * (MAXIMUM_ROW_BYTES // 2)))


def test_columns_in_upper_case_are_the_same_columns() -> None:
    read = read_row({"RECIPIENT_ID": "C-1", "Email": "ann@EXAMPLE.com", "TOTAL_Amount": Decimal(3)})
    assert (read.recipient_id, read.email) == ("C-1", "ann@example.com")
    assert read.fields == {"recipient_id": "C-1", "email": "ann@EXAMPLE.com", "total_amount": Decimal(3)}


@pytest.mark.parametrize(
    ("value", "recipient_id"),
    [(42, "42"), (0, "0"), ("  C-1 ", "C-1"), ("../../etc", "../../etc"), ("Ünïcødé 日本", "Ünïcødé 日本"),
     (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"), ("a b", "a b")],
)  # fmt: skip
def test_ids_of_many_kinds(value: Any, recipient_id: str) -> None:
    assert read_row(row(recipient_id=value)).recipient_id == recipient_id


@pytest.mark.parametrize(
    ("columns", "field", "reason"),
    [
        ({"email": "ann@example.com"}, "recipient_id", "is missing or empty"),
        (row(recipient_id=None), "recipient_id", "is missing or empty"),
        (row(recipient_id=" "), "recipient_id", "is missing or empty"),
        (row(recipient_id="C-1\nC-2"), "recipient_id", "control character"),
        (row(recipient_id="C-1\x00"), "recipient_id", "control character"),
        (row(recipient_id="C-\ud800"), "recipient_id", "cannot be written as text"),
    ],
)
def test_without_a_usable_id_the_row_is_named_by_number(columns: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as caught:
        read_row(columns, number=7)
    assert (caught.value.row, caught.value.field) == ("number 7", field)


@pytest.mark.parametrize("email", [None, "", "nobody", "a@b.co,c@d.co", "ann@example.com\r\nBcc: e@f.co"])
def test_a_wrong_address_names_the_recipient(email: str | None) -> None:
    with pytest.raises(InvalidInput, match=r"^row C-1, field email: "):
        read_row(row(email=email), number=7)


def test_a_null_character_in_another_value_is_kept_for_the_template_to_judge() -> None:
    assert read_row(row(name="Ann\x00")).fields["name"] == "Ann\x00"
