"""What leaves the PostgreSQL ledger, seen in its tables, and who may do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg import sql

from mailonce.delivery import Conclusion, Decision
from mailonce.errors import LedgerUnusable
from mailonce.events import EventKind
from mailonce.ledgers.base import Ledger
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.privacy.person import erase_person, find_person
from mailonce.privacy.pseudonyms import Pseudonyms
from mailonce.privacy.purges import Purge
from mailonce.states import State
from mailonce.suppression import Suppression
from tests.fakes import make_claim, make_delivery
from tests.ledgers.postgres_rows import grant, grant_all_that_is_needed, make_role
from tests.ledgers.tools import NOON, drive, make_event

pytestmark = pytest.mark.postgres
ADDRESS = "c-1@example.org"
KEYS = Pseudonyms(b"0123456789abcdef0123456789abcdef")
PURGE = Purge(campaign="usage", period="2030-01", edition="original", by="ann", reason="retention")


@pytest.fixture
def ledger(dsn: str, table: str) -> Iterator[PostgresLedger]:
    with closing(PostgresLedger(dsn, table=table)) as made:
        made.prepare()
        yield made


def mail(ledger: Ledger) -> None:
    """A mail that was refused and cancelled, one that bounced, and a suppression; each with an address in its words."""
    refused = make_claim(make_delivery("C-1", email=ADDRESS))
    ledger.claim(refused)
    ledger.conclude(
        refused.delivery.key, refused.token, Conclusion(state=State.REJECTED, error=f"no mailbox {ADDRESS}")
    )
    cancelled = Decision(state=State.CANCELLED, by="support", reason=f"{ADDRESS} asked us to")
    ledger.decide(refused.delivery.key, cancelled)
    bounced = make_claim(make_delivery("C-1", email=ADDRESS.upper(), period="2030-02"))
    ledger.claim(bounced)
    ledger.conclude(bounced.delivery.key, bounced.token, Conclusion(state=State.SENT, message_id="m-1"))
    ledger.observe(make_event(bounced, EventKind.BOUNCE, detail=f"550 <{ADDRESS}> unknown"))
    ledger.suppressions.add(Suppression(address=ADDRESS, reason=f"550 {ADDRESS}", since=NOON, by="event Bounce"))


def everything(hand: psycopg.Connection, table: str) -> str:
    parts = [sql.Identifier(f"{table}{suffix}") for suffix in ("", "_suppressions", "_purges", "_epoch")]
    rows = [hand.execute(sql.SQL("SELECT to_jsonb(t)::text FROM {} AS t").format(part)).fetchall() for part in parts]
    return str(rows).lower()


def test_no_table_holds_the_address_any_more(ledger: PostgresLedger, hand: psycopg.Connection, table: str) -> None:
    mail(ledger)
    assert everything(hand, table).count(ADDRESS) > 5
    erase_person(ledger, find_person(ledger, ADDRESS, KEYS), KEYS, by="ann", reason=f"request of {ADDRESS}")
    assert ADDRESS not in everything(hand, table)
    changed = sql.SQL("SELECT bool_and(updated_at < (history -> -1 ->> 'at')::timestamptz) FROM {}")
    assert hand.execute(changed.format(sql.Identifier(table))).fetchone() == (True,), "the delivery did not change"


def test_who_opened_a_month_again_is_kept(ledger: PostgresLedger, hand: psycopg.Connection, table: str) -> None:
    ledger.privacy.mark(PURGE)
    ledger.privacy.reopen("usage", "2030-01", "original", by="bob", reason="restored")
    ledger.privacy.mark(PURGE)
    ((history,),) = hand.execute(sql.SQL("SELECT history FROM {}").format(sql.Identifier(f"{table}_purges"))).fetchall()
    assert [(line["state"], line["by"]) for line in history] == [
        ("PURGED", "ann"),
        ("REOPENED", "bob"),
        ("PURGED", "ann"),
    ]


def test_who_sends_may_delete_nothing_and_is_told_of_a_purge(
    ledger: PostgresLedger, hand: psycopg.Connection, dsn: str, table: str
) -> None:
    drive(ledger, State.SENT, "C-1")
    conninfo = make_role(hand, dsn, f"sender_{table}")
    grant_all_that_is_needed(hand, table, f"sender_{table}")
    ledger.privacy.mark(PURGE)
    with closing(PostgresLedger(conninfo, table=table)) as sender:
        assert sender.privacy.purged("usage", "2030-01", "original")
        for forbidden in (
            lambda: sender.privacy.purge("usage", "2030-01"),
            sender.privacy.purge_expired,
            lambda: sender.privacy.reopen("usage", "2030-01", "original", by="me", reason="r"),
        ):
            with pytest.raises(LedgerUnusable, match="permission denied"):
                forbidden()


def test_who_purges_and_erases_needs_what_the_document_says(
    ledger: PostgresLedger, hand: psycopg.Connection, dsn: str, table: str
) -> None:
    mail(ledger)
    role = f"purger_{table}"
    conninfo = make_role(hand, dsn, role)
    for suffix in ("", "_suppressions"):
        grant(hand, "SELECT, INSERT, UPDATE, DELETE", f"{table}{suffix}", role)
    for suffix in ("_epoch", "_purges"):
        grant(hand, "SELECT, INSERT, UPDATE", f"{table}{suffix}", role)
    grant(hand, "SELECT", f"{table}_versions", role)
    with closing(PostgresLedger(conninfo, table=table)) as purger:
        erase_person(purger, find_person(purger, ADDRESS, KEYS), KEYS, by="ann", reason="asked to")
        purger.privacy.mark(PURGE)
        assert purger.privacy.purge("usage", "2030-01") == 1
        assert purger.privacy.purge_expired() == 0
        assert purger.privacy.reopen("usage", "2030-01", "original", by="ann", reason="r")
    assert ADDRESS not in everything(hand, table)


def test_a_month_of_many_goes_in_parts(ledger: PostgresLedger, hand: psycopg.Connection, table: str) -> None:
    hand.execute(
        sql.SQL(
            "INSERT INTO {} (key, campaign, period, recipient_id, edition, email, fingerprint, state, attempt, message_id,"
            " sent_at, updated_at, retention, expires_at)"
            " SELECT encode(sha256(n::text::bytea), 'hex'), 'usage', '2030-01', 'C-' || n, 'original', 'a@example.org',"
            " '', 'SENT', 1, 'm', now(), now(), NULL, CASE WHEN n % 4 = 0 THEN now() - interval '1 day' END"
            " FROM generate_series(1, 12000) AS n"
        ).format(sql.Identifier(table))
    )
    assert ledger.privacy.purge_expired() == 3000
    parts = []
    while part := ledger.privacy.purge("usage", "2030-01"):
        parts.append(part)
    assert parts == [1000] * 9
