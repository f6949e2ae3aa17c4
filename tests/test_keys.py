from __future__ import annotations

import hashlib
import unicodedata
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.canonical import digest
from mailonce.errors import InvalidInput
from mailonce.keys import ExpressionKey, Identity, content_key, key_recipe, statement_key
from mailonce.messages.message import Message

COMPOSED, DECOMPOSED = "Andr\u00e9", "Andre\u0301"
MAIL = Message(sender="billing@example.com", to="ann@example.com", subject="Your month", text="3 units")
IDENTITY = Identity(campaign="usage", period="2026-10", recipient_id="C-1")

# No surrogates: they are refused where a row is read.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
IDENTITIES = st.builds(Identity, campaign=TEXT, period=TEXT, recipient_id=TEXT, edition=TEXT)


def fields(identity: Identity) -> tuple[str, ...]:
    values = (identity.campaign, identity.period, identity.recipient_id, identity.edition)
    return tuple(unicodedata.normalize("NFC", value) for value in values)


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        (["usage", "2026-10", "C-1", "original"], '["usage","2026-10","C-1","original"]'),
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        ("Andr\u00e9", '"Andr\u00e9"'),
        ("Andre\u0301", '"Andr\u00e9"'),
        ('say "hi"\n', r'"say \"hi\"\n"'),
        (Decimal("10.50"), '"10.50"'),
        (date(2026, 10, 1), '"2026-10-01"'),
        (datetime(2026, 10, 1, tzinfo=timezone.utc), '"2026-10-01 00:00:00+00:00"'),
    ],
)
def test_digest_is_the_sha256_of_canonical_json(value: Any, canonical: str) -> None:
    assert digest(value) == hashlib.sha256(canonical.encode()).hexdigest()


def test_the_key_of_a_statement_never_changes() -> None:
    # Every ledger in use knows keys made this way: whoever changes this mails every customer again.
    assert statement_key(IDENTITY, {}, MAIL) == "eaba0380164c7324857c9533f9d6babdfcae3d12cd9b992619c202397eeba0fd"


def test_the_fingerprint_of_a_mail_never_changes() -> None:
    assert MAIL.fingerprint == "5a15c109276cc97bc62c49d846bddf2405fbf0d0865baed3fe5bc8de1c809ce3"


def test_the_order_of_names_does_not_matter() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_composed_and_decomposed_letters_are_one_customer() -> None:
    one, other = (Identity(campaign="usage", period="2026-10", recipient_id=name) for name in (COMPOSED, DECOMPOSED))
    assert one != other
    assert statement_key(one, {}, MAIL) == statement_key(other, {}, MAIL)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "bc", "d", "e"), ("ab", "c", "d", "e")),
        (("a", "b", "cd", "e"), ("a", "bc", "d", "e")),
        (("a", "b", "c", "de"), ("a", "b", "cd", "e")),
        (('a","b', "", "c", "d"), ("a", "b", "c", "d")),
        (("", "a", "b", "c"), ("a", "", "b", "c")),
    ],
)
def test_fields_never_run_into_each_other(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    names = ("campaign", "period", "recipient_id", "edition")
    keys = {statement_key(Identity(**dict(zip(names, each, strict=True))), {}, MAIL) for each in (one, other)}
    assert len(keys) == 2


@given(IDENTITIES, IDENTITIES)
def test_keys_are_equal_exactly_when_identities_are(one: Identity, other: Identity) -> None:
    same_key = statement_key(one, {}, MAIL) == statement_key(other, {}, MAIL)
    assert same_key == (fields(one) == fields(other))


@given(IDENTITIES, TEXT, st.dictionaries(TEXT, st.integers()))
def test_a_statement_key_ignores_content_and_row(identity: Identity, text: str, row: dict[str, int]) -> None:
    other = Message(sender="else@example.com", to="new@example.com", subject="Other", text=f"x{text}")
    assert statement_key(identity, {}, MAIL) == statement_key(identity, row, other)


@pytest.mark.parametrize(
    "change",
    [{"sender": "x@example.com"}, {"to": "x@example.com"}, {"subject": "x"}, {"text": "4 units"}, {"html": "<p>3</p>"}],
)
def test_a_content_key_follows_what_the_recipient_sees(change: dict[str, str]) -> None:
    facts = {"sender": MAIL.sender, "to": MAIL.to, "subject": MAIL.subject, "text": MAIL.text, **change}
    later = Identity(campaign="else", period="2026-11", recipient_id="C-2")
    assert content_key(later, {}, MAIL) == content_key(IDENTITY, {}, MAIL) == MAIL.fingerprint
    assert content_key(IDENTITY, {}, Message(**facts)) != MAIL.fingerprint


class TestExpressionKey:
    @pytest.mark.parametrize(
        ("expression", "found"),
        [
            ("invoice.number", "I-7"),
            ("[account_id, invoice.number]", [42, "I-7"]),
            ("account_id", 42),
            ("[recipient_id, period]", ["C-1", "2026-10"]),
            ("zero", 0),
            ("no", False),
        ],
    )
    def test_is_made_of_what_it_finds(self, expression: str, found: Any) -> None:
        row = {"account_id": 42, "invoice": {"number": "I-7"}, "zero": 0, "no": False}
        assert ExpressionKey(expression)(IDENTITY, row, MAIL) == digest(["usage", "original", found])

    def test_differs_by_campaign_and_edition_but_not_by_period(self) -> None:
        def key(**changes: str) -> str:
            identity = Identity(**{"campaign": "usage", "period": "2026-10", "recipient_id": "C-1", **changes})
            return ExpressionKey("invoice")(identity, {"invoice": "I-7"}, MAIL)

        assert key() == key(period="2026-11") == key(recipient_id="C-2")
        assert len({key(), key(campaign="promotion"), key(edition="corrected")}) == 3

    @pytest.mark.parametrize(
        "row",
        [
            {},
            {"invoice": None},
            {"invoice": ""},
            {"invoice": []},
            {"invoice": {}},
            {"invoice": ["I-7", None]},
            {"invoice": {"number": ""}},
            {"invoice": {"lines": [[]]}},
        ],
    )
    def test_refuses_what_is_empty_and_names_row_and_expression(self, row: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput, match="invoice") as caught:
            ExpressionKey("invoice")(IDENTITY, row, MAIL)
        assert (caught.value.row, caught.value.field) == ("C-1", "key_expression")

    @pytest.mark.parametrize("expression", ["", "invoice..number", "[", "a b", "no_such_function(@"])
    def test_refuses_what_is_no_expression(self, expression: str) -> None:
        with pytest.raises(InvalidInput, match=r"key_expression: .* is not a JMESPath expression"):
            ExpressionKey(expression)

    @pytest.mark.parametrize("expression", ["no_such_function(@)", "length(account_id)", "abs(missing)"])
    def test_names_the_row_on_which_an_expression_fails(self, expression: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            ExpressionKey(expression)(IDENTITY, {"account_id": 42}, MAIL)
        assert caught.value.row == "C-1"
        assert expression in caught.value.reason


@pytest.mark.parametrize(
    ("name", "recipe"),
    [("statement", statement_key), ("content", content_key), ("invoice.number", ExpressionKey("invoice.number"))],
)
def test_recipes_by_name(name: str, recipe: Any) -> None:
    assert key_recipe(name) == recipe
