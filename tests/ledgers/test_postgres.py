"""What is PostgreSQL's own: the table guards itself, and the ledger outlives a restart of the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from mailonce.delivery import Conclusion
from mailonce.errors import InvalidInput, LedgerUnavailable, LedgerUnusable
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.states import State, may_follow
from sandbox.postgres import EmbeddedPostgres
from tests.fakes import make_claim, make_delivery
from tests.ledgers.postgres_rows import KEY, columns, put

pytestmark = pytest.mark.postgres
SENT = Conclusion(state=State.SENT, message_id="m-1")


@pytest.fixture
def ledger(dsn: str, table: str) -> Iterator[PostgresLedger]:
    opened = PostgresLedger(dsn, table=table, connections=8)
    opened.prepare()
    yield opened
    opened.close()


@pytest.mark.parametrize("state", State)
def test_a_right_row_is_taken(ledger: PostgresLedger, hand: psycopg.Connection, table: str, state: State) -> None:
    put(hand, table, state)
    assert next(ledger.find([KEY])).state is state


@pytest.mark.parametrize(
    ("constraint", "state", "changes"),
    [
        ("key_is_a_sha256", State.RELEASED, {"key": "short"}),
        ("key_is_a_sha256", State.RELEASED, {"key": "X" * 64}),
        ("state_is_known", State.RELEASED, {"state": "sent"}),
        ("a_claim_has_an_owner_and_a_deadline", State.SENDING, {"token": None}),
        ("a_claim_has_an_owner_and_a_deadline", State.IN_DOUBT, {"settled_at": None}),
        ("settled_after_the_deadline", State.SENDING, {"settled_at": "yesterday"}),
        ("a_free_row_has_no_owner", State.RELEASED, {"token": "00000000-0000-4000-8000-000000000000"}),
        ("sent_is_proved_or_decided", State.SENT, {"sent_at": None}),
        ("sent_is_proved_or_decided", State.SENT, {"message_id": None}),
        ("a_message_id_means_sent", State.RELEASED, {"message_id": "m-1"}),
        ("a_duplicate_needs_a_first", State.RELEASED, {"duplicate_message_ids": ["m-2"]}),
        ("a_refusal_has_a_reason", State.REJECTED, {"error": None}),
        ("a_refusal_has_a_reason", State.IN_DOUBT, {"error": None}),
        ("a_decision_has_an_author_and_a_reason", State.CANCELLED, {"decided_by": None, "decision_reason": None}),
        ("a_decision_has_an_author_and_a_reason", State.SENT, {"decided_by": "support"}),
        ("only_what_is_finished_expires", State.IN_DOUBT, {"expires_at": "tomorrow"}),
        ("fate_is_known", State.SENT, {"fate": "LOST", "fate_at": "now", "event_ids": ["e"]}),
        ("a_fate_befell_a_mail", State.CANCELLED, {"fate": "BOUNCED", "fate_at": "now", "event_ids": ["e"]}),
        ("a_fate_was_told_by_an_event", State.SENT, {"fate": "BOUNCED", "fate_at": "now"}),
        ("a_fate_was_told_by_an_event", State.SENT, {"fate": "BOUNCED", "event_ids": ["e"]}),
        ("a_fate_was_told_by_an_event", State.SENT, {"fate_at": "now"}),
        ("a_fate_was_told_by_an_event", State.SENT, {"fate_detail": "550"}),
        ("a_fate_was_told_by_an_event", State.SENT, {"event_ids": ["e"]}),
    ],
)
def test_a_wrong_row_is_refused_even_by_hand(
    ledger: PostgresLedger, hand: psycopg.Connection, table: str, constraint: str, state: State, changes: dict
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        put(hand, table, state, **changes)
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize("before", State)
def test_the_guard_allows_what_the_states_allow(
    ledger: PostgresLedger, hand: psycopg.Connection, table: str, before: State
) -> None:
    for after in State:
        hand.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        put(hand, table, before)
        values = columns(after)
        statement = sql.SQL("UPDATE {} SET state = {}, {}").format(
            sql.Identifier(table),
            sql.Literal(after.value),
            sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(n), sql.Placeholder(n)) for n in values),
        )
        if after is before or may_follow(before, after):
            hand.execute(statement, values)
        else:
            with pytest.raises(psycopg.errors.CheckViolation, match=f"may not go from {before.value} to {after.value}"):
                hand.execute(statement, values)


def test_only_an_expired_row_starts_anew_past_the_guard(
    ledger: PostgresLedger, hand: psycopg.Connection, table: str
) -> None:
    put(hand, table, State.SENT, expires_at="yesterday")
    claim = make_claim(make_delivery())
    assert ledger.claim(claim).token == claim.token


def test_a_restart_in_mid_run_loses_nothing(tmp_path_factory: pytest.TempPathFactory, table: str) -> None:
    """Workers claim and conclude while the server is restarted, once in order and once by a crash."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("restarted")) as server:
        ledger = PostgresLedger(server.dsn(), table=table, connections=8)
        ledger.prepare()
        over = threading.Event()

        def work(worker: int) -> list[str]:
            done = []
            while not over.is_set():
                claim = make_claim(make_delivery(f"C-{worker}-{len(done)}"))
                assert ledger.claim(claim).token == claim.token, "a claim repeated after the restart was not recognised"
                entry = ledger.conclude(claim.delivery.key, claim.token, SENT)
                assert entry
                assert entry.state is State.SENT
                done.append(claim.delivery.key)
            return done

        with ThreadPoolExecutor(8) as pool:
            runs = [pool.submit(work, worker) for worker in range(8)]
            try:
                for mode in ("fast", "immediate"):
                    time.sleep(0.5)
                    server.restart("fast" if mode == "fast" else "immediate")
                time.sleep(0.5)
            finally:
                over.set()
            keys = [key for run in runs for key in run.result()]
        entries = list(ledger.find(keys))
        ledger.close()
    assert len(entries) == len(keys) > 50
    assert {(entry.state, entry.attempt, len(entry.history)) for entry in entries} == {(State.SENT, 1, 2)}


def test_unavailable_once_patience_is_over(tmp_path_factory: pytest.TempPathFactory) -> None:
    with EmbeddedPostgres(tmp_path_factory.mktemp("stopped")) as server:
        ledger = PostgresLedger(server.dsn(), patience=timedelta(seconds=1))
        claim = make_claim(make_delivery())
        ledger.claim(claim)
        server.stop()
        for question in (
            lambda: ledger.claim(claim),
            lambda: ledger.conclude(KEY, claim.token, SENT, patience=timedelta(seconds=0.5)),
            lambda: list(ledger.find([KEY])),
            lambda: list(ledger.of_month("usage", "2030-01")),
        ):
            started = time.monotonic()
            with pytest.raises(LedgerUnavailable):
                question()
            assert time.monotonic() - started < 20
        server.start()
        entry = ledger.conclude(claim.delivery.key, claim.token, SENT, patience=timedelta(seconds=20))
        assert entry
        assert entry.state is State.SENT
        ledger.close()


@pytest.mark.parametrize("name", ["", "a b", "x;drop table y", "a.b.c", '"quoted"', "ledger-1", "1st", "a.", "x" * 64])
def test_a_bad_table_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="ledger_table"):
        PostgresLedger("postgresql://127.0.0.1:1/none", table=name)


def test_a_table_in_a_schema_and_a_name_of_full_length(dsn: str, hand: psycopg.Connection, table: str) -> None:
    hand.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(table)))
    for name in (f"{table}.ledger", f"{table}.{'x' * 63}"):
        ledger = PostgresLedger(dsn, table=name)
        claim = make_claim(make_delivery())
        assert ledger.claim(claim).token == claim.token
        assert [entry.key for entry in ledger.of_month("usage", "2030-01")] == [KEY]
        ledger.close()


def test_a_missing_permission_is_said(ledger: PostgresLedger, hand: psycopg.Connection, dsn: str, table: str) -> None:
    role = f"{table}_reader"
    hand.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role)))
    conninfo = psycopg.conninfo.make_conninfo(dsn, user=role, password="x")
    with pytest.raises(LedgerUnusable, match="permission denied"):
        PostgresLedger(conninfo, table=table).claim(make_claim(make_delivery()))


def test_a_month_longer_than_a_page(ledger: PostgresLedger, hand: psycopg.Connection, table: str) -> None:
    """Two statements for one recipient may stand on either side of a page's end."""
    hand.execute(
        sql.SQL(
            "INSERT INTO {} (key, campaign, period, recipient_id, edition, email, fingerprint, state, attempt, updated_at)"
            " SELECT lpad(to_hex(n), 64, '0'), 'usage', '2030-01', 'C-' || (n % 700), n, 'e', 'f', 'RELEASED', 1, now()"
            " FROM generate_series(1, 2500) AS n"
        ).format(sql.Identifier(table))
    )
    found = [(entry.identity.recipient_id, entry.key) for entry in ledger.of_month("usage", "2030-01")]
    assert len(set(found)) == 2500
    assert found == sorted(found)


def test_a_month_in_progress_holds_no_connection(dsn: str, table: str) -> None:
    ledger = PostgresLedger(dsn, table=table, connections=1, patience=timedelta(seconds=1))
    for number in range(3):
        ledger.claim(make_claim(make_delivery(f"C-{number}")))
    for entry in ledger.of_month("usage", "2030-01"):
        assert entry.token
        assert ledger.conclude(entry.key, entry.token, SENT)
    ledger.close()


def test_a_wrong_password_is_named(dsn: str, table: str) -> None:
    wrong = psycopg.conninfo.make_conninfo(dsn, password="wrong")
    ledger = PostgresLedger(wrong, table=table, patience=timedelta(seconds=1))
    with pytest.raises(LedgerUnavailable, match="password authentication failed"):
        ledger.prepare()
    ledger.close()
