"""The usage query: binding, and the real hooks of SQLite, PostgreSQL and Amazon Athena."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.errors import InvalidInput
from mailonce.period import Period
from mailonce.workflow import usage
from mailonce.workflow.usage import FETCH, bind, parameter_style, read_statement, usage_rows
from sandbox.postgres import EmbeddedPostgres

OCTOBER = Period("2026-10", "Europe/Berlin")
VALUES = {"period_start": "S", "period_end": "E"}
BOTH = "SELECT * FROM usage WHERE at >= :period_start AND at < :period_end"
Connect = Callable[..., None]


@pytest.mark.parametrize(
    ("style", "statement", "parameters"),
    [
        ("qmark", "SELECT * FROM usage WHERE at >= ? AND at < ?", ["S", "E"]),
        ("format", "SELECT * FROM usage WHERE at >= %s AND at < %s", ["S", "E"]),
        ("numeric", "SELECT * FROM usage WHERE at >= :1 AND at < :2", ["S", "E"]),
        ("named", BOTH, VALUES),
        ("pyformat", "SELECT * FROM usage WHERE at >= %(period_start)s AND at < %(period_end)s", VALUES),
    ],
)
def test_each_style(style: str, statement: str, parameters: Any) -> None:
    assert bind(BOTH, style, VALUES) == (statement, parameters)


@pytest.mark.parametrize(
    ("given_as", "qmark", "pyformat"),
    [
        # casts, other colons, longer names
        ("a::period_start", "a::period_start", "a::period_start"),
        (":period_start::date", "?::date", "%(period_start)s::date"),
        ("x[1:period_start]", "x[1:period_start]", "x[1:period_start]"),
        (":period_starts, :period_start_", ":period_starts, :period_start_", ":period_starts, :period_start_"),
        # quotes, doubled quotes, names in quotes, comments
        ("':period_start'", "':period_start'", "':period_start'"),
        ("'it''s :period_end'", "'it''s :period_end'", "'it''s :period_end'"),
        ('":period_start"', '":period_start"', '":period_start"'),
        ("-- don't :period_end\n:period_end", "-- don't :period_end\n?", "-- don't :period_end\n%(period_end)s"),
        ("/* ':period_end\n*/ :period_end", "/* ':period_end\n*/ ?", "/* ':period_end\n*/ %(period_end)s"),
        ("'--' :period_end", "'--' ?", "'--' %(period_end)s"),
        # percent signs, in code and in quotes
        ("5 % 2, 'a%', '%s'", "5 % 2, 'a%', '%s'", "5 %% 2, 'a%%', '%%s'"),
    ],
)
def test_only_parameters_are_bound(given_as: str, qmark: str, pyformat: str) -> None:
    assert bind(given_as, "qmark", VALUES)[0] == qmark
    assert bind(given_as, "pyformat", VALUES)[0] == pyformat


@pytest.mark.parametrize(
    ("style", "statement", "parameters"),
    [
        ("qmark", "? ? ?", ["S", "E", "S"]),
        ("numeric", ":1 :2 :3", ["S", "E", "S"]),
        ("pyformat", "%(period_start)s %(period_end)s %(period_start)s", VALUES),
    ],
)
def test_a_parameter_used_twice(style: str, statement: str, parameters: Any) -> None:
    assert bind(":period_start :period_end :period_start", style, VALUES) == (statement, parameters)


def test_a_parameter_that_is_not_used_is_not_given() -> None:
    assert bind("SELECT 1", "pyformat", VALUES) == ("SELECT 1", {})
    assert bind(":period_end", "named", VALUES) == (":period_end", {"period_end": "E"})


@given(st.text(), st.sampled_from(["qmark", "named", "numeric", "format", "pyformat"]), st.sampled_from("'\""))
def test_text_in_quotes_is_left_as_it_is(text: str, style: str, quote: str) -> None:
    quoted = quote + (text + ":period_start").replace(quote, quote * 2) + quote
    statement, parameters = bind(f"SELECT {quoted}, :period_end", style, VALUES)
    assert len(parameters) == 1
    # What the driver makes of it, with its own doubling of percent signs undone.
    percent = style in ("format", "pyformat")
    assert (statement.replace("%%", "%") if percent else statement).startswith(f"SELECT {quoted}, ")
    if percent:
        assert statement % ({"period_end": "E"} if style == "pyformat" else ("E",)) == f"SELECT {quoted}, E"


def test_sqlite_reads_quoted_text_as_it_was_written() -> None:
    statement, parameters = bind("SELECT ':period_start 100% ''x''', :period_end -- :period_start", "qmark", VALUES)
    with sqlite3.connect(":memory:") as connection:
        assert connection.execute(statement, parameters).fetchone() == (":period_start 100% 'x'", "E")


@pytest.mark.parametrize(
    ("module", "style"),
    [("sqlite3", "qmark"), ("psycopg2", "pyformat"), ("psycopg", "pyformat"), ("pyathena", "pyformat")],
)
def test_the_style_of_each_driver(module: str, style: str) -> None:
    driver = pytest.importorskip(module)
    home = {"pyathena": "pyathena.connection", "psycopg2": "psycopg2.extensions"}.get(module, module)
    __import__(home)
    connection = type("Connection", (), {"__module__": home})()
    assert parameter_style(connection) == driver.paramstyle == style


def test_an_unknown_driver_is_taken_for_the_usual_style() -> None:
    assert parameter_style(type("Connection", (), {"__module__": "no.such.driver"})()) == "pyformat"


class TestStatementFile:
    @pytest.mark.parametrize("content", ["SELECT 1", "SELECT 1;\n", "  SELECT 1 ; ;\n"])
    def test_is_read_without_its_semicolon(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "usage.sql").write_text(content)
        assert read_statement(tmp_path / "usage.sql").rstrip("; ") == "SELECT 1"

    @pytest.mark.parametrize("content", [None, b"", b" ;\n", b"SELECT '\xff'"])
    def test_is_named_when_it_is_missing_empty_or_unreadable(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "usage.sql").write_bytes(content)
        with pytest.raises(InvalidInput, match=r"^usage query usage\.sql: "):
            read_statement(tmp_path / "usage.sql")


@pytest.fixture
def sqlite(tmp_path: Path, connect: Connect) -> sqlite3.Connection:
    connect("mailonce_usage", conn_type="sqlite", host=str(tmp_path / "usage.db"))
    connection = sqlite3.connect(tmp_path / "usage.db", isolation_level=None)
    connection.execute("CREATE TABLE usage (recipient_id TEXT, email TEXT, at TEXT)")
    rows = [
        ("before", "a@b.co", "2026-09-30T21:59:59+00:00"),
        ("first", "a@b.co", "2026-09-30T22:00:00+00:00"),
        ("last", "a@b.co", "2026-10-31T22:59:59+00:00"),
        ("after", "a@b.co", "2026-10-31T23:00:00+00:00"),
    ]
    connection.executemany("INSERT INTO usage VALUES (?, ?, ?)", rows)
    return connection


class TestSqlite:
    def test_the_month_is_half_open_and_in_the_campaign_s_zone(self, sqlite: sqlite3.Connection) -> None:
        rows = list(usage_rows("mailonce_usage", BOTH, OCTOBER))
        assert [row["recipient_id"] for row in rows] == ["first", "last"]
        assert rows[0] == {"recipient_id": "first", "email": "a@b.co", "at": "2026-09-30T22:00:00+00:00"}

    def test_more_rows_than_are_fetched_at_a_time(self, sqlite: sqlite3.Connection) -> None:
        count = 2 * FETCH + 1
        statement = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        rows = usage_rows("mailonce_usage", f"{statement} SELECT i AS recipient_id, 'a@b.co' AS email FROM n", OCTOBER)
        assert [row["recipient_id"] for row in rows] == list(range(1, count + 1))

    def test_sql_in_a_value_stays_a_value(self, sqlite: sqlite3.Connection) -> None:
        sqlite.execute("UPDATE usage SET email = '''; DROP TABLE usage; --' WHERE recipient_id = 'first'")
        rows = list(usage_rows("mailonce_usage", BOTH, OCTOBER))
        assert rows[0]["email"] == "'; DROP TABLE usage; --"
        assert sqlite.execute("SELECT count(*) FROM usage").fetchone() == (4,)

    @pytest.mark.parametrize(
        ("statement", "reason"),
        [
            ("SELECT email FROM usage", "returns no column recipient_id .it returns email"),
            ("SELECT recipient_id FROM usage WHERE 1 = 0", "returns no column email"),
            ("SELECT recipient_id, email, at, at AS AT FROM usage", "returns at twice"),
            ("SELECT recipient_id, email, 1 AS Email FROM usage", "returns email twice"),
            ("UPDATE usage SET at = at", "returns no rows at all. Make it a SELECT"),
        ],
    )
    def test_a_result_that_is_no_usage(self, sqlite: sqlite3.Connection, statement: str, reason: str) -> None:
        with pytest.raises(InvalidInput, match=f"^usage query: it {reason}"):
            list(usage_rows("mailonce_usage", statement, OCTOBER))

    def test_no_rows_are_no_error(self, sqlite: sqlite3.Connection) -> None:
        assert list(usage_rows("mailonce_usage", BOTH, Period("2001-01"))) == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [(None, "it does not exist"), ({"conn_type": "http", "host": "localhost"}, r"its type \(http\) runs no SQL")],
)
def test_a_connection_that_is_no_database(connect: Connect, fields: dict[str, str] | None, reason: str) -> None:
    if fields:
        connect("warehouse", **fields)
    with pytest.raises(InvalidInput, match=f"^connection warehouse: {reason}"):
        list(usage_rows("warehouse", BOTH, OCTOBER))


@pytest.mark.postgres
class TestPostgres:
    @pytest.fixture
    def database(self, postgres: EmbeddedPostgres, connect: Connect) -> Iterator[psycopg.Connection[Any]]:
        address = postgres.create_database("usage")
        connect("mailonce_usage", **postgres.connection("usage"))
        with psycopg.connect(address, autocommit=True) as connection:
            yield connection

    def test_rows_are_streamed_through_a_cursor_on_the_server(self, database: psycopg.Connection[Any]) -> None:
        count = 3 * FETCH + 1
        statement = (
            "SELECT n AS recipient_id, 'a@b.co' AS email, '100%' AS share, "
            ":period_start AS first, :period_end::timestamptz AS after "
            f"FROM generate_series(1, {count}) n"
        )
        rows = usage_rows("mailonce_usage", statement, OCTOBER)
        first = next(rows)
        open_cursors = (
            "SELECT state, query FROM pg_stat_activity WHERE query ILIKE '%FETCH%' AND pid <> pg_backend_pid()"
        )
        # In the middle of its transaction, having fetched so many rows and no more.
        ((state, query),) = database.execute(open_cursors).fetchall()
        assert state == "idle in transaction"
        assert f"FORWARD {FETCH}" in query.upper()
        assert "mailonce_usage" in query
        assert (first["recipient_id"], first["share"]) == (1, "100%")
        assert (first["first"], first["after"]) == (OCTOBER.starts_at, OCTOBER.ends_at)
        assert [row["recipient_id"] for row in rows] == list(range(2, count + 1))
        assert database.execute(open_cursors).fetchall() == []

    def test_the_month_is_half_open(self, database: psycopg.Connection[Any]) -> None:
        statement = (
            "SELECT id AS recipient_id, 'a@b.co' AS email FROM (VALUES "
            "('before', timestamptz '2026-09-30 21:59:59+00'), ('first', '2026-09-30 22:00:00+00'), "
            "('last', '2026-10-31 22:59:59+00'), ('after', '2026-10-31 23:00:00+00')) AS usage (id, at) "
            "WHERE at >= :period_start AND at < :period_end"
        )
        assert [row["recipient_id"] for row in usage_rows("mailonce_usage", statement, OCTOBER)] == ["first", "last"]


class TestAthena:
    @pytest.fixture
    def athena(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        from moto.server import ThreadedMotoServer

        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        url = "http://{}:{}".format(*server.get_host_and_port())
        extra = {
            "region_name": "eu-central-1",
            "endpoint_url": url,
            "s3_staging_dir": "s3://results/",
            "work_group": "primary",
        }
        connect("mailonce_usage", conn_type="athena", login="a", password="s", schema="usage", extra=extra)
        yield url
        server.stop()

    def test_through_athena_s_own_hook(self, athena: str, monkeypatch: pytest.MonkeyPatch) -> None:
        columns = [("recipient_id", "varchar"), ("email", "varchar"), ("units", "integer")]
        rows = [["recipient_id", "email", "units"], ["C-1", "ann@example.com", "3"], ["C-2", "ben@example.com", "4"]]
        result = {
            "rows": [{"Data": [{"VarCharValue": value} for value in row]} for row in rows],
            "column_info": [
                {"CatalogName": "c", "SchemaName": "s", "TableName": "t", "Name": name, "Label": name, "Type": kind,
                 "Precision": 1, "Scale": 0, "Nullable": "NULLABLE", "CaseSensitive": True}
                for name, kind in columns
            ],
        }  # fmt: skip
        body = json.dumps({"results": [result], "region": "eu-central-1"}).encode()
        preset = urllib.request.Request(f"{athena}/moto-api/static/athena/query-results", body, method="POST")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(preset) as answer:
            assert answer.status == 201
        bound: list[Any] = []
        monkeypatch.setattr(usage, "bind", lambda *given: bound.append(bind(*given)) or bound[-1])

        found = list(usage_rows("mailonce_usage", BOTH, OCTOBER))

        assert found == [
            {"recipient_id": "C-1", "email": "ann@example.com", "units": 3},
            {"recipient_id": "C-2", "email": "ben@example.com", "units": 4},
        ]
        ((statement, parameters),) = bound
        assert statement.endswith("%(period_start)s AND at < %(period_end)s")
        assert parameters["period_start"].isoformat() == "2026-09-30T22:00:00", "UTC, without a zone"
