"""The setting ``one_run_at_a_time``: two runs of one campaign and month follow one another."""

from __future__ import annotations

import os
import socket
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from mailonce.errors import InvalidInput
from mailonce.workflow.connections import ledger_conninfo
from mailonce.workflow.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Context


def month_lock(settings: Settings, context: Context, *, campaign: str, period: str) -> AbstractContextManager[object]:
    """Return what a task enters while it delivers: the month's lock if the setting asks for it, else nothing.

    :raises mailonce.errors.InvalidInput: the setting asks for it, and the ledger is not in PostgreSQL.
    """
    conninfo = lockable_ledger(settings)
    if conninfo is None:
        return nullcontext()
    from mailonce.ledgers.postgres.month_lock import MonthLock

    return MonthLock(conninfo, ledger=settings.ledger_table, campaign=campaign, period=period, run=_run(context))


def lockable_ledger(settings: Settings) -> str | None:
    """Return how to reach the database with the month's lock; None: none is asked for.

    :raises mailonce.errors.InvalidInput: it is asked for, and the ledger is not in PostgreSQL.
    """
    if not settings.one_run_at_a_time:
        return None
    conninfo = ledger_conninfo(settings)
    if conninfo is None:
        raise InvalidInput(
            field="setting [mailonce] one_run_at_a_time",
            reason=f"the ledger of connection {settings.ledger_conn_id} is not in PostgreSQL, and only that has the lock",
            remedy="Set it to false: without it two runs of a month may work side by side, and still mail nobody twice",
        )
    return conninfo


def _run(context: Context) -> str:
    """Return the name that all tasks of a run share; outside of Airflow it is the process's."""
    instance = context.get("ti")
    if instance is None:
        return f"process {os.getpid()} of {socket.gethostname()}"
    return f"{instance.run_id} of {instance.dag_id}"
