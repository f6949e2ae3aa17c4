"""The templates of the sample campaign: what a customer sees, for ordinary rows and for awkward ones."""

from __future__ import annotations

import datetime as dt
import re
import sqlite3
from contextlib import closing
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import StrictUndefined, meta
from jinja2.sandbox import SandboxedEnvironment

from mailonce.messages.rows import read_row
from mailonce.messages.statement import StatementMaker
from mailonce.messages.templates import Templates, money, quantity
from mailonce.period import Period
from sandbox.sample_usage import create_schema

INCLUDE = Path(__file__).parents[2] / "include"
TEMPLATES = INCLUDE / "templates" / "monthly_usage"
BODIES = ("body.html.j2", "body.txt.j2")
ALL = (*BODIES, "subject.txt.j2", "headers.txt.j2")
CONTEXT = {"period", "edition", "campaign", "is_correction", "original_sent_at"}
VOID_ELEMENTS = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
LONG_NAME = "Cooperative Society of Orchard Growers, Cider Makers and Beekeepers " * 4 + "X" * 200
SCRIPT_NAME = 'Kiln & <b>Ember</b> <script>alert("Kiln")</script>'

ROW: dict[str, Any] = {
    "recipient_id": "CUST-0062",
    "email": "blue-heron-bakery@example.com",
    "customer_name": "Blue Heron Bakery",
    "plan": "Team",
    "currency": "EUR",
    "compute_hours": Decimal("1441.670"),
    "compute_amount": Decimal("1067.18"),
    "storage_gb_months": Decimal("442.1"),
    "storage_amount": Decimal("9.42"),
    "traffic_gb": Decimal(356),
    "traffic_amount": Decimal("28.19"),
    "request_thousands": Decimal("10074.2"),
    "requests_amount": Decimal("37.30"),
    "subtotal": Decimal("1142.09"),
    "discount_amount": Decimal(0),
    "total_amount": Decimal("1142.09"),
}
NUMBERS = [column for column, value in ROW.items() if isinstance(value, Decimal)]
AWKWARD_ROWS = {
    "ordinary": {},
    "long name": {"customer_name": LONG_NAME, "plan": "Enterprise " * 12},
    "html in the name": {"customer_name": SCRIPT_NAME},
    "line break in the name": {"customer_name": "Northgate Veterinary Clinic\nand Cattery"},
    "nothing used": dict.fromkeys(NUMBERS, Decimal(0)),
    "large amounts": dict.fromkeys(NUMBERS, Decimal("123456789012.34")),
    "yen": {"currency": "JPY", **dict.fromkeys(NUMBERS, Decimal(7669041456))},
    "dollars, discount": {
        "currency": "USD",
        "discount_amount": Decimal(25),
        "total_amount": Decimal("1117.09"),
    },
    "all of it discounted": {"discount_amount": Decimal("1142.09"), "total_amount": Decimal(0)},
    "floats": {column: float(ROW[column]) for column in NUMBERS},
    "numbers as text": {column: str(ROW[column]) for column in NUMBERS},
}
awkward = pytest.mark.parametrize("changes", AWKWARD_ROWS.values(), ids=AWKWARD_ROWS.keys())


def environment(**options: Any) -> SandboxedEnvironment:
    created = SandboxedEnvironment(undefined=StrictUndefined, **options)
    created.filters.update(money=money, quantity=quantity)
    return created


def render(template: str, edition: str = "original", options: dict[str, Any] | None = None, **changes: Any) -> str:
    source = (TEMPLATES / template).read_text(encoding="utf-8")
    period = SimpleNamespace(
        key="2026-10",
        label="October 2026",
        start=dt.date(2026, 10, 1),
        last_day=dt.date(2026, 10, 31),
    )
    env = environment(autoescape=template.endswith(".html.j2"), **(options or {}))
    facts = {"period": period, "edition": edition, "campaign": "monthly_usage"}
    correction = {"is_correction": edition != "original", "original_sent_at": None}
    variables = {**ROW, **facts, **correction, **changes}
    return env.from_string(source).render(variables)


class Outline(HTMLParser):
    """Checks that every element is closed where it should be, and collects elements and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"attribute given twice in <{tag}>"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def query_columns() -> set[str]:
    query = (INCLUDE / "sql" / "monthly_usage.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(":memory:")) as connection:
        create_schema(connection)
        cursor = connection.execute(query, {"period_start": "2026-10-01", "period_end": "2026-11-01"})
        return {column[0] for column in cursor.description}


@pytest.mark.parametrize("template", ALL)
def test_templates_use_nothing_but_columns_of_the_query(template: str) -> None:
    source = (TEMPLATES / template).read_text(encoding="utf-8")
    assert meta.find_undeclared_variables(environment().parse(source)) <= query_columns() | CONTEXT


def test_the_test_row_has_the_columns_of_the_query() -> None:
    assert set(ROW) == query_columns()


@awkward
def test_html_is_well_formed_small_and_loads_nothing(changes: dict[str, Any]) -> None:
    html = render("body.html.j2", **changes)
    outline = Outline(html)
    assert len(html.encode()) < 30_000
    assert max(map(len, html.splitlines())) < 998, "the longest line that mail may have"
    assert not {"img", "link", "script", "iframe", "form"} & {tag for tag, _ in outline.elements}
    assert "url(" not in html
    assert "@import" not in html


@awkward
def test_html_is_accessible(changes: dict[str, Any]) -> None:
    outline = Outline(render("body.html.j2", **changes))
    assert outline.all("html") == [{"lang": "en"}]
    assert [table.get("role") for table in outline.all("table")].count(None) == 1, "one table of data, others layout"
    assert {header.get("scope") for header in outline.all("th")} == {"col", "row"}
    assert [tag for tag, _ in outline.elements if re.fullmatch("h[1-6]", tag)] == ["h1", "h2"]


@awkward
def test_html_has_no_trace_of_a_failed_value(changes: dict[str, Any]) -> None:
    for body in BODIES:
        assert not re.search(r"\b(None|nan|Undefined|Decimal)\b", render(body, **changes))


@awkward
def test_text_stays_within_72_columns_and_has_no_ragged_blank_lines(changes: dict[str, Any]) -> None:
    text = render("body.txt.j2", **changes)
    assert max(map(len, text.splitlines())) <= 72
    assert "\n\n\n" not in text
    assert not re.search(r"[ \t]$", text, flags=re.MULTILINE)


@awkward
def test_text_columns_are_aligned(changes: dict[str, Any]) -> None:
    lines = render("body.txt.j2", **changes).splitlines()
    table = [line for line in lines if re.match(r"Compute|Storage|Outbound|API|Subtotal|Discount|Total  ", line)]
    assert len(table) in (5, 7)
    assert {len(line) for line in table} == {70}


@pytest.mark.parametrize("edition", ["original", "correction-1"])
@pytest.mark.parametrize("discount", [0, 25])
def test_text_is_the_same_whatever_the_environment_does_with_blocks(edition: str, discount: int) -> None:
    options: list[dict[str, Any]] = [
        {"trim_blocks": trim, "lstrip_blocks": strip} for trim in (False, True) for strip in (False, True)
    ]
    assert len({render("body.txt.j2", edition, each, discount_amount=discount) for each in options}) == 1


def test_names_are_escaped_in_html_and_plain_in_text() -> None:
    html = render("body.html.j2", customer_name=SCRIPT_NAME)
    assert "<script" not in html
    assert "<b>" not in html
    assert SCRIPT_NAME in Outline(html).text
    assert SCRIPT_NAME in render("body.txt.j2", customer_name=SCRIPT_NAME)


@pytest.mark.parametrize(
    ("currency", "amount", "shown"),
    [
        ("EUR", Decimal("1234.5"), "€1,234.50"),
        ("USD", Decimal(0), "$0.00"),
        ("GBP", Decimal("12.345"), "£12.34"),
        ("JPY", Decimal("7669041456.00"), "¥7,669,041,456"),
    ],
)
def test_the_total_is_shown_in_the_currency(currency: str, amount: Decimal, shown: str) -> None:
    for body in BODIES:
        rendered = render(body, currency=currency, total_amount=amount)
        assert rendered.count(shown) >= 2, "at the top and under the table"


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("discount", "shown"), [(Decimal(25), True), (Decimal("0.00"), False), ("0.00", False)])
def test_a_discount_is_shown_when_there_is_one(body: str, discount: Any, shown: bool) -> None:
    rendered = render(body, discount_amount=discount)
    assert ("Discount" in rendered) is shown
    assert ("Subtotal" in rendered) is shown


def test_only_a_corrected_statement_says_that_it_is_one() -> None:
    for template in (*BODIES, "subject.txt.j2"):
        assert "corrected" not in render(template).lower()
        assert "corrected" in render(template, edition="correction-1").lower()
    assert render("body.html.j2", "<i>x</i>").count("&lt;i&gt;x&lt;/i&gt;") == 1


def test_a_corrected_statement_says_which_one_it_replaces() -> None:
    sent_at = dt.datetime(2026, 11, 1, 12, tzinfo=dt.timezone.utc)
    for body in BODIES:
        told = " ".join(render(body, "correction-1", original_sent_at=sent_at).split())
        assert "replaces the one for October 2026 sent on 1 November 2026" in told
        told = " ".join(render(body, "correction-1").split())
        assert "replaces the one you received earlier for October 2026" in told


def test_the_original_statement_is_what_it_was() -> None:
    """Whoever changes these templates changes this figure: every statement of a month that is out then counts as changed."""
    maker = StatementMaker(
        campaign="monthly_usage", period="2026-10", period_fields=Period("2026-10"),
        content=Templates.of_campaign("monthly_usage", TEMPLATES.parent), sender="Billing <billing@example.com>",
    )  # fmt: skip
    fingerprint = maker.delivery(read_row(ROW)).message.fingerprint
    assert fingerprint == "09dceb3b239ee169c6044fb8472c6bafb28845173d5ad57f90eb5a5bd81133a0"


def test_who_it_is_for_and_for_when() -> None:
    for body in BODIES:
        rendered = render(body)
        assert all(shown in rendered for shown in ("Blue Heron Bakery", "CUST-0062", "Team", "31 October 2026"))


def test_every_part_offers_the_same_way_to_unsubscribe() -> None:
    url = "https://account.tidewater-cloud.example/statements/CUST-0062/unsubscribe"
    assert all(url in render(template) for template in (*BODIES, "headers.txt.j2"))


@awkward
def test_subject_and_headers_are_single_lines_whatever_the_row_holds(changes: dict[str, Any]) -> None:
    assert render("subject.txt.j2", **changes) == "Your Tidewater Cloud statement for October 2026"
    headers = render("headers.txt.j2", **{**changes, "recipient_id": "X\r\nBcc: everybody@example.net>"})
    names = [line.split(": ")[0] for line in headers.splitlines()]
    assert names == ["List-Unsubscribe", "List-Unsubscribe-Post"]
