"""Each ledger behind one fixture: the same tests run against all of them, each test on a fresh table."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from mailonce.ledgers.base import Ledger
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.ledgers.grouped import GroupedLedger
from mailonce.ledgers.postgres import PostgresLedger
from sandbox.aws import LocalAws
from sandbox.postgres import EmbeddedPostgres
from tests.fake_ledger import MemoryLedger

MakeLedger = Callable[[], Ledger]
"""Makes one more ledger on the test's table, as another worker would."""

THREADS = 32


@pytest.fixture(scope="session")
def postgres_server(postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    """The session's server, with a database for ledgers."""
    postgres.create_database("ledgers")
    return postgres


@pytest.fixture
def dsn(postgres_server: EmbeddedPostgres) -> str:
    return postgres_server.dsn("ledgers")


@pytest.fixture
def hand(dsn: str) -> Iterator[psycopg.Connection]:
    """A person at PostgreSQL's prompt."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def dynamodb_client(local_aws: LocalAws) -> Any:
    return local_aws.client("dynamodb")


@pytest.fixture
def table() -> str:
    return f"ledger_{uuid.uuid4().hex[:12]}"


@pytest.fixture(
    params=[
        "memory",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("dynamodb", marks=pytest.mark.dynamodb),
        "memory, grouped",
        pytest.param("postgres, grouped", marks=pytest.mark.postgres),
    ]
)
def make_ledger(request: pytest.FixtureRequest, table: str) -> Iterator[MakeLedger]:
    kind, _, in_groups = request.param.partition(", ")
    with ExitStack() as opened:
        if kind == "memory":
            shared = MemoryLedger()
            yield lambda: GroupedLedger(shared) if in_groups else shared
        elif kind == "postgres":
            server = request.getfixturevalue("postgres_server")

            def postgres() -> Ledger:
                ledger = PostgresLedger(server.dsn("ledgers"), table=table, connections=THREADS)
                opened.callback(ledger.close)
                return GroupedLedger(ledger) if in_groups else ledger

            yield postgres
        else:
            client = request.getfixturevalue("dynamodb_client")
            yield lambda: DynamoDBLedger(client, table=table)


@pytest.fixture
def ledger(make_ledger: MakeLedger) -> Ledger:
    return make_ledger()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as threads:
        yield threads
