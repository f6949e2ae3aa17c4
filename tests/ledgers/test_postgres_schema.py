"""How PostgreSQL's tables are made and brought up to date, by many at once, and with as few permissions as possible."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from mailonce.delivery import Entry
from mailonce.errors import LedgerUnusable
from mailonce.events import EventKind, Fate
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.ledgers.postgres.schema import migrations
from mailonce.ledgers.postgres.statements import Table
from mailonce.states import State
from mailonce.suppression import Suppression
from tests.fakes import make_claim, make_delivery
from tests.ledgers.postgres_rows import KEY, grant, grant_all_that_is_needed, make_role, put
from tests.ledgers.tools import NOON, SENT, make_event

pytestmark = pytest.mark.postgres


@pytest.fixture
def ledger(dsn: str, table: str) -> Iterator[PostgresLedger]:
    opened = PostgresLedger(dsn, table=table)
    opened.prepare()
    yield opened
    opened.close()


@pytest.fixture
def version_1(hand: psycopg.Connection, table: str) -> Callable[[], None]:
    """The tables as the first version of mailonce made them."""

    def make() -> None:
        names = Table(table)
        hand.execute(names.into("CREATE TABLE {versions} (version integer PRIMARY KEY, applied_at timestamptz)"))
        hand.execute(names.into(migrations()[1]))
        hand.execute(names.into("INSERT INTO {versions} (version) VALUES (1)"))

    return make


def test_eight_migrate_at_once_and_one_makes_it(dsn: str, table: str) -> None:
    ledgers = [PostgresLedger(dsn, table=table) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda ledger: ledger.prepare(), ledgers))
    for ledger in ledgers:
        ledger.close()
    assert sorted(made) == [False] * 7 + [True]


def test_a_newer_table_is_left_alone(ledger: PostgresLedger, hand: psycopg.Connection, table: str) -> None:
    hand.execute(sql.SQL("INSERT INTO {} (version) VALUES (9999)").format(sql.Identifier(f"{table}_versions")))
    with pytest.raises(LedgerUnusable, match="upgrade mailonce"):
        ledger.prepare()


def test_a_table_made_on_first_use_is_announced(dsn: str, table: str, caplog: pytest.LogCaptureFixture) -> None:
    ledger = PostgresLedger(dsn, table=table)
    with caplog.at_level(logging.WARNING):
        assert list(ledger.of_month("usage", "2030-01")) == []
    ledger.close()
    assert "knows of no earlier mail" in caplog.text


def test_a_role_that_may_create_nothing_is_enough_once_the_tables_are_there(
    ledger: PostgresLedger, hand: psycopg.Connection, dsn: str, table: str
) -> None:
    conninfo = make_role(hand, dsn, f"sender_{table}")
    grant_all_that_is_needed(hand, table, f"sender_{table}")
    sender = PostgresLedger(conninfo, table=table)
    try:
        assert sender.prepare() is False
        claim = make_claim(make_delivery())
        sender.claim(claim)
        assert sender.conclude(claim.delivery.key, claim.token, SENT)
        assert sender.observe(make_event(claim, EventKind.BOUNCE))
        assert sender.suppressions.add(Suppression(address="a@example.org", reason="bounce", since=NOON, by="event"))
        assert sender.suppressions.lift("a@example.org", by="support", reason="mended")
        assert sender.epoch.advance().runs == 1
        assert sender.epoch.read().home == ledger.epoch.read().home
        sender.epoch.adopt(by="support", reason="restored")
        sender.rate.limit("account", 10)
        sender.rate.throttled("account")
        assert sender.rate.reserve("account", 3)
    finally:
        sender.close()


def use(ledger: PostgresLedger) -> object:
    """Use what came with the second version."""
    return ledger.observe(make_event(make_claim(make_delivery("new")), EventKind.BOUNCE, known=True))


USES: dict[str, Callable[[PostgresLedger], object]] = {
    "prepare": lambda ledger: ledger.prepare(),
    "claim": lambda ledger: ledger.claim(make_claim(make_delivery("new"))),
    "observe": use,
    "suppressions": lambda ledger: list(ledger.suppressions.all()),
    "epoch": lambda ledger: ledger.epoch.read(),
    "rate": lambda ledger: ledger.rate.reserve("account", 1),
    "privacy": lambda ledger: ledger.privacy.purged("usage", "2030-01", "original"),
}


@pytest.mark.parametrize("first", USES)
@pytest.mark.parametrize("state", State)
def test_the_first_use_brings_the_tables_up_to_date_and_keeps_every_row(
    version_1: Callable[[], None], hand: psycopg.Connection, dsn: str, table: str, state: State, first: str
) -> None:
    version_1()
    put(hand, table, state, history=json.dumps([{"at": "then", "state": state.value, "by": "me", "note": None}]))
    before = hand.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))).fetchone()
    ledger = PostgresLedger(dsn, table=table)
    USES[first](ledger)
    assert ledger.prepare() is False, "it knows of earlier mail"
    (entry,) = ledger.find([KEY])
    assert (entry.state, entry.fate, entry.event_ids, len(entry.history)) == (state, None, frozenset(), 1)
    after = hand.execute(sql.SQL("SELECT * FROM {} WHERE key = %s").format(sql.Identifier(table)), [KEY]).fetchone()
    assert before
    assert after
    assert after[: len(before)] == before
    use(ledger)
    entry = next(ledger.find([make_delivery("new").key]))
    assert (entry.state, entry.fate) == (State.SENT, Fate.BOUNCED)
    ledger.close()


def test_who_may_only_look_is_kept_out_by_no_migration(
    version_1: Callable[[], None], hand: psycopg.Connection, dsn: str, table: str
) -> None:
    version_1()
    put(hand, table, State.SENT)
    conninfo = make_role(hand, dsn, f"reader_{table}")
    grant(hand, "SELECT", table, f"reader_{table}")
    with closing(PostgresLedger(conninfo, table=table)) as ledger:
        for (entry,) in (ledger.find([KEY]), ledger.of_month("usage", "2030-01"), ledger.of_address("c@example.org")):
            assert (entry.state, entry.fate, entry.event_ids) == (State.SENT, None, frozenset())


def test_many_bring_the_tables_up_to_date_at_once(version_1: Callable[[], None], dsn: str, table: str) -> None:
    version_1()
    ledgers = [PostgresLedger(dsn, table=table) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(use, ledgers))
    assert len({entry.event_ids for entry in entries if isinstance(entry, Entry)}) == 1
    for ledger in ledgers:
        ledger.close()


def test_a_role_that_may_not_bring_them_up_to_date_says_so(
    version_1: Callable[[], None], hand: psycopg.Connection, dsn: str, table: str
) -> None:
    version_1()
    conninfo = make_role(hand, dsn, f"old_{table}")
    grant(hand, "SELECT, INSERT, UPDATE", table, f"old_{table}")
    grant(hand, "SELECT", f"{table}_versions", f"old_{table}")
    ledger = PostgresLedger(conninfo, table=table)
    with pytest.raises(LedgerUnusable, match="permission denied"):
        use(ledger)
    ledger.close()


@pytest.mark.parametrize(
    ("constraint", "suffix", "row"),
    [
        ("an_address_is_no_empty_text", "suppressions", {"address": ""}),
        ("a_lifting_has_an_author_and_a_reason", "suppressions", {"lifted_at": "now", "lifted_by": "me"}),
        ("a_lifting_has_an_author_and_a_reason", "suppressions", {"lift_reason": "mended"}),
        ("there_is_one", "epoch", {"single": False}),
        ("a_rate_is_above_nothing", "rates", {"maximum": 0}),
        ("a_rate_is_above_nothing", "rates", {"maximum": "infinity"}),
        ("a_rate_is_above_nothing", "rates", {"maximum": "nan"}),
        ("a_share_is_a_part_of_the_whole", "rates", {"share": 0}),
        ("a_share_is_a_part_of_the_whole", "rates", {"share": 1.1}),
        ("a_purge_has_an_author_and_a_reason", "purges", {"purged_by": ""}),
        ("a_purge_has_an_author_and_a_reason", "purges", {"reason": ""}),
    ],
)
def test_the_other_tables_refuse_wrong_rows_too(
    ledger: PostgresLedger, hand: psycopg.Connection, table: str, constraint: str, suffix: str, row: dict
) -> None:
    whole = {
        "suppressions": {
            "address": "a@example.org", "reason": "bounce", "since": "now", "told_by": "me", "history": "[]",
            "token": "00000000-0000-4000-8000-000000000000",
        },
        "epoch": {"id": "00000000-0000-4000-8000-000000000000", "home_database": 1, "home_deliveries": 1},
        "rates": {"account": "a", "maximum": 10},
        "purges": {
            "campaign": "usage", "period": "2030-01", "edition": "original", "purged_at": "now", "purged_by": "me",
            "reason": "retention", "history": "[]",
        },
    }  # fmt: skip
    values = whole[suffix] | row
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(f"{table}_{suffix}"),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
    )
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        hand.execute(statement, values)
    assert refused.value.diag.constraint_name == constraint


def test_more_suppressions_than_a_page(ledger: PostgresLedger, hand: psycopg.Connection, table: str) -> None:
    hand.execute(
        sql.SQL(
            "INSERT INTO {} (address, reason, since, told_by, token, history)"
            " SELECT 'c' || n || '@example.org', 'bounce', now(), 'me', gen_random_uuid(), '[]'"
            " FROM generate_series(1, 2500) AS n"
        ).format(sql.Identifier(f"{table}_suppressions"))
    )
    asked = [f"C{n}@example.org" for n in range(2501)]
    for found in (ledger.suppressions.all(), ledger.suppressions.of(asked)):
        assert len({each.address for each in found}) == 2500


def test_who_lifted_a_suppression_and_why_is_kept(ledger: PostgresLedger, hand: psycopg.Connection, table: str) -> None:
    bounce = Suppression(address="a@example.org", reason="bounce", since=NOON, by="event Bounce")
    ledger.suppressions.add(bounce)
    ledger.suppressions.lift("a@example.org", by="ann", reason="mailbox mended")
    ledger.suppressions.add(replace(bounce, since=NOON + timedelta(days=1), reason="again"))
    statement = sql.SQL("SELECT history FROM {}").format(sql.Identifier(f"{table}_suppressions"))
    ((history,),) = hand.execute(statement).fetchall()
    assert [(line["state"], line["by"], line["note"]) for line in history] == [
        ("SUPPRESSED", "event Bounce", "bounce"),
        ("LIFTED", "ann", "mailbox mended"),
        ("SUPPRESSED", "event Bounce", "again"),
    ]
