"""What PostgreSQL reads to answer people's questions: no more of an index than the answer, however many rows there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
import pytest
from psycopg import sql

from mailonce.browsing import Page, Search
from mailonce.events import EventKind, Fate
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.ledgers.postgres.browser import following
from mailonce.ledgers.postgres.database import Database
from mailonce.ledgers.postgres.schema import migrations
from mailonce.ledgers.postgres.statements import Table, statements
from mailonce.states import State
from tests.fakes import make_claim, make_delivery
from tests.ledgers.postgres_rows import grant, make_role
from tests.ledgers.tools import REJECTED, SENT, make_event

pytestmark = pytest.mark.postgres

ROWS = 5_000
HERE = Search(campaign="usage", period="2030-01")
Ask = Callable[[PostgresLedger], object]
Plan = Mapping[str, Any]


@pytest.fixture
def ledger(dsn: str, table: str) -> Iterator[PostgresLedger]:
    opened = PostgresLedger(dsn, table=table)
    opened.prepare()
    yield opened
    opened.close()


@pytest.fixture
def filled(ledger: PostgresLedger, hand: psycopg.Connection, table: str) -> PostgresLedger:
    """5000 delivered rows in the month, 1000 in the one before, and one row each that was rejected or has bounced."""
    statement = """
        INSERT INTO {table} (key, campaign, period, recipient_id, edition, email, fingerprint, state, attempt,
                             message_id, sent_at, updated_at, fate, fate_at, event_ids,
                             history)
        SELECT encode(sha256((period || number)::bytea), 'hex'), 'usage', period, 'C-' || lpad(number::text, 6, '0'),
               'original', 'c@example.org', 'f', 'SENT', 1, 'm-1', now(), now(), 'DELIVERED', now(), ARRAY['e-1'],
               jsonb_build_array(jsonb_build_object('by', repeat('a worker ', 60)))
        FROM (VALUES ('2030-01', %s), ('2029-12', 1000)) AS month (period, rows), generate_series(1, rows) AS number
    """
    hand.execute(Table(table).into(statement), [ROWS])
    for recipient_id in ("C-000500x", "C-000700x"):
        claim = make_claim(make_delivery(recipient_id))
        ledger.claim(claim)
        if recipient_id == "C-000500x":
            ledger.conclude(claim.delivery.key, claim.token, REJECTED)
        else:
            ledger.conclude(claim.delivery.key, claim.token, SENT)
            ledger.observe(make_event(claim, EventKind.BOUNCE))
    hand.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(table)))
    return ledger


@pytest.fixture
def plans(dsn: str, table: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[PostgresLedger, Ask], Plan]:
    """Do something with the ledger, and return what PostgreSQL did for its one question."""
    asked: list[tuple[str, Mapping[str, Any]]] = []
    rows = Database.rows

    def listening(self: Database, name: str, values: Mapping[str, Any]) -> Any:
        asked.append((name, values))
        return rows(self, name, values)

    monkeypatch.setattr(Database, "rows", listening)

    def look(ledger: PostgresLedger, ask: Ask) -> Plan:
        asked.clear()
        ask(ledger)
        ((name, values),) = asked
        with psycopg.connect(dsn, autocommit=True) as connection:
            explained = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) ") + Table(table).into(statements()[name])
            (answer,) = connection.execute(explained, values).fetchone() or ()
        plan: Plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
        return plan

    return look


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def read(plan: Plan) -> float:
    """Return how many rows were read from the table or its indexes, those that were not wanted included."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes(plan)
        if "Scan" in node["Node Type"] and "Relation Name" in node
    )


SEARCHES = {
    "all": (HERE, 50),
    "rejected": (Search(**{**vars(HERE), "states": frozenset({State.REJECTED})}), 1),
    "in doubt": (Search(**{**vars(HERE), "states": frozenset({State.IN_DOUBT})}), 0),
    "sent": (Search(**{**vars(HERE), "states": frozenset({State.SENT})}), 50),
    "several states": (Search(**{**vars(HERE), "states": frozenset(set(State) - {State.SENT})}), 1),
    "bounced": (Search(**{**vars(HERE), "fates": frozenset({Fate.BOUNCED})}), 1),
    "delivered": (Search(**{**vars(HERE), "fates": frozenset({Fate.DELIVERED})}), 50),
    "a prefix": (Search(**{**vars(HERE), "recipient_id": "C-0012"}), 50),
    "a prefix of nobody": (Search(**{**vars(HERE), "recipient_id": "D"}), 0),
    "a prefix, bounced": (Search(**{**vars(HERE), "recipient_id": "C-0007", "fates": frozenset({Fate.BOUNCED})}), 1),
    "an edition": (Search(**{**vars(HERE), "edition": "original"}), 50),
    "an edition that there is not": (Search(**{**vars(HERE), "edition": "corrected"}), 0),
    "an older month": (Search(campaign="usage", period="2029-12"), 50),
    "no such month": (Search(campaign="usage", period="1999-12"), 0),
}


@pytest.mark.parametrize("what", SEARCHES)
def test_a_page_of_any_search_reads_little_more_than_a_page(
    filled: PostgresLedger, plans: Callable[[PostgresLedger, Ask], Plan], what: str
) -> None:
    search, expected = SEARCHES[what]
    answer: list[Page] = []
    plan = plans(filled, lambda ledger: answer.append(ledger.browser.search(search)))
    assert len(answer[0].entries) == expected
    assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan)}
    # A page of each kind of rows that there may be (delivered, bounced, rejected …), and the looks for editions.
    assert read(plan) < 200


def test_a_late_page_reads_no_more_than_the_first(
    filled: PostgresLedger, plans: Callable[[PostgresLedger, Ask], Plan]
) -> None:
    place = filled.browser.search(Search(**{**vars(HERE), "recipient_id": "C-0049"})).after
    answer: list[Page] = []
    plan = plans(filled, lambda ledger: answer.append(ledger.browser.search(HERE, after=place)))
    assert answer[0].entries[0].identity.recipient_id == "C-004950"
    assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan)}
    assert read(plan) < 200


def test_a_month_that_the_planner_knows_nothing_of_is_read_as_sparingly(
    ledger: PostgresLedger, filled: PostgresLedger, hand: psycopg.Connection, table: str,
    plans: Callable[[PostgresLedger, Ask], Plan],
) -> None:  # fmt: skip
    """On the first of the month, before the statistics are brought up to date."""
    hand.execute(sql.SQL("UPDATE {} SET period = '2030-02' WHERE period = '2030-01'").format(sql.Identifier(table)))
    plan = plans(filled, lambda ledger: ledger.browser.search(Search(campaign="usage", period="2030-02")))
    assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan)}
    assert read(plan) < 200


def test_all_of_one_recipient_is_read_from_an_index(
    filled: PostgresLedger, plans: Callable[[PostgresLedger, Ask], Plan]
) -> None:
    found: list[object] = []
    plan = plans(filled, lambda ledger: found.extend(ledger.browser.of_recipient("C-000500")))
    assert len(found) == 2
    assert "Seq Scan" not in {node["Node Type"] for node in nodes(plan)}
    assert read(plan) < 20


@pytest.mark.parametrize(
    "ask", [lambda ledger: ledger.browser.totals("usage", "2030-01"), lambda ledger: ledger.browser.months()]
)
def test_rows_are_counted_in_the_index_alone(
    filled: PostgresLedger, plans: Callable[[PostgresLedger, Ask], Plan], ask: Ask
) -> None:
    (scan,) = (node for node in nodes(plans(filled, ask)) if "Relation Name" in node)
    assert scan["Node Type"] == "Index Only Scan"
    # Of the two rows that were written last somebody may still see the versions of before.
    assert scan["Heap Fetches"] < 10


def test_who_may_only_look_can_look(filled: PostgresLedger, hand: psycopg.Connection, dsn: str, table: str) -> None:
    conninfo = make_role(hand, dsn, f"looks_{table}")
    for suffix in ("", "_versions"):
        grant(hand, "SELECT", f"{table}{suffix}", f"looks_{table}")
    reader = PostgresLedger(conninfo, table=table)
    try:
        assert len(reader.browser.months()) == 2
        assert len(reader.browser.search(HERE).entries) == 50
        assert len(list(reader.browser.of_recipient("C-000500"))) == 2
    finally:
        reader.close()


def test_an_index_that_was_made_before_the_upgrade_is_kept(dsn: str, table: str) -> None:
    names = Table(table)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(names.into("CREATE TABLE {versions} (version integer PRIMARY KEY, applied_at timestamptz)"))
        for version in range(1, 6):
            connection.execute(names.into(migrations()[version]))
            connection.execute(names.into("INSERT INTO {versions} (version) VALUES (%s)"), [version])
        beforehand = migrations()[6].replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY")
        connection.execute(names.into(beforehand))
        index = "SELECT oid FROM pg_class WHERE relname = %s"
        before = connection.execute(index, [f"{table}_standing"]).fetchone()
        assert before
        ledger = PostgresLedger(dsn, table=table)
        assert ledger.prepare() is False
        ledger.close()
        assert connection.execute(index, [f"{table}_standing"]).fetchone() == before


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("a", "b"), ("C-1", "C-2"), ("a%", "a&"), ("", None), ("\ud7ff", "\ue000"), ("a\U0010ffff", "b"),
        ("\U0010ffff\U0010ffff", None), ("é", "ê"),
    ],
)  # fmt: skip
def test_what_follows_all_that_begin_with_a_prefix(prefix: str, expected: str | None) -> None:
    assert following(prefix) == expected
