"""`python -m sandbox.fill`: sample usage into the PostgreSQL that libpq's own variables name (PGHOST, PGDATABASE, …)."""

from __future__ import annotations

from datetime import date

import psycopg

from sandbox.sample_usage import create_sample_usage


def main() -> None:
    """Replace the sample tables by those of the months before today. Raises psycopg.Error."""
    with psycopg.connect() as connection:
        create_sample_usage(connection, date.today(), psycopg.paramstyle)  # noqa: DTZ011 - the reader's day
        row = connection.execute("SELECT count(*) FROM customers").fetchone()
        print(f"Sample usage of {row[0] if row else 0} customers is in the database {connection.info.dbname}.")


if __name__ == "__main__":
    main()
