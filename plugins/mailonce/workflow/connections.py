"""From Airflow's connections to a ledger and a provider. A new kind of ledger or provider is named here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from psycopg.conninfo import make_conninfo

from mailonce.errors import InvalidInput
from mailonce.ledgers.base import Ledger
from mailonce.workflow.aws import aws_client
from mailonce.workflow.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from mypy_boto3_sesv2.client import SESV2Client
    from mypy_boto3_sqs.client import SQSClient

    from mailonce.providers.ses import SesProvider


def open_ledger(settings: Settings, *, connections: int = 1) -> Ledger:
    """Return the ledger that the connection ``ledger_conn_id`` names.

    :param connections: how many threads will use it at once.
    :raises mailonce.errors.InvalidInput: the connection is missing, or of a type that is no ledger.
    """
    connection = _connection(settings.ledger_conn_id, "ledger_conn_id")
    try:
        maker = _LEDGERS[str(connection.conn_type)]
    except KeyError:
        raise InvalidInput(
            field=f"connection {settings.ledger_conn_id}",
            reason=f"type {connection.conn_type!r} is no ledger",
            remedy=f"Use one of: {', '.join(sorted(_LEDGERS))}",
        ) from None
    return maker(connection, settings, connections)


def open_provider(settings: Settings, *, connections: int = 1) -> SesProvider:
    """Return Amazon SES, through the connection ``aws_conn_id``.

    :param connections: how many requests are sent at once.
    """
    from mailonce.providers.ses import SesProvider, one_request

    client: SESV2Client = aws_client(
        settings.aws_conn_id,
        "sesv2",
        region_name=settings.region_name,
        configure=lambda own: one_request(own, connections=connections),
    )
    return SesProvider(client, configuration_set=settings.configuration_set or None)


def ses_account_client(settings: Settings) -> SESV2Client:
    """Return an SES client for questions only, which boto3 may repeat as it likes."""
    client: SESV2Client = aws_client(settings.aws_conn_id, "sesv2", region_name=settings.region_name)
    return client


def events_client(settings: Settings) -> SQSClient:
    """Return an SQS client through ``aws_conn_id``, for as many threads as ``concurrency``.

    Its region is the one that the queue's URL names, else SES's own.
    """
    from botocore.config import Config

    named = re.search(r"\bsqs\.([a-z0-9-]+)\.", settings.events_queue_url)
    client: SQSClient = aws_client(
        settings.aws_conn_id,
        "sqs",
        region_name=named[1] if named else settings.region_name,
        configure=lambda own: own.merge(Config(max_pool_connections=max(10, settings.concurrency))),
    )
    return client


def _connection(conn_id: str, setting: str) -> Connection:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise InvalidInput(
            field=f"connection {conn_id}",
            reason="it does not exist",
            remedy=f"Create it in Airflow (Admin > Connections), or name another in [mailonce] {setting}",
        ) from error


def _postgres_ledger(connection: Connection, settings: Settings, connections: int) -> Ledger:
    from mailonce.ledgers.postgres import PostgresLedger

    conninfo = make_conninfo(
        host=connection.host or None,
        port=connection.port,
        user=connection.login or None,
        password=connection.password or None,
        dbname=connection.schema or None,
        application_name="mailonce",
        **{name: value for name, value in connection.extra_dejson.items() if name in _LIBPQ},
    )
    return PostgresLedger(conninfo, table=settings.ledger_table, connections=connections)


def _dynamodb_ledger(connection: Connection, settings: Settings, connections: int) -> Ledger:
    from botocore.config import Config

    from mailonce.direct_calls import USER_AGENT
    from mailonce.ledgers.dynamodb import DynamoDBLedger

    ours = Config(max_pool_connections=max(10, connections), user_agent=USER_AGENT)
    client = aws_client(
        connection.conn_id,
        "dynamodb",
        region_name=settings.region_name,
        configure=ours.merge,
    )
    return DynamoDBLedger(client, table=settings.ledger_table)


_LEDGERS: Mapping[str, Callable[[Connection, Settings, int], Ledger]] = {
    "postgres": _postgres_ledger,
    "aws": _dynamodb_ledger,
}

_LIBPQ = frozenset({"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "channel_binding", "target_session_attrs",
                    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
                    "hostaddr", "passfile", "service"})  # fmt: skip
"""What a connection's extra may hand to libpq; Airflow keeps things of its own in there too."""
