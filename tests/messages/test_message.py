from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.errors import InvalidInput
from mailonce.messages.message import MAXIMUM_HEADER_LENGTH, MAXIMUM_HEADERS, Message, StoredTemplate

PLAIN: dict[str, Any] = {
    "sender": "Billing <billing@example.com>",
    "to": "ann@example.com",
    "subject": "Your month",
    "text": "3 units",
}
BREAKS = ["\r\n", "\n", "\r", "\x00", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"]


def message(**changes: Any) -> Message:
    return Message(**{**PLAIN, **changes})


@pytest.mark.parametrize("break_", BREAKS)
@pytest.mark.parametrize(
    ("field", "named", "wrap"),
    [
        ("sender", "sender", str),
        ("to", "email", str),
        ("subject", "subject", str),
        ("reply_to", "reply_to", lambda value: ("help@example.com", value)),
        ("headers", "header X-Campaign", lambda value: {"X-Campaign": value}),
    ],
)
def test_no_value_starts_another_header(field: str, named: str, wrap: Any, break_: str) -> None:
    with pytest.raises(InvalidInput, match="could add a header to the mail") as caught:
        message(**{field: wrap(f"usage{break_}Bcc: eve@example.com")})
    assert caught.value.field == named


@given(st.text(), st.sampled_from(["sender", "to", "subject"]))
def test_whatever_is_taken_stays_on_one_line(text: str, field: str) -> None:
    try:
        taken = message(**{field: text})
    except InvalidInput:
        return
    assert len(getattr(taken, field).splitlines()) <= 1 or set(text) & {"\x1c", "\x1d", "\x1e"} == set()
    assert not any(character < " " for character in getattr(taken, field))


@pytest.mark.parametrize(
    "name",
    ["", "X Campaign", "X-Campaign:", "X-Campaign\r\nBcc", "X_Campaign", "Ünsubscribe", "X" * 127, "X-\x00"],
)
def test_malformed_header_names(name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be set here") as caught:
        message(headers={name: "value"})
    assert repr(name) in caught.value.field


@pytest.mark.parametrize(
    "name",
    [
        "From",
        "to",
        "CC",
        "Bcc",
        "SUBJECT",
        "Reply-To",
        "Date",
        "Message-ID",
        "MIME-Version",
        "content-type",
        "Content-Transfer-Encoding",
        "Return-Path",
        "Sender",
    ],
)
def test_headers_with_a_place_of_their_own(name: str) -> None:
    with pytest.raises(InvalidInput, match="have their own places"):
        message(headers={name: "eve@example.com"})


@pytest.mark.parametrize("value", ["", "x" * (MAXIMUM_HEADER_LENGTH + 1), "Grüße", "\u200b"])
def test_header_values_that_the_provider_refuses(value: str) -> None:
    with pytest.raises(InvalidInput, match="must be ASCII and 1 to 870 characters") as caught:
        message(headers={"List-Unsubscribe": value})
    assert caught.value.field == "header List-Unsubscribe"


def test_as_many_and_as_long_headers_as_the_provider_takes() -> None:
    headers = {f"X-{number}": "x" * MAXIMUM_HEADER_LENGTH for number in range(MAXIMUM_HEADERS)}
    assert message(headers=headers).headers == headers
    with pytest.raises(InvalidInput, match="16 headers, but a mail takes 15"):
        message(headers={**headers, "X-More": "x"})


@pytest.mark.parametrize(
    ("parts", "complete"),
    [
        ({"subject": "s", "text": "t", "html": ""}, True),
        ({"subject": "s", "text": "", "html": "<p>"}, True),
        ({"subject": "s", "text": " \n", "html": ""}, False),
        ({"subject": "  ", "text": "t", "html": ""}, False),
        ({"subject": "", "text": "t", "html": "<p>"}, False),
        ({"subject": "", "text": "", "stored_template": StoredTemplate(name="usage", data={})}, True),
    ],
)
def test_a_mail_has_a_subject_and_a_body(parts: dict[str, Any], complete: bool) -> None:
    if complete:
        assert message(**parts).to == "ann@example.com"
    else:
        with pytest.raises(InvalidInput, match="content: the mail has no subject or no body"):
            message(**parts)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"sender": "else@example.com"}, True),
        ({"to": "ben@example.com"}, True),
        ({"subject": "Other"}, True),
        ({"text": "4 units"}, True),
        ({"html": "<p>3 units</p>"}, True),
        ({"stored_template": StoredTemplate(name="usage", data={"units": 3})}, True),
        # What the recipient does not read: a changed link to unsubscribe is no new statement.
        ({"headers": {"X-Campaign": "usage"}}, False),
        ({"reply_to": ("help@example.com",)}, False),
    ],
)
def test_the_fingerprint_differs_when_the_recipient_sees_a_difference(change: dict[str, Any], seen: bool) -> None:
    assert (message(**change).fingerprint != message().fingerprint) == seen


def test_the_fingerprint_of_a_stored_template_follows_name_and_data() -> None:
    def fingerprint(name: str, **data: Any) -> str:
        return message(subject="", text="", stored_template=StoredTemplate(name=name, data=data)).fingerprint

    assert fingerprint("usage", a=1, b=2) == fingerprint("usage", b=2, a=1)
    assert len({fingerprint("usage", a=1), fingerprint("usage", a=2), fingerprint("other", a=1)}) == 3
