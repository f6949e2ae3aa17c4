"""Sample usage data for the demo and the tests: customers, prices, and what each customer used on each day.

The data is made up, but always the same: what a customer used in a month depends on the customer and
the month only, not on the day the data is created: a month mailed yesterday has the same figures today.
"""

from __future__ import annotations

import calendar
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from itertools import chain, islice
from typing import Any, Protocol

from sandbox.sample_customers import (
    ANSWER_LOST,
    REFUSED,
    REJECTED,
    THROTTLED,
    TROUBLE,
    UNAVAILABLE,
    UNUSUAL,
    Customer,
    Trouble,
    sample_customers,
)

__all__ = [
    "ANSWER_LOST",
    "METRICS",
    "REFUSED",
    "REJECTED",
    "THROTTLED",
    "TROUBLE",
    "UNAVAILABLE",
    "UNUSUAL",
    "Customer",
    "Trouble",
    "create_sample_usage",
    "create_schema",
    "months_before",
    "sample_customers",
]

METRICS = ("compute_hours", "storage_gb_months", "traffic_gb", "request_thousands")

# One text for PostgreSQL and SQLite. SQLite keeps instants as the text they are given as.
_TABLES = {
    "customers": """
        CREATE TABLE customers (
            customer_id VARCHAR(40) PRIMARY KEY,
            name TEXT NOT NULL,
            email TEXT,
            plan VARCHAR(40) NOT NULL,
            currency CHAR(3) NOT NULL,
            monthly_discount NUMERIC(14, 2) NOT NULL DEFAULT 0
        )""",
    "prices": """
        CREATE TABLE prices (
            plan VARCHAR(40) NOT NULL,
            currency CHAR(3) NOT NULL,
            metric VARCHAR(40) NOT NULL,
            unit_price NUMERIC(14, 6) NOT NULL,
            decimal_places INTEGER NOT NULL,
            PRIMARY KEY (plan, currency, metric)
        )""",
    "usage_daily": """
        CREATE TABLE usage_daily (
            customer_id VARCHAR(40) NOT NULL REFERENCES customers (customer_id),
            used_at TIMESTAMP WITH TIME ZONE NOT NULL,
            metric VARCHAR(40) NOT NULL
                CHECK (metric IN ('compute_hours', 'storage_gb_months', 'traffic_gb', 'request_thousands')),
            quantity NUMERIC(14, 3) NOT NULL,
            PRIMARY KEY (customer_id, metric, used_at)
        )""",
}

_EURO_PRICES = dict(zip(METRICS, (0.0475, 0.0213, 0.0791, 0.0037), strict=True))
_EXCHANGE_RATES = {"EUR": 1.0, "USD": 1.09, "GBP": 0.86, "JPY": 163.0}
_PLAN_FACTORS = {"Starter": 1.0, "Team": 0.9, "Scale": 0.7}
_DECIMAL_PLACES = {"EUR": 2, "USD": 2, "GBP": 2, "JPY": 0}

# What an average customer of the plan uses in a day.
_DAILY_USE = {
    "Starter": dict(zip(METRICS, (24.0, 3.0, 4.0, 60.0), strict=True)),
    "Team": dict(zip(METRICS, (190.0, 40.0, 55.0, 900.0), strict=True)),
    "Scale": dict(zip(METRICS, (2400.0, 900.0, 1300.0, 42000.0), strict=True)),
}

_ROWS_PER_INSERT = 200  # times at most six columns: within the 32,766 parameters of one SQLite statement


class Connection(Protocol):
    """The part of a DB-API connection that is used here."""

    def cursor(self) -> Any: ...

    def commit(self) -> None: ...


def create_sample_usage(connection: Connection, today: date, paramstyle: str, months: int = 3) -> None:
    """Create the sample tables, fill them with the whole months before that of ``today``, and commit.

    ``paramstyle`` is the DB-API module's own constant: ``psycopg.paramstyle`` or ``sqlite3.paramstyle``.
    Sample tables that are there already are replaced.
    """
    customers = sample_customers()
    whole_months = months_before(today, months)
    create_schema(connection)
    _insert(
        connection,
        paramstyle,
        "customers",
        (
            (each.recipient_id, each.name, each.email, each.plan, each.currency, str(each.monthly_discount))
            for each in customers
        ),
    )
    _insert(connection, paramstyle, "prices", _price_rows())
    _insert(
        connection,
        paramstyle,
        "usage_daily",
        chain.from_iterable(_usage(customer, month) for month in whole_months for customer in customers),
    )
    connection.commit()


def create_schema(connection: Connection) -> None:
    """Create the three sample tables, empty; replace those which exist."""
    cursor = connection.cursor()
    for table in reversed(_TABLES):
        cursor.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _TABLES.values():
        cursor.execute(statement)


def months_before(today: date, count: int) -> list[date]:
    """Return the first days of the ``count`` months before the month of ``today``, the oldest first."""
    months: list[date] = []
    first_day = today.replace(day=1)
    for _ in range(count):
        first_day = (first_day - timedelta(days=1)).replace(day=1)
        months.insert(0, first_day)
    return months


def _price_rows() -> Iterator[tuple[str, str, str, str, int]]:
    for plan, plan_factor in _PLAN_FACTORS.items():
        for currency, exchange_rate in _EXCHANGE_RATES.items():
            for metric, euro_price in _EURO_PRICES.items():
                unit_price = f"{euro_price * exchange_rate * plan_factor:.4f}"
                yield plan, currency, metric, unit_price, _DECIMAL_PLACES[currency]


def _usage(customer: Customer, month: date) -> Iterator[tuple[str, str, str, str]]:
    """Yield a customer's rows of one month; as text, which both databases take without loss."""
    size = random.Random(customer.recipient_id).lognormvariate(0, 0.7)  # noqa: S311
    for metric in METRICS:
        chance = random.Random(f"{customer.recipient_id} {metric} {month:%Y-%m}")  # noqa: S311
        if customer.plan == "Starter" and chance.random() < 0.1:
            continue  # small customers do not use everything every month, so some statements have zeros
        average = _DAILY_USE[customer.plan][metric] * size * chance.uniform(0.7, 1.3)
        for day in range(1, calendar.monthrange(month.year, month.month)[1] + 1):
            # Noon in UTC is the same day in nearly every time zone, so a campaign may choose its own.
            used_at = datetime(month.year, month.month, day, 12, tzinfo=timezone.utc)
            weekend = 0.6 if used_at.weekday() >= 5 and metric != "storage_gb_months" else 1.0
            quantity = average * weekend * chance.uniform(0.85, 1.15)
            yield customer.recipient_id, used_at.isoformat(), metric, f"{quantity:.3f}"


def _insert(connection: Connection, paramstyle: str, table: str, rows: Iterable[Sequence[object]]) -> None:
    """Insert many rows with one statement: far fewer round trips than one statement a row."""
    marker = {"qmark": "?", "format": "%s", "pyformat": "%s"}[paramstyle]
    cursor = connection.cursor()
    remaining = iter(rows)
    while batch := list(islice(remaining, _ROWS_PER_INSERT)):
        placeholders = "(" + ", ".join([marker] * len(batch[0])) + ")"
        values = [value for row in batch for value in row]
        statement = f"INSERT INTO {table} VALUES " + ", ".join([placeholders] * len(batch))  # noqa: S608
        cursor.execute(statement, values)
