"""Each trouble that PostgreSQL can bring is found, and named with its remedy; and looking changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from mailonce.findings import Finding, Severity
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.ledgers.postgres.examination import of_server
from mailonce.ledgers.postgres.schema import constraints, migrations
from mailonce.ledgers.postgres.statements import TABLES, Table
from sandbox.postgres import EmbeddedPostgres
from tests.ledgers.postgres_rows import grant, grant_all_that_is_needed, make_role

pytestmark = pytest.mark.postgres


@dataclass
class Place:
    """A table of the test's own, and who may do what with it."""

    hand: psycopg.Connection
    dsn: str
    table: str

    def run(self, statement: str) -> None:
        """Do something to the tables: ``{table}`` and its kin stand for their names, ``{sender}`` for a role."""
        names = {each: sql.Identifier(self.table + suffix) for each, suffix in TABLES.items()}
        self.hand.execute(sql.SQL(statement).format(sender=sql.Identifier(self.sender), **names))  # type: ignore[arg-type]

    @property
    def sender(self) -> str:
        return f"sender_{self.table}"

    def findings(self, conninfo: str = "") -> list[Finding]:
        with closing(PostgresLedger(conninfo or self.dsn, table=self.table)) as ledger:
            return list(ledger.examine())

    def trouble(self, conninfo: str = "") -> Finding:
        """The one finding."""
        (finding,) = self.findings(conninfo)
        assert finding.remedy
        return finding


@pytest.fixture
def place(hand: psycopg.Connection, dsn: str, table: str) -> Place:
    with closing(PostgresLedger(dsn, table=table)) as ledger:
        ledger.prepare()
    return Place(hand, dsn, table)


@pytest.fixture
def sender(place: Place) -> str:
    """The address of a role that may do no more than it must."""
    conninfo = make_role(place.hand, place.dsn, place.sender)
    grant_all_that_is_needed(place.hand, place.table, place.sender)
    return conninfo


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, with a ledger."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("examined")) as started:
        with closing(PostgresLedger(started.dsn())) as ledger:
            ledger.prepare()
        yield started


def test_all_is_well(place: Place, sender: str) -> None:
    for conninfo in (place.dsn, sender):
        (finding,) = place.findings(conninfo)
        assert (finding.severity, finding.check, finding.remedy) == (Severity.OK, "ledger", "")
        assert place.table in finding.found


def test_no_table_yet(hand: psycopg.Connection, dsn: str, table: str) -> None:
    place = Place(hand, dsn, table)
    (finding,) = place.findings()
    assert (finding.severity, finding.check) == (Severity.OK, "table")
    assert "made on first use" in finding.found
    assert hand.execute("SELECT to_regclass(%s)", [table]).fetchone() == (None,)
    finding = place.trouble(make_role(hand, dsn, place.sender))
    assert (finding.severity, finding.check) == (Severity.ERROR, "table")
    assert "CREATE on the schema public" in finding.remedy


def test_no_schema(hand: psycopg.Connection, dsn: str, table: str) -> None:
    place = Place(hand, dsn, f"nowhere_{table}.ledger")
    assert "does not exist" in place.trouble().found
    hand.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(f"nowhere_{table}")))
    (finding,) = place.findings()
    assert finding.severity is Severity.OK
    conninfo = make_role(hand, dsn, f"stranger_{table}")
    finding = place.trouble(conninfo)
    assert (finding.severity, finding.check) == (Severity.ERROR, "schema")


@pytest.mark.parametrize(
    ("injury", "check", "words"),
    [
        ("ALTER TABLE {table} SET UNLOGGED", "durability", "unlogged"),
        ("ALTER TABLE {suppressions} SET UNLOGGED", "durability", '_suppressions" is unlogged'),
        ("ALTER TABLE {epoch} SET UNLOGGED", "durability", '_epoch" is unlogged'),
        ("ALTER TABLE {versions} SET UNLOGGED", "durability", '_versions" is unlogged'),
        ("ALTER TABLE {table} DISABLE TRIGGER guard", "guard", "switched off"),
        ("ALTER TABLE {table} DISABLE TRIGGER ALL", "guard", "switched off"),
        ("ALTER TABLE {table} ENABLE REPLICA TRIGGER guard", "guard", "switched off"),
        ("DROP TRIGGER guard ON {table}", "guard", "gone"),
        ("ALTER TABLE {table} DROP CONSTRAINT state_is_known", "constraints", "lacks state_is_known"),
        ("ALTER TABLE {table} DROP CONSTRAINT a_fate_befell_a_mail", "constraints", "lacks a_fate_befell_a_mail"),
        ("ALTER TABLE {epoch} DROP CONSTRAINT there_is_one", "constraints", "lacks there_is_one"),
        ("ALTER TABLE {table} DROP COLUMN key CASCADE", "constraints", "lacks key_is_a_sha256"),
        ("DROP TABLE {epoch}", "table", '_epoch" is gone'),
        ("DROP TABLE {suppressions}", "table", '_suppressions" is gone'),
        ("DROP TABLE {table}", "table", "is gone"),
        ("DROP TABLE {versions}", "table", '_versions" is gone'),
    ],
)
def test_what_is_wrong_with_a_table_is_said(place: Place, injury: str, check: str, words: str) -> None:
    place.run(injury)
    findings = [finding for finding in place.findings() if words in finding.found]
    assert [(finding.severity, finding.check) for finding in findings] == [(Severity.ERROR, check)]
    assert findings[0].remedy


def test_a_missing_primary_key_is_found(place: Place) -> None:
    place.hand.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
        sql.Identifier(place.table), sql.Identifier(f"{place.table}_pkey")
    ))  # fmt: skip
    assert "no primary key" in place.trouble().found


@pytest.mark.parametrize("how", ["NOT VALID", "NOT ENFORCED"])
def test_a_constraint_that_does_not_hold_for_every_row_is_found(place: Place, how: str) -> None:
    place.run("ALTER TABLE {table} DROP CONSTRAINT state_is_known")
    place.run(f"ALTER TABLE {{table}} ADD CONSTRAINT state_is_known CHECK (state <> '') {how}")
    finding = place.trouble()
    assert (finding.severity, finding.check) == (Severity.ERROR, "constraints")
    assert "state_is_known is not valid" in finding.found
    assert "VALIDATE CONSTRAINT state_is_known" in finding.remedy


@pytest.mark.parametrize("each", ["table", "suppressions", "epoch", "rates"])
def test_a_missing_privilege_is_said(place: Place, sender: str, each: str) -> None:
    place.run(f"REVOKE INSERT, UPDATE ON {{{each}}} FROM {{sender}}")
    finding = place.trouble(sender)
    assert (finding.severity, finding.check) == (Severity.ERROR, "privileges")
    assert "lacks INSERT, UPDATE on" in finding.found
    assert place.table + TABLES[each] in finding.remedy


def test_versions_that_may_not_be_read(place: Place, sender: str) -> None:
    place.run("REVOKE SELECT ON {versions} FROM {sender}")
    assert "lacks SELECT on" in place.trouble(sender).found


@pytest.mark.parametrize(
    ("setting", "severity", "check"),
    [
        ("synchronous_commit = off", Severity.ERROR, "durability"),
        ("session_replication_role = replica", Severity.ERROR, "guard"),
        ("default_transaction_read_only = on", Severity.ERROR, "server"),
    ],
)
def test_a_dangerous_setting_of_the_role_is_found(
    place: Place, sender: str, setting: str, severity: Severity, check: str
) -> None:
    place.run(f"ALTER ROLE {{sender}} SET {setting}")
    finding = place.trouble(sender)
    assert (finding.severity, finding.check) == (severity, check)
    assert setting.split(maxsplit=1)[0] in finding.found


def test_a_dangerous_setting_of_the_server_is_found(server: EmbeddedPostgres) -> None:
    place = Place(psycopg.connect(server.dsn(), autocommit=True), server.dsn(), "mailonce_ledger")
    for setting, severity in (("fsync", Severity.ERROR), ("full_page_writes", Severity.WARNING)):
        for value in ("off", "on"):
            place.run(f"ALTER SYSTEM SET {setting} = {value}")
            server.restart()
            place.hand = psycopg.connect(server.dsn(), autocommit=True)
            findings = [(finding.severity, finding.check) for finding in place.findings()]
            assert findings == [(severity, "durability") if value == "off" else (Severity.OK, "ledger")]
    place.hand.close()


def test_a_standby_is_found(server: EmbeddedPostgres) -> None:
    server.stop()
    data = (server.directory / "data").resolve()
    signal = data / "standby.signal"
    signal.touch()
    shutil.chown(signal, (data / "PG_VERSION").owner(), (data / "PG_VERSION").group())
    server.start()
    with closing(PostgresLedger(server.dsn())) as ledger:
        (finding,) = ledger.examine()
        assert (finding.severity, finding.check) == (Severity.ERROR, "server")
        assert "standby" in finding.found


def test_a_server_of_long_ago_is_found() -> None:
    modern = {
        "version_number": 130000, "version": "13.0", "in_recovery": False, "transaction_read_only": "off",
        "synchronous_commit": "on", "fsync": "on", "full_page_writes": "on", "session_replication_role": "origin",
        "role": "sender",
    }  # fmt: skip
    assert list(of_server(modern)) == []
    (finding,) = of_server({**modern, "version_number": 120019, "version": "12.19"})
    assert (finding.severity, finding.found) == (Severity.ERROR, "PostgreSQL 12.19 is older than 13.")


def test_tables_of_another_version(place: Place, sender: str) -> None:
    place.run("INSERT INTO {versions} (version) VALUES (9999)")
    finding = place.trouble()
    assert (finding.severity, finding.check, finding.remedy) == (Severity.ERROR, "version", "Upgrade mailonce.")


def test_tables_that_are_to_be_migrated(hand: psycopg.Connection, dsn: str, table: str) -> None:
    place, names = Place(hand, dsn, table), Table(table)
    hand.execute(names.into("CREATE TABLE {versions} (version integer PRIMARY KEY, applied_at timestamptz)"))
    hand.execute(names.into(migrations()[1]))
    hand.execute(names.into("INSERT INTO {versions} (version) VALUES (1)"))
    finding = place.trouble()
    assert (finding.severity, finding.check) == (Severity.WARNING, "version")
    assert "2, 3, 4" in finding.found
    conninfo = make_role(hand, dsn, place.sender)
    grant(hand, "SELECT, INSERT, UPDATE", table, place.sender)
    grant(hand, "SELECT", f"{table}_versions", place.sender)
    finding = place.trouble(conninfo)
    assert (finding.severity, finding.check) == (Severity.ERROR, "version")
    assert hand.execute("SELECT to_regclass(%s)", [f"{table}_epoch"]).fetchone() == (None,)


def test_the_constraints_that_are_looked_for_are_those_that_the_migrations_make(place: Place) -> None:
    for each, expected in constraints(migrations()).items():
        found = place.hand.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'",
            [place.table + TABLES[each]],
        )
        assert {name for (name,) in found} == expected
