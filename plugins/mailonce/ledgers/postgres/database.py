"""The database behind a PostgreSQL ledger: connections, patience while it is away, and the tables made on first use."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from mailonce.errors import LedgerUnavailable, LedgerUnusable
from mailonce.ledgers.postgres.schema import Connection, migrate
from mailonce.ledgers.postgres.statements import Table, statements

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

Steps = Sequence[tuple[str, Mapping[str, Any]]]
"""Names of statements, and the values of each."""

PAGE = 1000
"""So many keys or rows make one question or answer."""

_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)
# Most of what a claim would cost the server is planning it, so plans are kept. Every statement finds its rows by an index;
# a plan that was made while the tables were empty must do so too, and not read them from end to end once they are full.
_SESSION = "-c timezone=UTC -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off"
# A table that is not there, or one from before a migration.
_TO_MIGRATE = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)


class Database:
    """Runs the named statements on one ledger's tables.

    Every method but :meth:`close` raises :class:`mailonce.errors.LedgerUnavailable` when the database stays away, and
    :class:`mailonce.errors.LedgerUnusable` when it refuses.

    :param conninfo: libpq connection string. :param connections: at most so many at once.
    :param patience: how long to keep trying while the database is away.
    """

    def __init__(self, conninfo: str, table: Table, *, connections: int, patience: timedelta) -> None:
        self.table = table
        self._conninfo = conninfo
        self._patience = patience
        self._statements: dict[str, bytes] = {}
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            conninfo,
            kwargs={"autocommit": True, "row_factory": dict_row, "options": _SESSION, "connect_timeout": 10},
            connection_class=Connection,
            min_size=0,
            max_size=connections,
            # Left alone, the pool would wait longer and longer between its tries, and miss the database's return.
            reconnect_timeout=5,
            open=False,
        )

    def row(self, name: str, values: Mapping[str, Any], patience: timedelta | None = None) -> DictRow | None:
        """Run one statement; return its first row, if any."""
        return self.run(lambda connection: self.ask(connection, name, values).fetchone(), patience)

    def rows(self, name: str, values: Mapping[str, Any], patience: timedelta | None = None) -> list[DictRow]:
        """Run one statement; return its rows."""
        return self.run(lambda connection: self.ask(connection, name, values).fetchall(), patience)

    def all_rows(self, steps: Steps, patience: timedelta | None = None) -> list[DictRow]:
        """Run several statements in one round trip, each in a transaction of its own; return the rows of all."""

        def work(connection: Connection) -> list[DictRow]:
            if len(steps) == 1:
                return self.ask(connection, *steps[0]).fetchall()
            cursors = []
            with connection.pipeline() as pipeline:
                for name, values in steps:
                    cursors.append(self.ask(connection, name, values))
                    # In one transaction they would lock rows in an order of their own: see the statement `claim`.
                    pipeline.sync()
            return [row for cursor in cursors for row in cursor.fetchall()]

        return self.run(work, patience)

    def ask(
        self, connection: Connection, name: str, values: Mapping[str, Any] | None = None
    ) -> psycopg.Cursor[DictRow]:
        """Run one statement on a connection that :meth:`run` or :meth:`look` has lent."""
        statement = self._statements.get(name)
        if statement is None:
            statement = self._statements[name] = self.table.into(statements()[name]).as_string().encode()
        return connection.execute(statement, values)

    def run(self, work: Callable[[Connection], Answer], patience: timedelta | None = None) -> Answer:
        """Run one idempotent step, again and again while the database is away, with the tables made on first use."""

        def with_tables(connection: Connection) -> Answer:
            try:
                return work(connection)
            except _TO_MIGRATE:
                if migrate(connection, self.table):
                    log.warning(
                        "ledger table %s did not exist and was made: it knows of no earlier mail", self.table.name
                    )
                return work(connection)

        return self.look(with_tables, patience)

    def look(self, work: Callable[[Connection], Answer], patience: timedelta | None = None) -> Answer:
        """Run one idempotent step, again and again while the database is away."""
        willing = (self._patience if patience is None else patience).total_seconds()
        # A connection that does not come is waited for no longer than the whole step may take.
        timeout = min(10.0, max(0.1, willing))
        give_up_at = time.monotonic() + willing
        for tries in count():
            try:
                with self._pool_opened().connection(timeout=timeout) as connection:
                    return work(connection)
            except PoolClosed as error:
                raise LedgerUnavailable("the PostgreSQL ledger was closed") from error
            except _AWAY as error:
                if time.monotonic() >= give_up_at:
                    raise LedgerUnavailable(f"the PostgreSQL ledger is not reachable: {self._cause(error)}") from error
                log.warning("the PostgreSQL ledger is not reachable, and is tried again: %s", error)
                # Not all at the same moment, when it comes back.
                time.sleep(random.uniform(0, min(5.0, 0.1 * 2**tries)))  # noqa: S311 - not a secret
            except psycopg.Error as error:
                raise LedgerUnusable(f"the PostgreSQL ledger refused: {error}") from error
        raise AssertionError("unreachable: it is tried until it works, or for long enough")

    def prepare(self) -> bool:
        """Make or migrate the tables; return whether they were made just now."""
        return self.look(lambda connection: migrate(connection, self.table))

    def close(self) -> None:
        """Give back the connections."""
        self._pool.close()

    def _cause(self, error: Exception) -> Exception:
        """Return why no connection comes: the pool only says that it waited."""
        if isinstance(error, PoolTimeout):
            try:
                psycopg.connect(self._conninfo, connect_timeout=5).close()
            except psycopg.Error as cause:
                return cause
        return error

    def _pool_opened(self) -> ConnectionPool[Connection]:
        # Opened late: an operator is built when the Dag file is parsed, and nothing may be asked then.
        if self._pool.closed:
            self._pool.open()
        return self._pool
