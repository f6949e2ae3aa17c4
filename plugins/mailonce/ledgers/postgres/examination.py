"""What in a PostgreSQL server, or in the ledger's tables, would break the promise."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mailonce.findings import Finding, Severity
from mailonce.ledgers.postgres.schema import Connection, applied, constraints, migrations
from mailonce.ledgers.postgres.statements import TABLES, Table, statements

Row = Mapping[str, Any]

OLDEST = 13
SELECT, WRITE = ("SELECT",), ("SELECT", "INSERT", "UPDATE")
READ = ("versions", "purges")
"""What a run only reads. Who purges and erases has more privileges, and a connection of their own."""

_MEND = "Stop the runs, compare the table with this package's migrations, and mend it."


def examine(connection: Connection, table: Table) -> Iterator[Finding]:
    """Yield what is wrong; if nothing is, the one finding that says so. Changes nothing.

    :raises psycopg.Error: the database cannot be asked.
    """
    server = _ask(connection, table, "server")[0]
    findings = [*of_server(server), *_of_tables(connection, table)]
    fine = f"PostgreSQL {server['version']}, {table.name}: guarded, and safe from a crash."
    yield from findings or [Finding(severity=Severity.OK, check="ledger", found=fine)]


def of_server(server: Row) -> Iterator[Finding]:
    """Yield what is wrong with a server, given the row that the statement ``server`` returns. Pure."""
    if server["version_number"] < OLDEST * 10000:
        found = f"PostgreSQL {server['version']} is older than {OLDEST}."
        yield _error("server", found, "Upgrade it, or keep the ledger on another one.")
    if server["in_recovery"]:
        found = "The server is a standby: it takes no writes, and what it tells may be old."
        yield _error("server", found, "Let the connection name the primary, or set target_session_attrs to read-write.")
    elif server["transaction_read_only"] == "on":
        found = "Transactions are read-only (default_transaction_read_only)."
        yield _error("server", found, f"Switch that off for the role {server['role']} in this database.")
    if server["synchronous_commit"] == "off":
        found = "synchronous_commit is off: a crash of the server forgets claims that were answered."
        yield _error("durability", found, f"Set it to on for the role {server['role']} in this database.")
    if server["fsync"] == "off":
        found = "fsync is off: a crash of the machine forgets claims that were answered, and may destroy the tables."
        yield _error("durability", found, "Switch it on in the server's configuration.")
    if server["full_page_writes"] == "off":
        found = "full_page_writes is off: a crash of the machine may leave damaged pages."
        remedy = "Switch it on in the server's configuration, unless the storage never writes a page in part."
        yield Finding(severity=Severity.WARNING, check="durability", found=found, remedy=remedy)
    if server["session_replication_role"] == "replica":
        found = "session_replication_role is replica: no trigger guards the tables."
        yield _error("guard", found, f"Set it to origin for the role {server['role']} in this database.")


def _of_tables(connection: Connection, table: Table) -> Iterator[Finding]:
    schemas = _ask(connection, table, "schema", schema=table.schema)
    if not schemas or not schemas[0]["may_use"]:
        found = f"The schema {table.schema or 'of the search path'} does not exist, or the role may not use it."
        yield _error("schema", found, "Create it, or grant USAGE on it.")
        return
    schema = schemas[0]
    rows = {
        row["name"]: row for row in _ask(connection, table, "tables", names=[table.quoted(each) for each in TABLES])
    }
    tables = {each: rows[table.quoted(each)] for each in TABLES if table.quoted(each) in rows}
    if tables:
        for each, row in tables.items():
            yield from _of_table(row, SELECT if each in READ else WRITE)
        done = set(migrations())
        if "versions" in tables and "SELECT" not in tables["versions"]["not_permitted"]:
            done = applied(connection, table)
            may_migrate = schema["may_create"] and all(row["owned"] for row in tables.values())
            yield from _of_version(done, table, may_migrate=may_migrate)
        yield from _of_structure(connection, table, tables, done)
    elif schema["may_create"]:
        found = f"There is no table {table.name} yet: it is made on first use, and then knows of no earlier mail."
        yield Finding(severity=Severity.OK, check="table", found=found)
    else:
        found = f"There is no table {table.name}, and the role may not make it."
        yield _error("table", found, f"Grant CREATE on the schema {schema['name']}, or let its owner make it.")


def _of_table(row: Row, needed: Collection[str]) -> Iterator[Finding]:
    name = row["name"]
    if missing := ", ".join(sorted(set(needed).intersection(row["not_permitted"]))):
        yield _error("privileges", f"The role lacks {missing} on {name}.", f"GRANT {missing} ON {name} to it.")
    if not row["survives_a_crash"]:
        found = f"The table {name} is unlogged: a crash of the server empties it."
        yield _error("durability", found, f"ALTER TABLE {name} SET LOGGED.")


def _of_structure(
    connection: Connection, table: Table, tables: Mapping[str, Row], done: Collection[int]
) -> Iterator[Finding]:
    for each, names in {"versions": (), **constraints(done)}.items():
        name = table.quoted(each)
        if each not in tables:
            yield _error("table", f"The table {name} is gone.", "Bring it back from a backup.")
            continue
        oid = tables[each]["oid"]
        yield from _of_constraints(name, _ask(connection, table, "constraints", oid=oid), names)
        if each == "table":
            yield from _of_guard(name, _ask(connection, table, "guard", oid=oid))


def _of_version(done: Collection[int], table: Table, *, may_migrate: bool) -> Iterator[Finding]:
    if unknown := set(done) - set(migrations()):
        found = f"The tables are of version {max(unknown)}, newer than this mailonce."
        yield _error("version", found, "Upgrade mailonce.")
    elif to_do := sorted(set(migrations()) - set(done)):
        found = f"The tables lack the migrations {', '.join(map(str, to_do))}."
        if may_migrate:
            remedy = "The next run brings them up to date: let those of older versions end first."
            yield Finding(severity=Severity.WARNING, check="version", found=found, remedy=remedy)
        else:
            remedy = f"Let the owner of {table.name} do it, with CREATE on its schema: the connection's role may not."
            yield _error("version", found, remedy)


def _of_constraints(name: str, found: Sequence[Row], expected: Collection[str]) -> Iterator[Finding]:
    holding = {row["name"] for row in found if row["holds"]}
    if missing := sorted(set(expected) - {row["name"] for row in found}):
        yield _error("constraints", f"The table {name} lacks {', '.join(missing)}.", _MEND)
    if void := sorted(set(expected).intersection(row["name"] for row in found) - holding):
        yield _error(
            "constraints",
            f"Of the table {name}, {', '.join(void)} is not valid: there may be rows that break it.",
            f"ALTER TABLE {name} VALIDATE CONSTRAINT {void[0]}, and mend the rows that it complains of.",
        )
    if not any(row["kind"] == "p" and row["holds"] for row in found):
        yield _error("constraints", f"The table {name} has no primary key: a key could have two rows.", _MEND)


def _of_guard(name: str, found: Sequence[Row]) -> Iterator[Finding]:
    if not found:
        yield _error("guard", f"The trigger that allows only the protocol's moves is gone from {name}.", _MEND)
    elif found[0]["enabled"] not in ("O", "A"):
        state = f"The trigger that allows only the protocol's moves is switched off for {name}."
        yield _error("guard", state, f"ALTER TABLE {name} ENABLE TRIGGER guard.")


def _error(check: str, found: str, remedy: str) -> Finding:
    return Finding(severity=Severity.ERROR, check=check, found=found, remedy=remedy)


def _ask(connection: Connection, table: Table, name: str, **values: Any) -> Sequence[Row]:
    return connection.execute(table.into(statements()[name]), values).fetchall()
