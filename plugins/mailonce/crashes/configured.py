"""The ledger that Airflow's configuration names, as the matrix's processes open it.

Whatever is slow about Airflow's connections is imported here, so that the workers are forked with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from airflow.providers.amazon.aws.hooks import base_aws  # noqa: F401

from mailonce.compatibility import BaseHook
from mailonce.crashes.orders import LedgerMaker
from mailonce.ledgers.base import Ledger
from mailonce.workflow.aws import preload
from mailonce.workflow.connections import open_ledger
from mailonce.workflow.settings import Settings

preload()


def ledger_maker(settings: Settings) -> LedgerMaker:
    """Return how to open the settings' ledger in another process.

    The connection is looked up here and handed on: it may come from Airflow's database, and not each worker shall ask.

    :raises airflow.sdk.exceptions.AirflowNotFoundException: there is no such connection.
    """
    connection = BaseHook.get_connection(settings.ledger_conn_id).as_json()
    return LedgerMaker(
        name=f"{__name__}:open_configured_ledger",
        arguments={"settings": asdict(settings), "connection": connection},
    )


def open_configured_ledger(settings: Mapping[str, Any], connection: str) -> Ledger:
    """Open the ledger.

    :param settings: as plain values. :param connection: in its JSON form.
    """
    known = Settings(**settings)
    os.environ[f"AIRFLOW_CONN_{known.ledger_conn_id.upper()}"] = connection
    return open_ledger(known, connections=8)
