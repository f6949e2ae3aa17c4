"""The embedded PostgreSQL starts anywhere, keeps what was committed, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from sandbox.postgres import EmbeddedPostgres
from sandbox.processes import ProcessFailedError

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as started:
        yield started


def ask(dsn: str, query: str) -> object:
    """The first value of the first row, or None for a statement without rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]


def test_settings_are_the_durable_ones(server: EmbeddedPostgres) -> None:
    assert ask(server.dsn(), "SHOW fsync") == "on"
    assert ask(server.dsn(), "SHOW synchronous_commit") == "on"
    assert ask(server.dsn(), "SHOW server_encoding") == "UTF8"
    assert ask(server.dsn(), "SHOW listen_addresses") == "127.0.0.1"
    assert int(str(ask(server.dsn(), "SHOW max_connections"))) >= 200


def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn(), password="guess")


def test_databases_with_awkward_names(server: EmbeddedPostgres) -> None:
    for name in ("ledger", "Größe x/y"):
        assert server.create_database(name) == server.create_database(name)
        assert ask(server.dsn(name), "SELECT current_database()") == name


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_committed_rows_survive_a_stop_in_mid_run(server: EmbeddedPostgres, mode: str) -> None:
    dsn = server.create_database(f"survives_{mode}")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE facts (id int)")
        connection.execute("INSERT INTO facts VALUES (1)")
        connection.commit()
        connection.execute("INSERT INTO facts VALUES (2)")
        server.stop("fast" if mode == "fast" else "immediate")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn, connect_timeout=2)
    server.start()
    assert ask(dsn, "SELECT array_agg(id) FROM facts") == [1]


def test_two_at_once_and_reuse_of_the_directory(server: EmbeddedPostgres, tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as second:
        assert second.port != server.port
        dsn = second.create_database("kept")
        ask(dsn, "CREATE TABLE facts AS SELECT 42 AS answer")
        with pytest.raises((RuntimeError, ProcessFailedError)):
            EmbeddedPostgres(tmp_path).__enter__()
        assert ask(dsn, "SELECT answer FROM facts") == 42
    assert (tmp_path / "data" / "PG_VERSION").is_file()
    assert not (tmp_path / "data").is_symlink()
    with EmbeddedPostgres(tmp_path) as again:
        assert ask(again.dsn("kept"), "SELECT answer FROM facts") == 42


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL of the process that started the server ends the server, and the data can be used again."""
    code = (
        "import sys, time, pathlib; from sandbox.postgres import EmbeddedPostgres\n"
        "with EmbeddedPostgres(pathlib.Path(sys.argv[1])) as server:\n"
        "    print(server.port, server._server.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env={**os.environ, "HOME": str(tmp_path)},
    ) as parent:
        assert parent.stdout is not None
        _, pid = parent.stdout.readline().split()
        parent.kill()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(int(pid))
    with EmbeddedPostgres(tmp_path) as again:
        assert ask(again.dsn(), "SELECT 1") == 1


def test_a_directory_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("the only copy")
    with pytest.raises(RuntimeError, match="no PostgreSQL data directory"), EmbeddedPostgres(tmp_path):
        pass
    assert (tmp_path / "data" / "thesis.txt").read_text() == "the only copy"


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "PG_VERSION").write_text("18\n")
    (tmp_path / "password").write_text("unused")
    with pytest.raises(ProcessFailedError, match=r"postgresql\.conf"), EmbeddedPostgres(tmp_path):
        pass
