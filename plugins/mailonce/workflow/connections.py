"""From Airflow's connections to a ledger and a provider. A new kind of ledger or provider is named here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from psycopg.conninfo import make_conninfo

from mailonce.errors import InvalidInput
from mailonce.ledgers.base import Ledger
from mailonce.privacy.pseudonyms import Pseudonyms
from mailonce.workflow.aws import aws_client
from mailonce.workflow.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from mypy_boto3_sesv2.client import SESV2Client
    from mypy_boto3_sqs.client import SQSClient

    from mailonce.providers.base import Provider
    from mailonce.providers.brevo import BrevoProvider
    from mailonce.providers.ses import SesProvider
    from mailonce.providers.smtp import SmtpProvider


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


def open_provider(settings: Settings, *, connections: int = 1) -> Provider:
    """Return who carries the mail, by the setting ``provider``.

    :param connections: how many requests are sent at once.
    :raises mailonce.errors.InvalidInput: the connection is missing, or lacks what is needed.
    """
    return _PROVIDERS[settings.provider](settings, connections)


def open_ses(settings: Settings, *, connections: int = 1) -> SesProvider:
    """Return Amazon SES, through the connection ``aws_conn_id``; the rest as :func:`open_provider`."""
    from mailonce.providers.ses import SesProvider, one_request

    client: SESV2Client = aws_client(
        settings.aws_conn_id,
        "sesv2",
        region_name=settings.region_name,
        configure=lambda own: one_request(own, connections=connections),
    )
    return SesProvider(client, configuration_set=settings.configuration_set or None)


def open_brevo(settings: Settings, *, connections: int = 1) -> BrevoProvider:
    """Return Brevo, through the connection ``brevo_conn_id``: its password is the API key; the rest as :func:`open_provider`."""
    from mailonce.providers.brevo import HOME, BrevoProvider

    connection = _connection(settings.brevo_conn_id, "brevo_conn_id")
    if not connection.password:
        raise _lacking(
            settings.brevo_conn_id, "it has no password", "Put the API key there (Brevo: SMTP & API > API keys)"
        )
    home = connection.host or HOME
    if "://" not in home:
        port = f":{connection.port}" if connection.port else ""
        home = f"{connection.schema or 'https'}://{home}{port}"
    return BrevoProvider(
        connection.password,
        home=home,
        connections=connections,
        **_seconds(connection, "connect_seconds", "read_seconds"),
    )


def open_smtp(settings: Settings) -> SmtpProvider:
    """Return a relay, through the connection ``smtp_conn_id``, whose fields are those of Airflow's own SMTP connections;
    the rest as :func:`open_provider`.
    """
    from mailonce.providers.smtp import Encryption, Relay, SmtpProvider

    connection = _connection(settings.smtp_conn_id, "smtp_conn_id")
    if not connection.host:
        raise _lacking(settings.smtp_conn_id, "it has no host", "Put the relay's name there")
    extra = connection.extra_dejson
    if extra.get("auth_type", "basic") != "basic":
        raise _lacking(
            settings.smtp_conn_id, f"auth_type {extra['auth_type']!r} is not known here", "Use login and password"
        )
    if not extra.get("disable_ssl", False):
        encryption = Encryption.IMPLICIT_TLS
    else:
        encryption = Encryption.NONE if extra.get("disable_tls", False) else Encryption.STARTTLS
    given = _seconds(connection, "timeout", "end_of_data_seconds")
    if "timeout" in given:
        given["seconds"] = given.pop("timeout")
    relay = Relay(
        host=connection.host,
        port=connection.port or 0,
        encryption=encryption,
        verify=extra.get("ssl_context", "default") != "none",
        login=connection.login or "",
        password=connection.password or "",
        **given,
    )
    return SmtpProvider(relay)


def ses_account_client(settings: Settings) -> SESV2Client:
    """Return an SES client for questions only, which boto3 may repeat as it likes."""
    client: SESV2Client = aws_client(settings.aws_conn_id, "sesv2", region_name=settings.region_name)
    return client


def erasure_key(settings: Settings) -> Pseudonyms | None:
    """Return what makes pseudonyms of erased addresses; None: the settings name no key.

    :raises mailonce.errors.InvalidInput: the connection is missing, or its password is too short for a key.
    """
    if not settings.erasure_conn_id:
        return None
    return Pseudonyms((_connection(settings.erasure_conn_id, "erasure_conn_id").password or "").encode())


def events_client(settings: Settings) -> SQSClient:
    """Return an SQS client for the queue of the provider's events, as :func:`queue_client` makes it."""
    return queue_client(settings, settings.events_queue_url)


def queue_client(settings: Settings, queue_url: str) -> SQSClient:
    """Return an SQS client through ``aws_conn_id``, for as many threads as ``concurrency``.

    Its region is the one that the queue's URL names, else SES's own.
    """
    from botocore.config import Config

    named = re.search(r"\bsqs\.([a-z0-9-]+)\.", queue_url)
    client: SQSClient = aws_client(
        settings.aws_conn_id,
        "sqs",
        region_name=named[1] if named else settings.region_name,
        configure=lambda own: own.merge(Config(max_pool_connections=max(10, settings.concurrency))),
    )
    return client


def _lacking(conn_id: str, reason: str, remedy: str) -> InvalidInput:
    return InvalidInput(field=f"connection {conn_id}", reason=reason, remedy=remedy)


def _seconds(connection: Connection, *names: str) -> dict[str, float]:
    """Return those of the time-outs that the connection's extra gives."""
    given = {name: connection.extra_dejson[name] for name in names if connection.extra_dejson.get(name) is not None}
    try:
        seconds = {name: float(value) for name, value in given.items()}
    except (TypeError, ValueError) as error:
        raise _lacking(
            str(connection.conn_id), f"a time-out in its extra is no number ({error})", "Write seconds"
        ) from error
    if short := [name for name, value in seconds.items() if value <= 0]:
        raise _lacking(str(connection.conn_id), f"{short[0]} is not above 0", "Write seconds")
    return seconds


def _connection(conn_id: str, setting: str) -> Connection:
    from mailonce.compatibility import AirflowNotFoundException, BaseHook

    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise InvalidInput(
            field=f"connection {conn_id}",
            reason="it does not exist",
            remedy=f"Create it in Airflow (Admin > Connections), or name another in [mailonce] {setting}",
        ) from error


def ledger_conninfo(settings: Settings) -> str | None:
    """Return the libpq connection string of the ledger's database; None: the ledger is not in PostgreSQL.

    :raises mailonce.errors.InvalidInput: the connection is missing.
    """
    connection = _connection(settings.ledger_conn_id, "ledger_conn_id")
    return _conninfo(connection) if connection.conn_type == "postgres" else None


def _conninfo(connection: Connection) -> str:
    return make_conninfo(
        host=connection.host or None,
        port=connection.port,
        user=connection.login or None,
        password=connection.password or None,
        dbname=connection.schema or None,
        application_name="mailonce",
        **{name: value for name, value in connection.extra_dejson.items() if name in _LIBPQ},
    )


def _postgres_ledger(connection: Connection, settings: Settings, connections: int) -> Ledger:
    from mailonce.ledgers.postgres import PostgresLedger

    return PostgresLedger(_conninfo(connection), table=settings.ledger_table, connections=connections)


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

_PROVIDERS: Mapping[str, Callable[[Settings, int], Provider]] = {
    "ses": lambda settings, connections: open_ses(settings, connections=connections),
    "brevo": lambda settings, connections: open_brevo(settings, connections=connections),
    "smtp": lambda settings, _connections: open_smtp(settings),  # each thread has one of its own
}

_LIBPQ = frozenset({"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "channel_binding", "target_session_attrs",
                    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
                    "hostaddr", "passfile", "service"})  # fmt: skip
"""What a connection's extra may hand to libpq; Airflow keeps things of its own in there too."""
