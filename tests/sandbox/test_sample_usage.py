"""The sample data, and the query of the sample campaign run on it: in SQLite and in a real PostgreSQL."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from email_validator import EmailNotValidError, validate_email
from psycopg.rows import dict_row

from sandbox.postgres import EmbeddedPostgres
from sandbox.sample_usage import (
    ANSWER_LOST,
    METRICS,
    REFUSED,
    REJECTED,
    THROTTLED,
    TROUBLE,
    UNAVAILABLE,
    UNUSUAL,
    create_sample_usage,
    create_schema,
    months_before,
    sample_customers,
)

QUERY = (Path(__file__).parents[2] / "include" / "sql" / "monthly_usage.sql").read_text(encoding="utf-8")
TODAY = date(2026, 11, 5)
OCTOBER = {"period_start": "2026-10-01T00:00:00+00:00", "period_end": "2026-11-01T00:00:00+00:00"}
AMOUNTS = {
    "compute_hours": "compute_amount",
    "storage_gb_months": "storage_amount",
    "traffic_gb": "traffic_amount",
    "request_thousands": "requests_amount",
}


@pytest.fixture
def sqlite() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


@pytest.fixture
def sample(sqlite: sqlite3.Connection) -> sqlite3.Connection:
    create_sample_usage(sqlite, TODAY, sqlite3.paramstyle)
    return sqlite


@pytest.fixture
def one_customer(sqlite: sqlite3.Connection) -> sqlite3.Connection:
    """One customer without usage; an hour of compute costs one euro."""
    create_schema(sqlite)
    sqlite.execute("INSERT INTO customers VALUES ('CUST-1', 'Blue Heron', 'a@example.com', 'Team', 'EUR', 5)")
    sqlite.execute("INSERT INTO prices VALUES ('Team', 'EUR', 'compute_hours', 1, 2)")
    return sqlite


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with (
        EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server,
        psycopg.connect(server.create_database("usage"), row_factory=dict_row) as connection,
    ):
        create_sample_usage(connection, TODAY, psycopg.paramstyle)
        yield connection


def use(connection: sqlite3.Connection, used_at: str, quantity: object, metric: str = "compute_hours") -> None:
    connection.execute("INSERT INTO usage_daily VALUES ('CUST-1', ?, ?, ?)", (used_at, metric, quantity))


def run(connection: sqlite3.Connection, query: str = QUERY) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query, OCTOBER)]


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers as decimals: PostgreSQL gives 12.30, SQLite 12.3 for the same amount."""
    return {
        column: value if value is None or isinstance(value, str) else Decimal(str(value)).normalize()
        for column, value in row.items()
    }


def statement(connection: sqlite3.Connection, customer: sqlite3.Row, month: str) -> dict[str, Decimal]:
    """What the query should give for a customer, in exact decimal arithmetic from the raw rows."""
    place = Decimal(1) if customer["currency"] == "JPY" else Decimal("0.01")
    expected = {}
    for metric, amount in AMOUNTS.items():
        rows = connection.execute(
            "SELECT quantity FROM usage_daily WHERE customer_id = ? AND metric = ? AND used_at LIKE ?",
            (customer["customer_id"], metric, f"{month}-%"),
        )
        expected[metric] = sum((Decimal(str(row["quantity"])) for row in rows), Decimal(0))
        price = connection.execute(
            "SELECT unit_price FROM prices WHERE plan = ? AND currency = ? AND metric = ?",
            (customer["plan"], customer["currency"], metric),
        ).fetchone()["unit_price"]
        expected[amount] = (expected[metric] * Decimal(str(price))).quantize(place, ROUND_HALF_UP)
    expected["subtotal"] = sum((expected[amount] for amount in AMOUNTS.values()), Decimal(0))
    expected["discount_amount"] = min(Decimal(str(customer["monthly_discount"])), expected["subtotal"])
    expected["total_amount"] = expected["subtotal"] - expected["discount_amount"]
    return expected


def test_every_customer_has_one_row_in_the_order_of_the_ids(sample: sqlite3.Connection) -> None:
    recipients = [row["recipient_id"] for row in run(sample)]
    assert recipients == [f"CUST-{number:04d}" for number in range(1, 101)]


def test_the_figures_are_those_of_an_independent_computation(sample: sqlite3.Connection) -> None:
    customers = {row["customer_id"]: row for row in sample.execute("SELECT * FROM customers")}
    for row in run(sample):
        expected = statement(sample, customers[row["recipient_id"]], "2026-10")
        assert {column: Decimal(str(row[column])) for column in expected} == expected, row["recipient_id"]


def test_postgresql_and_sqlite_agree_row_for_row(
    sample: sqlite3.Connection, postgres: psycopg.Connection[dict[str, Any]]
) -> None:
    query = re.sub(r":(period_start|period_end)", r"%(\1)s", QUERY)
    rows = postgres.execute(query, OCTOBER).fetchall()
    assert list(rows[0]) == list(run(sample)[0])
    assert [comparable(row) for row in rows] == [comparable(row) for row in run(sample)]


def test_the_sample_may_be_created_again(sample: sqlite3.Connection) -> None:
    before = run(sample)
    create_sample_usage(sample, TODAY, sqlite3.paramstyle)
    assert run(sample) == before


def test_a_month_has_the_same_figures_whenever_the_sample_is_created(sample: sqlite3.Connection) -> None:
    before = run(sample)
    create_sample_usage(sample, date(2027, 1, 31), sqlite3.paramstyle)
    assert run(sample) == before


@pytest.mark.parametrize("today", [date(2026, 1, 1), date(2026, 3, 31), date(2028, 2, 29), date(2026, 12, 31)])
def test_the_sample_is_the_three_whole_months_before_today(sqlite: sqlite3.Connection, today: date) -> None:
    create_sample_usage(sqlite, today, sqlite3.paramstyle)
    days = [row[0][:10] for row in sqlite.execute("SELECT DISTINCT used_at FROM usage_daily ORDER BY used_at")]
    first, last = months_before(today, 3)[0], today.replace(day=1)
    assert days[0] == first.isoformat()
    assert len(days) == (last - first).days
    assert max(days) < last.isoformat()
    assert sqlite.execute("SELECT COUNT(DISTINCT customer_id) FROM usage_daily").fetchone()[0] == 100


def test_months_before_crosses_the_year() -> None:
    assert months_before(date(2026, 2, 28), 3) == [date(2025, 11, 1), date(2025, 12, 1), date(2026, 1, 1)]


@pytest.mark.parametrize(
    ("used_at", "counted"),
    [
        ("2026-09-30T23:59:59+00:00", False),
        ("2026-09-30T23:59:59.999999+00:00", False),
        ("2026-10-01T00:00:00+00:00", True),
        ("2026-10-01T00:00:00.000001+00:00", True),
        ("2026-10-31T23:59:59.999999+00:00", True),
        ("2026-11-01T00:00:00+00:00", False),
        ("2026-11-01T00:00:00.000001+00:00", False),
    ],
)
def test_the_month_is_half_open(one_customer: sqlite3.Connection, used_at: str, counted: bool) -> None:
    use(one_customer, used_at, 7)
    assert [row["compute_hours"] for row in run(one_customer)] == ([7] if counted else [])


def test_customers_without_usage_get_no_row_unless_the_join_is_changed_as_the_comment_says(
    one_customer: sqlite3.Connection,
) -> None:
    assert run(one_customer) == []
    (row,) = run(one_customer, QUERY.replace("\n    JOIN metered", "\n    LEFT JOIN metered"))
    assert row["email"] == "a@example.com"
    zeros = [*AMOUNTS, *AMOUNTS.values(), "subtotal", "discount_amount", "total_amount"]
    assert [row[column] for column in zeros] == [0] * len(zeros)


@pytest.mark.parametrize(("hours", "discount", "total"), [(3, 3, 0), (5, 5, 0), (7.5, 5, 2.5)])
def test_a_discount_never_exceeds_the_month(
    one_customer: sqlite3.Connection, hours: float, discount: float, total: float
) -> None:
    use(one_customer, "2026-10-10T12:00:00+00:00", hours)
    (row,) = run(one_customer)
    assert (row["subtotal"], row["discount_amount"], row["total_amount"]) == (hours, discount, total)


def test_usage_without_a_price_gives_no_total_rather_than_one_too_low(
    one_customer: sqlite3.Connection,
) -> None:
    use(one_customer, "2026-10-10T12:00:00+00:00", 10)
    use(one_customer, "2026-10-10T12:00:00+00:00", 10, metric="traffic_gb")
    (row,) = run(one_customer)
    assert (row["subtotal"], row["total_amount"]) == (None, None)


def test_the_query_is_one_portable_statement_with_two_parameters() -> None:
    # In comments too: not everybody who translates parameters skips them, and drivers trip over a per cent
    # sign, hooks over a semicolon, Airflow over a double brace.
    assert re.findall(r":[A-Za-z_]\w*", QUERY) == [":period_start", ":period_end"]
    assert not [sign for sign in ("::", "%", ";", "?", "{{", "{%") if sign in QUERY]
    assert QUERY.startswith("--")


def test_trouble_is_what_was_planned() -> None:
    groups = (REFUSED, UNUSUAL, THROTTLED, REJECTED, ANSWER_LOST, UNAVAILABLE)
    assert [len(group) for group in groups] == [7, 3, 6, 3, 4, 2]
    assert Counter(recipient_id for group in groups for recipient_id, _ in group) == Counter(list(TROUBLE))
    emails = {customer.recipient_id: customer.email for customer in sample_customers()}
    assert all(emails[recipient_id] == email for group in groups for recipient_id, email in group)
    assert all(trouble.what and trouble.why for trouble in TROUBLE.values())


def test_every_address_is_valid_but_the_refused_ones() -> None:
    refused = dict(REFUSED)
    for customer in sample_customers():
        if customer.recipient_id in refused:
            with pytest.raises(EmailNotValidError):
                validate_email(customer.email or "", check_deliverability=False, allow_smtputf8=False)
        else:
            address = validate_email(customer.email or "", check_deliverability=False, allow_smtputf8=False)
            assert re.search(r"(^|\.)example\.(com|org|net)$", address.ascii_domain)


def test_customers_are_a_hundred_distinct_businesses() -> None:
    customers = sample_customers()
    assert len({customer.name for customer in customers}) == 100
    assert len({customer.email for customer in customers}) == 100
    assert {customer.currency for customer in customers} == {"EUR", "USD", "GBP", "JPY"}
    assert {customer.plan for customer in customers} == {"Starter", "Team", "Scale"}
    assert set(METRICS) == set(AMOUNTS)
