"""The ledgers that the matrix is run on, and worker processes for the tests that tell their own stories."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailonce.crashes.orders import LedgerMaker
from mailonce.crashes.workers import Workers
from sandbox.aws import LocalAws
from sandbox.postgres import EmbeddedPostgres


@pytest.fixture(
    scope="session",
    params=[pytest.param("postgres", marks=pytest.mark.postgres), pytest.param("dynamodb", marks=pytest.mark.dynamodb)],
)
def mailonce_crash_ledger(request: pytest.FixtureRequest) -> LedgerMaker:
    """Overrides the plugin's own fixture, as a user would."""
    table = f"ledger_{uuid.uuid4().hex[:12]}"
    if request.param == "postgres":
        postgres: EmbeddedPostgres = request.getfixturevalue("postgres")
        conninfo = postgres.create_database("crashes")
        return LedgerMaker(name="tests.crashes.ledgers:postgres", arguments={"conninfo": conninfo, "table": table})
    local_aws: LocalAws = request.getfixturevalue("local_aws")
    return LedgerMaker(name="tests.crashes.ledgers:dynamodb", arguments={"url": local_aws.url, "table": table})


@pytest.fixture(scope="session")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with Workers(tmp_path_factory.mktemp("workers") / "log") as started:
        yield started


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    """The first machine's folder of journals."""
    folder = tmp_path / "journals"
    folder.mkdir()
    return folder
