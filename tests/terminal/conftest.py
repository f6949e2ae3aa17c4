"""A ledger with one mail that was sent and one that is held, in memory and in PostgreSQL, behind the terminal tool."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailonce.delivery import Conclusion
from mailonce.ledgers.base import Ledger
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.states import State
from mailonce.terminal import output
from mailonce.workflow.settings import Settings
from sandbox.postgres import EmbeddedPostgres
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery

CAMPAIGN = "monthly_usage"
SENT = make_delivery("C-1", campaign=CAMPAIGN)
HELD = make_delivery("C-2", campaign=CAMPAIGN)
MONTH = SENT.identity.period


@pytest.fixture(scope="session")
def terminal_server(postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    postgres.create_database("terminal")
    return postgres


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_ledger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger that the commands open, without a row."""
    if request.param == "memory":
        shared = MemoryLedger()
        monkeypatch.setattr(output, "open_the_ledger", lambda: shared)
        yield shared
        return
    dsn = request.getfixturevalue("terminal_server").dsn("terminal")
    table = f"ledger_{uuid.uuid4().hex[:12]}"
    monkeypatch.setattr(output, "open_the_ledger", lambda: PostgresLedger(dsn, table=table))
    ledger = PostgresLedger(dsn, table=table)
    yield ledger
    ledger.close()


@pytest.fixture
def ledger(empty_ledger: Ledger) -> Ledger:
    """One mail sent, one in doubt."""
    conclude(empty_ledger, SENT, Conclusion(state=State.SENT, message_id="m-1"))
    conclude(empty_ledger, HELD, Conclusion(state=State.IN_DOUBT, error="no answer came"))
    return empty_ledger


@pytest.fixture
def snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where snapshots and certificates are."""
    uri = f"file://{tmp_path}/snapshots"
    settings = Settings(
        snapshot_uri=uri, template_root=str(tmp_path / "include" / "templates"), sender="billing@example.com"
    )
    monkeypatch.setattr(output, "load_settings", lambda: settings)
    return uri


def conclude(ledger: Ledger, delivery: Any, conclusion: Conclusion) -> None:
    claim = make_claim(delivery)
    ledger.claim(claim)
    ledger.conclude(delivery.key, claim.token, conclusion)
