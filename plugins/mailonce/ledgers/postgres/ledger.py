"""The PostgreSQL ledger. What each step does to a row stands in ``statements.sql``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar, overload

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_delay, wait_random_exponential

from mailonce.delivery import Claim, Conclusion, Decision, Delivery, Entry, Receipt
from mailonce.errors import LedgerUnavailable, LedgerUnusable
from mailonce.keys import Identity
from mailonce.ledgers.postgres.statements import Table, migrations, statements
from mailonce.states import State

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
Connection = psycopg.Connection[DictRow]

_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)
_KEYS_PER_QUESTION = 1000
_ROWS_A_PAGE = 1000


class PostgresLedger:
    """Keeps the ledger in one table of a PostgreSQL database (13 or newer).

    :param conninfo: libpq connection string.
    :param table: the table's name, with or without a schema; made on first use if it does not exist.
    :param connections: at most so many connections at once.
    :param patience: how long to keep trying while the database is away.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        table: str = "mailonce_ledger",
        connections: int = 1,
        patience: timedelta = timedelta(seconds=30),
    ) -> None:
        self._conninfo = conninfo
        self._table = Table(table)
        self._patience = patience
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            conninfo,
            kwargs={"autocommit": True, "row_factory": dict_row, "options": "-c timezone=UTC", "connect_timeout": 10},
            connection_class=Connection,
            min_size=0,
            max_size=connections,
            # Left alone, the pool would wait longer and longer between its tries, and miss the database's return.
            reconnect_timeout=5,
            open=False,
        )

    def claim(self, claim: Claim) -> Entry:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        values = {
            **_identity(claim.delivery),
            "token": claim.token,
            "by": claim.by,
            "window": claim.timing.window,
            "settle": claim.timing.settle,
            "retention": claim.timing.retention,
        }
        while (entry := self._one("claim", values)) is None:
            pass  # the row was made or claimed between the two halves of the statement: it is seen the next time
        return entry

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        values = {
            "key": key,
            "token": token,
            "state": conclusion.state.value,
            "message_id": conclusion.message_id,
            "error": conclusion.error,
        }
        return self._one("conclude", values, patience) or self._one("row", {"key": key}, patience)

    @overload
    def witness(self, receipt: Receipt, delivery: Delivery) -> Entry: ...

    @overload
    def witness(self, receipt: Receipt, delivery: None = None) -> Entry | None: ...

    def witness(self, receipt: Receipt, delivery: Delivery | None = None) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        proof = {"key": receipt.key, "message_id": receipt.message_id, "evidence": receipt.evidence}
        if delivery is not None:
            self._run(
                lambda connection: connection.execute(self._statement("witness_unknown"), proof | _identity(delivery))
            )
        return self._one("witness", proof) or self._one("row", {"key": receipt.key})

    def decide(self, key: str, decision: Decision) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        values = {
            "key": key,
            "state": decision.state.value,
            "by": decision.by,
            "reason": decision.reason,
            "token": decision.token,
        }
        return self._one("decide", values) or self._one("row", {"key": key})

    def find(self, keys: Iterable[str]) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        wanted = iter(keys)
        while some := list(islice(wanted, _KEYS_PER_QUESTION)):
            yield from self._all("find", {"keys": some})

    def of_month(self, campaign: str, period: str) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        values = {"campaign": campaign, "period": period, "page": _ROWS_A_PAGE}
        after = ("", "")
        while page := self._all("of_month", {**values, "after_recipient": after[0], "after_key": after[1]}):
            yield from page
            after = (page[-1].identity.recipient_id, page[-1].key)

    def of_address(self, email: str) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        yield from self._all("of_address", {"email": email})

    def prepare(self) -> bool:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._run(self._migrate)

    def close(self) -> None:
        """Give back the connections."""
        self._pool.close()

    def _migrate(self, connection: Connection) -> bool:
        # Looked at first: a role that may only read and write rows must not be asked to create what exists.
        if self._versions(connection) == set(migrations()):
            return False
        with connection.transaction():
            # One at a time; whoever waited finds the work done.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"mailonce {self._table.name}"])
            connection.execute(self._table.into(
                "CREATE TABLE IF NOT EXISTS {versions} "
                "(version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
            ))  # fmt: skip
            done = self._versions(connection)
            if unknown := done - set(migrations()):
                raise LedgerUnusable(
                    f"table {self._table.name} is of version {max(unknown)}, newer than this mailonce: upgrade mailonce"
                )
            for version, statement in migrations().items():
                if version not in done:
                    connection.execute(self._table.into(statement))
                    connection.execute(self._table.into("INSERT INTO {versions} (version) VALUES (%s)"), [version])
                    log.info("ledger table %s: migration %04d applied", self._table.name, version)
            return not done

    def _versions(self, connection: Connection) -> set[int]:
        """Return the migrations that are applied."""
        exists = connection.execute(
            "SELECT to_regclass(%s)::text AS name", [self._table.derived("_versions").as_string()]
        )
        if (row := exists.fetchone()) is None or row["name"] is None:
            return set()
        return {row["version"] for row in connection.execute(self._table.into("SELECT version FROM {versions}"))}

    def _one(self, name: str, values: Mapping[str, Any], patience: timedelta | None = None) -> Entry | None:
        statement = self._statement(name)
        row = self._run(lambda connection: connection.execute(statement, values).fetchone(), patience)
        return _entry(row) if row else None

    def _all(self, name: str, values: Mapping[str, Any]) -> list[Entry]:
        statement = self._statement(name)
        return [_entry(row) for row in self._run(lambda connection: connection.execute(statement, values).fetchall())]

    def _statement(self, name: str) -> psycopg.sql.Composed:
        return self._table.into(statements()[name])

    def _run(self, work: Callable[[Connection], Answer], patience: timedelta | None = None) -> Answer:
        """Run one idempotent step, again and again while the database is away, with the table made on first use."""
        willing = self._patience if patience is None else patience
        # A connection that does not come is waited for no longer than the whole step may take.
        timeout = min(10.0, max(0.1, willing.total_seconds()))
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(_AWAY),
                stop=stop_after_delay(willing),
                wait=wait_random_exponential(multiplier=0.1, max=5),
                before_sleep=before_sleep_log(log, logging.WARNING),
                reraise=True,
            ):
                with attempt, self._pool_opened().connection(timeout=timeout) as connection:
                    try:
                        return work(connection)
                    except psycopg.errors.UndefinedTable:
                        if self._migrate(connection):
                            log.warning(
                                "ledger table %s did not exist and was made: it knows of no earlier mail",
                                self._table.name,
                            )
                        return work(connection)
        except (*_AWAY, PoolClosed) as error:
            raise LedgerUnavailable(f"the PostgreSQL ledger is not reachable: {self._cause(error)}") from error
        except psycopg.Error as error:
            raise LedgerUnusable(f"the PostgreSQL ledger refused: {error}") from error
        raise AssertionError("unreachable: the last attempt returns or raises")

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


def _identity(delivery: Delivery) -> dict[str, Any]:
    return {
        "key": delivery.key,
        "campaign": delivery.identity.campaign,
        "period": delivery.identity.period,
        "recipient_id": delivery.identity.recipient_id,
        "edition": delivery.identity.edition,
        "email": delivery.message.to,
        "fingerprint": delivery.message.fingerprint,
    }


def _entry(row: DictRow) -> Entry:
    own = ("campaign", "period", "recipient_id", "edition")
    same = ("key", "email", "fingerprint", "attempt", "claimed_by", "claimed_at", "deadline_at", "settled_at",
            "message_id", "sent_at", "error", "read_at")  # fmt: skip
    return Entry(
        identity=Identity(**{name: row[name] for name in own}),
        state=State(row["state"]),
        token=str(row["token"]) if row["token"] else None,
        duplicate_message_ids=tuple(row["duplicate_message_ids"]),
        history=tuple(row["history"]),
        **{name: row[name] for name in same},
    )
