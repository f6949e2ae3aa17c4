"""Keeps two runs of one month from working side by side: for quiet. What is safe and what is not does not depend on it.

Each task that works holds an advisory lock of PostgreSQL, shared, under two numbers: the month's and its run's. Tasks of
one run so hold the same lock together. Whoever comes first looks for a lock of the same month and another run. Looking and
taking happen behind a gate, an exclusive lock of that one transaction, so that no two runs find the month free at once.

The lock belongs to a session of the database, which has no clock: it ends when the worker gives it back, dies, or loses
the connection. ``docs/triggers.md`` has what follows from that.
"""

from __future__ import annotations

import hashlib
import logging
from types import TracebackType
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from typing_extensions import Self

from mailonce.errors import LedgerUnavailable, LedgerUnusable, MonthBusy
from mailonce.ledgers.postgres.schema import Connection
from mailonce.ledgers.postgres.statements import statements

log = logging.getLogger(__name__)

NAME = "mailonce "
"""What the session's name begins with; then comes the run's, for people and for the error of whoever has to wait."""

_LONGEST_NAME = 63
"""Bytes of a session's name that PostgreSQL keeps."""

_AWAY = (psycopg.OperationalError, psycopg.InterfaceError)


class MonthLock:
    """Held while it is entered, in a connection of its own: none that claims would have to wait for.

    :param conninfo: libpq connection string. :param ledger: the ledger's table: each has months of its own.
    :param run: names the run; whoever gives the same name shares the lock.
    """

    def __init__(self, conninfo: str, *, ledger: str, campaign: str, period: str, run: str) -> None:
        self._conninfo = conninfo
        self._month = f"{campaign} {period}"
        self._name = (NAME + run)[:_LONGEST_NAME]
        self._numbers = {
            "gate": _number("gate", ledger, campaign, period, size=8),
            "month": _number("month", ledger, campaign, period, size=4),
            "run": _number("run", run, size=4),
        }
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        :raises mailonce.errors.MonthBusy: another run has it. :raises mailonce.errors.LedgerUnavailable: the database is
            away. :raises mailonce.errors.LedgerUnusable: it refuses.
        """
        try:
            connection = self._connect()
            try:
                other = self._take(connection)
            except BaseException:
                connection.close()
                raise
        except _AWAY as error:
            raise LedgerUnavailable(f"the PostgreSQL ledger is not reachable for the month's lock: {error}") from error
        except psycopg.Error as error:
            raise LedgerUnusable(f"the PostgreSQL ledger refused the month's lock: {error}") from error
        if other is not None:
            connection.close()
            who = f"run {other.removeprefix(NAME)}" if other.startswith(NAME) else "another run"
            raise MonthBusy(f"{who} is at work on {self._month}, and one_run_at_a_time is set.")
        self._connection = connection
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            held = connection.execute(statements()["month_release"], self._numbers).fetchone()
        except psycopg.Error as lost:
            held = None
            log.debug("the session of the month's lock is gone", exc_info=lost)
        if not (held and held["held"]):
            log.warning(
                "the lock of %s was lost on the way, with its database session: another run may have worked beside this "
                "one. No mail goes out twice for that; only the quiet was lost",
                self._month,
            )
        connection.close()

    def _connect(self) -> Connection:
        # Idle for as long as the task works: firewalls that forget idle connections must see life.
        own: dict[str, Any] = {"keepalives_idle": 60, **conninfo_to_dict(self._conninfo)}
        conninfo = make_conninfo(**{**own, "application_name": self._name})
        connection: Connection = psycopg.connect(conninfo, autocommit=True, row_factory=dict_row, connect_timeout=10)
        # The server's own default finds out after two hours that a machine is gone, and would keep its lock until then.
        connection.execute(
            "SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
        )
        if connection.info.server_version >= 140000:
            connection.execute("SET idle_session_timeout = 0")
        return connection

    def _take(self, connection: Connection) -> str | None:
        """Take the lock; return the name of the session that has it for another run, if one does."""
        ask: Any = lambda name: connection.execute(statements()[name], self._numbers)  # noqa: E731
        with connection.transaction():
            ask("month_gate")
            other = ask("month_others").fetchone()
            if other is None:
                ask("month_take")
        return None if other is None else str(other["name"])


def _number(*words: str, size: int) -> int:
    """Return a number of so many bytes, the same for the same words on every machine."""
    whole = hashlib.sha256("\n".join(("mailonce", *words)).encode()).digest()
    return int.from_bytes(whole[:size], "big", signed=True)
