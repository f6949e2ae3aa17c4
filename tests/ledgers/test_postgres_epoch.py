"""What PostgreSQL's epoch notices: a copy and a dump brought back; and what it takes for nothing: a restart, a new name."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from mailonce.epoch import Epoch
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.states import State
from sandbox.postgres import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, EmbeddedPostgres
from tests.ledgers.postgres_rows import grant_all_that_is_needed, make_role
from tests.ledgers.tools import NOON, drive

pytestmark = pytest.mark.postgres
TABLE = "mailonce_ledger"
PROGRAMS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> str:
    """A database of the test's own."""
    name = f"epoch_{uuid.uuid4().hex[:12]}"
    postgres.create_database(name)
    return name


@pytest.fixture
def administrator(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        yield connection


def epoch_of(dsn: str, table: str = TABLE) -> Epoch:
    with closing(PostgresLedger(dsn, table=table)) as ledger:
        return replace(ledger.epoch.read(), read_at=NOON)


def run(dsn: str, statement: str, **names: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        quoted = {name: sql.Identifier(value) for name, value in names.items()}
        connection.execute(sql.SQL(statement).format(**quoted))  # type: ignore[arg-type]


def dump(dsn: str, *options: str) -> str:
    command = [PROGRAMS / "pg_dump", f"--dbname={dsn}", *options]
    return subprocess.run(command, env=clean(), capture_output=True, text=True, check=True).stdout


def restore(dsn: str, text: str) -> None:
    command = [PROGRAMS / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", dsn]
    subprocess.run(command, env=clean(), input=text, capture_output=True, text=True, check=True)


def clean() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C"}


def test_a_database_made_from_it_by_template_is_another_store(
    postgres: EmbeddedPostgres, administrator: psycopg.Connection, database: str
) -> None:
    before = epoch_of(postgres.dsn(database))
    clone = f"{database}_clone"
    run(postgres.dsn(), "ALTER DATABASE {database} ALLOW_CONNECTIONS false", database=database)
    administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])
    run(postgres.dsn(), "CREATE DATABASE {clone} TEMPLATE {database}", clone=clone, database=database)
    run(postgres.dsn(), "ALTER DATABASE {database} ALLOW_CONNECTIONS true", database=database)
    copied = epoch_of(postgres.dsn(clone))
    assert (copied.id, copied.home, copied.moved) == (before.id, before.home, True)
    assert epoch_of(postgres.dsn(database)) == before
    assert not before.moved


def test_a_dump_restored_elsewhere_or_over_itself_is_another_store(postgres: EmbeddedPostgres, database: str) -> None:
    dsn = postgres.dsn(database)
    before = epoch_of(dsn)
    postgres.create_database(f"{database}_other")
    restore(postgres.dsn(f"{database}_other"), dump(dsn))
    copied = epoch_of(postgres.dsn(f"{database}_other"))
    assert (copied.id, copied.home, copied.moved) == (before.id, before.home, True)
    assert not epoch_of(dsn).moved
    restore(dsn, dump(dsn, "--clean"))
    brought_back = epoch_of(dsn)
    assert (brought_back.id, brought_back.home, brought_back.moved) == (before.id, before.home, True)


def test_deliveries_that_were_brought_back_alone_are_another_store(postgres: EmbeddedPostgres, database: str) -> None:
    dsn = postgres.dsn(database)
    before = epoch_of(dsn)
    text = dump(dsn, f"--table={TABLE}")
    run(dsn, "DROP TABLE {table}", table=TABLE)
    restore(dsn, text)
    assert (epoch_of(dsn).id, epoch_of(dsn).moved) == (before.id, True)


def test_another_cluster_is_another_store(
    postgres: EmbeddedPostgres, database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = epoch_of(postgres.dsn(database))
    text = dump(postgres.dsn(database))
    with EmbeddedPostgres(tmp_path_factory.mktemp("another")) as other:
        restore(other.dsn(), text)
        copied = epoch_of(other.dsn())
    assert (copied.id, copied.home, copied.moved) == (before.id, before.home, True)
    assert copied.here.split(",")[0] != copied.home.split(",")[0], "the same cluster"


def test_a_restart_is_no_move(tmp_path_factory: pytest.TempPathFactory) -> None:
    with EmbeddedPostgres(tmp_path_factory.mktemp("restarted")) as server:
        before = epoch_of(server.dsn())
        assert not before.moved
        for mode in ("fast", "immediate"):
            server.restart("fast" if mode == "fast" else "immediate")
            assert epoch_of(server.dsn()) == before


def test_another_role_name_or_place_on_the_disk_is_no_move(postgres: EmbeddedPostgres, database: str) -> None:
    dsn = postgres.dsn(database)
    before = epoch_of(dsn)
    run(dsn, "ALTER TABLE {table} RENAME TO renamed", table=TABLE)
    for suffix in ("suppressions", "epoch", "rates", "purges", "versions"):
        run(dsn, "ALTER TABLE {table} RENAME TO {to}", table=f"{TABLE}_{suffix}", to=f"renamed_{suffix}")
    run(dsn, "VACUUM FULL {table}", table="renamed")
    assert epoch_of(dsn, "renamed") == before
    role = f"owner_{database}"
    with psycopg.connect(dsn, autocommit=True) as hand:
        conninfo = make_role(hand, dsn, role)
        grant_all_that_is_needed(hand, "renamed", role)
    assert epoch_of(conninfo, "renamed") == before


def test_where_the_cluster_is_not_told_the_rest_must_do(postgres: EmbeddedPostgres, database: str) -> None:
    """One role may ask for the system identifier, and another may not: that is no difference."""
    dsn = postgres.dsn(database)
    before = epoch_of(dsn)
    assert "unknown" not in before.home
    with psycopg.connect(dsn, autocommit=True) as hand:
        hand.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public")
        conninfo = make_role(hand, dsn, f"sender_{database}")
        grant_all_that_is_needed(hand, TABLE, f"sender_{database}")
    untold = epoch_of(conninfo)
    assert (untold.id, untold.moved, untold.here.split(",")[0]) == (before.id, False, "PostgreSQL unknown system")
    restore(dsn, dump(dsn, "--clean"))
    with psycopg.connect(dsn, autocommit=True) as hand:
        grant_all_that_is_needed(hand, TABLE, f"sender_{database}")
    assert epoch_of(conninfo).moved
    with closing(PostgresLedger(conninfo)) as ledger:
        adopted = ledger.epoch.adopt(by="ann", reason="restored")
    assert adopted.home == adopted.here
    assert not epoch_of(dsn).moved, "who may ask again finds no difference"


def test_an_adopted_copy_is_at_home_and_remembers_where_it_came_from(postgres: EmbeddedPostgres, database: str) -> None:
    dsn = postgres.dsn(database)
    with closing(PostgresLedger(dsn)) as ledger:
        drive(ledger, State.SENT, "C-1")
        ledger.epoch.advance()
    restore(dsn, dump(dsn, "--clean"))
    before = epoch_of(dsn)
    with closing(PostgresLedger(dsn)) as ledger:
        after = ledger.epoch.adopt(by="ann", reason="brought back after a fire")
    assert before.moved
    assert (after.moved, after.here, after.runs) == (False, before.here, 1)
    with psycopg.connect(dsn) as hand:
        ((earlier,),) = hand.execute("SELECT earlier FROM mailonce_ledger_epoch").fetchall()
    (line,) = earlier
    assert (line["id"], line["runs"], line["by"], line["reason"]) == (before.id, 1, "ann", "brought back after a fire")
    assert f"table {line['home_deliveries']}" in before.home
