"""The tables of the PostgreSQL ledger: which migrations there are, and which of them a database has."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from importlib.resources import files

import psycopg
from psycopg.rows import DictRow

from mailonce.errors import LedgerUnusable
from mailonce.ledgers.postgres.statements import Table

log = logging.getLogger(__name__)
Connection = psycopg.Connection[DictRow]

_COMMENT = re.compile(r"--.*")
_TABLE = re.compile(r"(?:CREATE|ALTER) TABLE \{(\w+)\}")
_CONSTRAINT = re.compile(r"CONSTRAINT (\w+)")


@lru_cache(maxsize=1)
def migrations() -> Mapping[int, str]:
    """Return the migrations by version, in order. Each runs once, in one transaction."""
    folder = files(__package__) / "migrations"
    found = {
        int(file.name[:4]): file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")
    }
    return dict(sorted(found.items()))


def constraints(versions: Collection[int]) -> Mapping[str, frozenset[str]]:
    """Return the named constraints that these migrations give each of
    :data:`~mailonce.ledgers.postgres.statements.TABLES`.
    """
    found: dict[str, frozenset[str]] = {}
    for version, migration in migrations().items():
        for statement in _COMMENT.sub("", migration).split(";") if version in versions else ():
            if table := _TABLE.search(statement):
                found[table[1]] = found.get(table[1], frozenset()) | frozenset(_CONSTRAINT.findall(statement))
    return found


def applied(connection: Connection, table: Table) -> set[int]:
    """Return the migrations that the database has; none, if there is no ledger yet."""
    exists = connection.execute("SELECT to_regclass(%s)::text AS name", [table.quoted("versions")])
    if (row := exists.fetchone()) is None or row["name"] is None:
        return set()
    return {row["version"] for row in connection.execute(table.into("SELECT version FROM {versions}"))}


def migrate(connection: Connection, table: Table) -> bool:
    """Make the tables, or bring them up to date; safe to run by many at once.

    :return: whether they were made just now, so that the ledger knows of no earlier mail.
    :raises mailonce.errors.LedgerUnusable: they are of a newer version than this.
    """
    # Looked at first: a role that may only read and write rows must not be asked to create what exists.
    if applied(connection, table) == set(migrations()):
        return False
    with connection.transaction():
        # One at a time; whoever waited finds the work done.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"mailonce {table.name}"])
        # Made before it is looked at: without a lock on the table PostgreSQL may answer from before we waited.
        connection.execute(table.into(
            "CREATE TABLE IF NOT EXISTS {versions} "
            "(version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        ))  # fmt: skip
        done = applied(connection, table)
        if unknown := done - set(migrations()):
            raise LedgerUnusable(
                f"table {table.name} is of version {max(unknown)}, newer than this mailonce: upgrade mailonce"
            )
        for version, statement in migrations().items():
            if version not in done:
                connection.execute(table.into(statement))
                connection.execute(table.into("INSERT INTO {versions} (version) VALUES (%s)"), [version])
                log.info("ledger table %s: migration %04d applied", table.name, version)
        return not done
