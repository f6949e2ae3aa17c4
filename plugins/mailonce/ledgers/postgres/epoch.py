"""Which ledger this is, as PostgreSQL tells. What each step does to the row stands in ``sql/epoch.sql``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg

from mailonce.epoch import Epoch
from mailonce.ledgers.postgres.database import Database
from mailonce.ledgers.postgres.schema import Connection


class PostgresEpochStore:
    """Keeps the epoch in a table beside the deliveries, see :class:`mailonce.ledgers.base.EpochStore`.

    A store is named by three numbers that no one can choose: the cluster's system identifier, the database's oid and
    the oid of the table of deliveries.

    - Noticed: a dump restored into another cluster, another database, or over the table that it was made of; a database
      made with ``TEMPLATE``; a copy by logical replication; ``pg_upgrade``, which moves everything into a new cluster
      (adopt the ledger afterwards).
    - Not noticed, because nothing is lost: a restart, a failover to a physical standby that was up to date, another
      name, another role.
    - Not noticed, though something may be lost: a physical backup or a disk's snapshot brought back, and a failover to
      a standby that lagged behind. It is the same store, at an earlier time. The count of runs tells.

    Where a service does not tell the system identifier, the two oids must do.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> Epoch:
        """See :class:`mailonce.ledgers.base.EpochStore`."""
        return self._database.run(lambda connection: self._change(connection, "epoch"))

    def advance(self) -> Epoch:
        """See :class:`mailonce.ledgers.base.EpochStore`."""
        values = {"token": uuid.uuid4()}
        return self._database.run(lambda connection: self._change(connection, "advance", values))

    def drained(self, moment: datetime) -> None:
        """See :class:`mailonce.ledgers.base.EpochStore`."""
        self._database.run(lambda connection: self._change(connection, "drained", {"moment": moment}))

    def adopt(self, *, by: str, reason: str) -> Epoch:
        """See :class:`mailonce.ledgers.base.EpochStore`."""
        values = {"id": uuid.uuid4(), "by": by, "reason": reason}
        return self._database.run(lambda connection: self._change(connection, "adopt", values))

    def _change(self, connection: Connection, name: str, values: Mapping[str, Any] | None = None) -> Epoch:
        """Run one statement on the row, which is made if it is not there."""
        ask, here = self._database.ask, self._here(connection)
        if ask(connection, "epoch").fetchone() is None:
            ask(connection, "make_epoch", {"id": uuid.uuid4(), **here})
        # A statement that had nothing to change returns nothing.
        row = ask(connection, name, {**here, **(values or {})}).fetchone() or ask(connection, "epoch").fetchone()
        assert row is not None, "nobody deletes the row"
        return _epoch(row, here)

    def _here(self, connection: Connection) -> dict[str, Any]:
        """Return what names the store: ``system`` (None: it is not told), ``database`` and ``deliveries``."""
        place = self._database.ask(connection, "place").fetchone()
        assert place is not None, "a connection is in a database"
        if place["deliveries"] is None:
            raise psycopg.errors.UndefinedTable("there is no table of deliveries")
        try:
            told = self._database.ask(connection, "system").fetchone()
        except (psycopg.ProgrammingError, psycopg.NotSupportedError):
            told = None  # forbidden, or a service that speaks PostgreSQL but is none
        return {"system": told and told["system"], **place}


def _epoch(row: Mapping[str, Any], here: Mapping[str, Any]) -> Epoch:
    home = {name: row[f"home_{name}"] for name in here}
    # What is not told on either side tells no difference: one role may ask what another may not.
    unknown = None in (home["system"], here["system"])
    return Epoch(
        id=str(row["id"]),
        home=_store(home, unknown=unknown),
        here=_store(here, unknown=unknown),
        runs=row["runs"],
        events_drained_at=row["events_drained_at"],
        read_at=row["read_at"],
    )


def _store(names: Mapping[str, Any], *, unknown: bool) -> str:
    system = "unknown system" if unknown else f"system {names['system']}"
    return f"PostgreSQL {system}, database {names['database']}, table {names['deliveries']}"
