"""The sample usage, filled in by the program that docker-compose.yaml runs."""

from __future__ import annotations

import psycopg
import pytest

from sandbox import fill
from sandbox.postgres import EmbeddedPostgres

pytestmark = pytest.mark.postgres


def test_it_finds_the_database_as_libpq_does_and_may_be_run_again(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    postgres.create_database("filled")
    parts = psycopg.conninfo.conninfo_to_dict(postgres.dsn("filled"))
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    for name, value in parts.items():
        monkeypatch.setenv(names[name], str(value))
    for _ in range(2):
        fill.main()
        assert capsys.readouterr().out == "Sample usage of 100 customers is in the database filled.\n"
    with psycopg.connect(postgres.dsn("filled")) as connection:
        assert connection.execute("SELECT count(DISTINCT customer_id) FROM usage_daily").fetchone() == (100,)
