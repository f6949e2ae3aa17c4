"""The two real ledgers, as the doctor sees them: before there is one, and afterwards."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest

from mailonce.doctor import clocks, ledger
from mailonce.doctor import installation as installation_module
from mailonce.doctor.examination import examine
from mailonce.doctor.installation import Installation
from mailonce.findings import Severity
from mailonce.workflow import connections, ledger_witness
from sandbox.aws import LocalAws
from sandbox.postgres import EmbeddedPostgres
from tests.doctor.conftest import Install, bad

OCTOBER = {"campaign": "usage", "period": "2026-10"}
CHECKS = {"ledger": ledger.check, "clock": clocks.ledger}


@pytest.fixture
def of_real_ledger(install: Install, connect: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make an installation with a ledger of its own."""
    made: list[Installation] = []

    def make(**connection: Any) -> Installation:
        connect("mailonce_ledger", **connection)
        monkeypatch.setattr(installation_module, "open_ledger", connections.open_ledger)
        made.append(install(ledger_table=f"doctor_{uuid.uuid4().hex[:8]}"))
        return made[-1]

    yield make
    for installation in made:
        installation.close()


def found_before_and_after(installation: Installation) -> None:
    before = examine(installation, CHECKS)
    assert any("There is no " in finding.found for finding in before.findings)
    assert before.of(Severity.ERROR) == []
    assert installation.epoch is None
    again = Installation(installation.settings, **OCTOBER)
    assert again.ledger.prepare() is True  # so it was not made by looking
    assert bad(examine(again, CHECKS).findings) == []
    assert ledger_witness.remember(again.settings, again.ledger, **OCTOBER) == []
    assert bad(examine(Installation(installation.settings), CHECKS).findings) == []
    again.close()


@pytest.mark.postgres
def test_looking_at_postgresql_makes_no_table(of_real_ledger: Any, postgres: EmbeddedPostgres) -> None:
    postgres.create_database("doctor")
    installation = of_real_ledger(**postgres.connection("doctor"))
    found_before_and_after(installation)
    table = installation.settings.ledger_table
    with psycopg.connect(postgres.dsn("doctor"), autocommit=True) as connection:
        connection.execute(f"DROP TABLE {table} CASCADE")  # as somebody might, who tidies up
    gone = Installation(installation.settings, **OCTOBER)
    assert [severity for severity, _ in bad(examine(gone, CHECKS).findings)].count("error") >= 1
    gone.close()


@pytest.mark.dynamodb
def test_looking_at_dynamodb_makes_no_table(of_real_ledger: Any, local_aws: LocalAws) -> None:
    extra = {"region_name": "eu-central-1", "endpoint_url": local_aws.url}
    installation = of_real_ledger(conn_type="aws", login="local", password="local", extra=extra)
    found_before_and_after(installation)
    client = local_aws.client("dynamodb")
    table = installation.settings.ledger_table
    client.update_table(TableName=table, DeletionProtectionEnabled=False)
    client.delete_table(TableName=table)
    gone = Installation(installation.settings, **OCTOBER)
    errors = [text for severity, text in bad(examine(gone, CHECKS).findings) if severity == "error"]
    assert len(errors) == 1
    assert "it knows less than when it mailed usage.2026-10" in errors[0]
    assert gone.epoch is None
