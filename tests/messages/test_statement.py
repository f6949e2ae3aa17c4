from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mailonce.delivery import as_tag, from_tag
from mailonce.errors import InvalidInput
from mailonce.keys import ExpressionKey, Identity, content_key, statement_key
from mailonce.messages.content import ProviderTemplate
from mailonce.messages.rows import Row, read_row
from mailonce.messages.statement import StatementMaker
from mailonce.messages.templates import Templates
from mailonce.period import Period


def row(**columns: Any) -> Row:
    return read_row({"recipient_id": "C-1", "email": "ann@example.com", "units": 3, **columns})


def maker(text: str = "{{ units }} units", **changes: Any) -> StatementMaker:
    facts: dict[str, Any] = {
        "campaign": "usage",
        "period": "2026-10",
        "content": Templates.inline("usage", subject="Your month", text=text),
        "sender": "billing@example.com",
    }
    return StatementMaker(**{**facts, **changes})


def test_a_row_becomes_a_delivery() -> None:
    delivery = maker(reply_to=("help@example.com",), edition="corrected").delivery(row())
    assert delivery.identity == Identity(campaign="usage", period="2026-10", recipient_id="C-1", edition="corrected")
    assert delivery.key == statement_key(delivery.identity, {}, delivery.message)
    mail = delivery.message
    assert (mail.sender, mail.to, mail.reply_to) == ("billing@example.com", "ann@example.com", ("help@example.com",))
    assert (mail.subject, mail.text) == ("Your month", "3 units")
    assert delivery.tags == {
        "mailonce_key": delivery.key,
        "mailonce_campaign": "usage",
        "mailonce_period": "2026-10",
        "mailonce_edition": "corrected",
        "mailonce_recipient": "C-1",
    }


def test_the_template_sees_the_period_as_it_is_given() -> None:
    delivery = maker("{{ period.label }}, {{ edition }}, {{ campaign }}", period_fields=Period("2026-10")).delivery(
        row()
    )
    assert delivery.message.text == "October 2026, original, usage"
    assert maker("{{ period }}").delivery(row()).message.text == "2026-10"


def test_a_column_never_stands_in_for_the_run_s_own_facts() -> None:
    columns = {"campaign": "else", "period": "1999-01", "edition": "else", "EMAIL": " ann@EXAMPLE.com"}
    text = "{{ campaign }} {{ period }} {{ edition }} {{ email }} {{ recipient_id }}"
    given_row = read_row({"recipient_id": " C-1 ", **columns})
    delivery = maker(text).delivery(given_row)
    assert delivery.message.text == "usage 2026-10 original ann@example.com C-1"
    assert delivery.identity.period == "2026-10"


@pytest.mark.parametrize(
    ("recipe", "columns", "same"),
    [
        (statement_key, {"units": 4}, True),
        (content_key, {"units": 4}, False),
        (ExpressionKey("invoice"), {"units": 4}, True),
        (ExpressionKey("invoice"), {"invoice": "I-2"}, False),
    ],
)
def test_the_recipe_makes_the_key(recipe: Any, columns: dict[str, Any], same: bool) -> None:
    make = maker(recipe=recipe)
    first, second = make.delivery(row(invoice="I-1")), make.delivery(row(**{"invoice": "I-1", **columns}))
    assert (first.key == second.key) == same


@pytest.mark.parametrize(
    ("changes", "columns", "field"),
    [
        ({"text": "{{ missing }}"}, {}, "template usage/body.txt.j2"),
        ({"text": "{{ units }}"}, {"units": None}, "template usage/body.txt.j2"),
        ({"recipe": ExpressionKey("invoice")}, {}, "key_expression"),
        ({"campaign": "us age"}, {}, "campaign"),
        ({"campaign": "x" * 257}, {}, "campaign"),
        ({"period": "October 2026"}, {}, "period"),
        ({"edition": "cor/rected"}, {}, "edition"),
        ({"edition": ""}, {}, "edition"),
        ({}, {"recipient_id": "x" * 257}, "recipient_id"),
        ({"sender": "billing@example.com\r\nBcc: e@f.co"}, {}, "sender"),
        ({"reply_to": ("a@b.co\n",)}, {}, "reply_to"),
    ],
)
def test_every_complaint_names_row_and_field(changes: dict[str, Any], columns: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        maker(**changes).delivery(row(**columns))
    assert (caught.value.row, caught.value.field) == (columns.get("recipient_id", "C-1"), field)


def test_a_stored_template_gets_plain_values() -> None:
    content = ProviderTemplate("usage-v1")
    mail = maker(content=content, period_fields=Period("2026-10")).delivery(row()).message
    assert mail.stored_template is not None
    assert mail.stored_template.name == "usage-v1"
    assert mail.stored_template.data["period"] == "October 2026"
    assert mail.stored_template.data["units"] == 3


@dataclass
class Failing:
    """Content that fails in a way of its own."""

    def message(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("a fault of the content")


def test_a_fault_is_not_taken_for_bad_input() -> None:
    with pytest.raises(RuntimeError, match="a fault of the content"):
        maker(content=Failing()).delivery(row())


@given(st.text(min_size=1, max_size=256))
def test_a_recipient_s_id_comes_back_from_its_tag(recipient_id: str) -> None:
    tag = as_tag(recipient_id)
    assert not tag or from_tag(tag) == recipient_id
    assert re.fullmatch(r"[A-Za-z0-9_-]{0,256}", tag)
    assert tag or len(recipient_id.encode()) > 180, "only what is too long has none"


def test_an_original_s_fingerprint_is_what_it_was_before_there_were_corrections() -> None:
    """Another one would have every statement of the month reported as changed since it was sent."""
    statement = maker("{{ units }} units{% if is_correction %}, corrected{% endif %}").delivery(row())
    assert statement.message.text == "3 units"
    assert statement.message.fingerprint == maker().delivery(row()).message.fingerprint
    stored = maker(content=ProviderTemplate("usage-v1")).delivery(row()).message.stored_template
    assert stored is not None
    assert set(stored.data) == {"recipient_id", "email", "units", "campaign", "period", "edition"}


def test_a_correction_is_told_that_it_is_one_and_when_the_original_was_sent() -> None:
    text = "{{ is_correction }} {{ original_sent_at }}"
    corrected = maker(text, edition="corrected-1")
    assert corrected.delivery(row(original_sent_at="on Sunday")).message.text == "True on Sunday"
    assert corrected.delivery(row(is_correction=False, original_sent_at="x")).message.text == "True x"
    unknown = maker("{{ original_sent_at is none }}", edition="corrected-1").delivery(row())
    assert unknown.message.text == "True"
