from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailonce.errors import InvalidInput
from mailonce.messages.addresses import masked, recipient_address

WORDS = st.text(string.ascii_letters + string.digits + "äßñ日-", min_size=1, max_size=10)
LOOKS_LIKE_ONE = st.builds(
    "{}{}@{}.{}{}".format,
    st.sampled_from(["", " ", "a,", "<", '"', "\r\n", "\x00", "\u200b"]),
    WORDS,
    WORDS,
    st.sampled_from(["com", "example", "test", "рф", "xn--p1ai", "c om"]),
    st.sampled_from(["", " ", "\t", "\n", ">", ",x@y.com", "\u00a0", "\r\nBcc: x@y.com"]),
)


@given(st.text() | LOOKS_LIKE_ONE | st.emails())
@example("ann@example.com\r\nBcc: eve@example.com")
@example("ann@example.com\u2028")
def test_what_comes_out_is_one_plain_address_or_nothing(text: str) -> None:
    try:
        address = recipient_address(text)
    except InvalidInput:
        return
    assert address.isascii()
    assert address.isprintable()
    assert not set(address) & set(' ,;<>"\\')
    assert address.count("@") == 1
    assert "." in address.partition("@")[2]
    assert recipient_address(address) == address


@pytest.mark.parametrize(
    ("given_as", "address"),
    [
        ("ann@example.com", "ann@example.com"),
        ("ann@example.com   ", "ann@example.com"),
        ("\tann@example.com", "ann@example.com"),
        ("Ann.Lee+usage@EXAMPLE.Com", "Ann.Lee+usage@example.com"),
        ("o'hara@example.com", "o'hara@example.com"),
        ("ann@müller.example", "ann@xn--mller-kva.example"),
        ("ann@MÜLLER.example", "ann@xn--mller-kva.example"),
        ("ann@xn--mller-kva.example", "ann@xn--mller-kva.example"),
        ("ann@例え.jp", "ann@xn--r8jz45g.jp"),
        ("ann@pre\u0301.example", "ann@xn--pr-cja.example"),
        ("ann@some.test", "ann@some.test"),
    ],
)
def test_normalised(given_as: str, address: str) -> None:
    assert recipient_address(given_as) == address


@pytest.mark.parametrize("value", [None, "", "   ", 7, b"ann@example.com", ["ann@example.com"], {"email": "a@b.co"}])
def test_no_address(value: object) -> None:
    with pytest.raises(InvalidInput, match="email: the address is empty"):
        recipient_address(value)


@pytest.mark.parametrize(
    "value",
    [
        "ann@example.com,ben@example.com",
        "ann@example.com;ben@example.com",
        "ann@example.com ben@example.com",
        "Ann Lee <ann@example.com>",
        "<ann@example.com>",
        "mailto:ann@example.com",
        "ann@@example.com",
        "ann@ben@example.com",
    ],
)
def test_several_or_decorated_addresses_are_refused(value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        recipient_address(value)
    assert caught.value.field == "email"


@pytest.mark.parametrize(
    "value",
    [
        "ann",
        "ann@",
        "@example.com",
        "ann@localhost",
        "ann@example",
        "a n@example.com",
        "ann@exa mple.com",
        "ann.@example.com",
        "a..b@example.com",
        "ann@-example.com",
        "ann@exam_ple.com",
        "ann@[127.0.0.1]",
        '"ann lee"@example.com',
        "änn@example.com",
        "ann@example.com.",
        f"{'a' * 65}@example.com",
        f"ann@{'a' * 64}.com",
        f"ann@{'a.' * 130}com",
        "ann@example..com",
        "ann@xn--a.example\u200b",
        "ann@\ud800.com",
    ],
)
def test_malformed(value: str) -> None:
    with pytest.raises(InvalidInput):
        recipient_address(value)


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\x00", "\x0b", "\x1f", "\x7f", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize(
    "pattern", ["ann{}@example.com", "ann@exam{}ple.com", "ann@example.com{}", "{}ann@example.com"]
)
def test_control_characters_anywhere(pattern: str, break_: str) -> None:
    with pytest.raises(InvalidInput, match="control character"):
        recipient_address(pattern.format(break_))


def test_the_complaint_names_the_field_it_was_told() -> None:
    with pytest.raises(InvalidInput, match=r"^billing_email: "):
        recipient_address("nobody", field="billing_email")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("billing@example.com", "b…@example.com"),
        ("b@example.com", "b…@example.com"),
        ("@example.com", "…@example.com"),
        ("", "…"),
        ("no address at all", "…"),
    ],
)
def test_masked(address: str, shown: str) -> None:
    assert masked(address) == shown


@given(st.text(min_size=2) | st.emails())
def test_masked_never_reveals_who(address: str) -> None:
    shown = masked(address)
    assert shown != address
    assert len(shown.rpartition("@")[0]) <= 2
