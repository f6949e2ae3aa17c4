"""What an administrator types at PostgreSQL's prompt: rows, and roles."""

from __future__ import annotations

import psycopg
from psycopg import sql

from mailonce.states import State
from tests.fakes import make_delivery

KEY = make_delivery().key

ROWS = {
    State.SENDING: {"token": True},
    State.IN_DOUBT: {"token": True, "error": "no answer"},
    State.SENT: {"message_id": "m-1", "sent_at": "now"},
    State.RELEASED: {},
    State.REJECTED: {"error": "no such address"},
    State.CANCELLED: {"decided_by": "support", "decision_reason": "asked for"},
}
"""For each state, what a row must hold to be allowed in it."""


def put(hand: psycopg.Connection, table: str, shape: State, **changes: object) -> None:
    values = {
        "key": KEY, "campaign": "usage", "period": "2030-01", "recipient_id": "C-1", "edition": "original",
        "email": "c@example.org", "fingerprint": "f", "attempt": 1, "claimed_at": "now", "deadline_at": "tomorrow",
        "settled_at": "tomorrow", "updated_at": "now", "state": shape.value, **columns(shape), **changes,
    }  # fmt: skip
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
    )
    hand.execute(statement, values)


def columns(state: State) -> dict[str, object]:
    nothing: dict[str, object] = dict.fromkeys(
        ("token", "error", "message_id", "sent_at", "decided_by", "decision_reason")
    )
    values = nothing | ROWS[state]
    return values | {"token": "00000000-0000-4000-8000-000000000000" if values["token"] else None}


def make_role(hand: psycopg.Connection, dsn: str, name: str) -> str:
    """Make a role that may do nothing; return the address under which it connects."""
    hand.execute("REVOKE CREATE ON SCHEMA public FROM public")
    hand.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(sql.Identifier(name)))
    return psycopg.conninfo.make_conninfo(dsn, user=name, password="secret")


def grant(hand: psycopg.Connection, privileges: str, table: str, role: str) -> None:
    statement = sql.SQL("GRANT {} ON {} TO {}")
    hand.execute(statement.format(sql.SQL(privileges), sql.Identifier(table), sql.Identifier(role)))


def grant_all_that_is_needed(hand: psycopg.Connection, table: str, role: str) -> None:
    for suffix in ("", "_suppressions", "_epoch", "_rates"):
        grant(hand, "SELECT, INSERT, UPDATE", f"{table}{suffix}", role)
    for suffix in ("_versions", "_purges"):
        grant(hand, "SELECT", f"{table}{suffix}", role)
