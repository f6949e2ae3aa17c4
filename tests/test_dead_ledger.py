"""The mail is accepted, and the ledger is dead when it should be told: a real PostgreSQL, really stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from mailonce.delivery import Entry, Timing
from mailonce.errors import LedgerUnavailable
from mailonce.journal import Journal
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.protocol import Result, Step, Tools, deliver
from mailonce.providers.ses import SesProvider, one_request
from mailonce.receipts import ReceiptsInMemory
from mailonce.recording import record_kept_receipts
from mailonce.recovery import recover
from mailonce.states import State
from sandbox.postgres import EmbeddedPostgres
from sandbox.ses import SesStandIn
from tests.fakes import make_delivery

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of these tests' own: nobody else's must be stopped."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("mortal")) as started:
        started.create_database("ledger")
        yield started


@pytest.fixture
def ledger(server: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[PostgresLedger]:
    made = PostgresLedger(
        server.dsn("ledger"), table=f"t_{abs(hash(request.node.name))}", patience=timedelta(seconds=20)
    )  # fmt: skip
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def tools(ledger: PostgresLedger, ses: SesStandIn, server: EmbeddedPostgres) -> Tools:
    """Tools with which the ledger dies between the provider's answer and the record."""
    client = boto3.client(
        "sesv2", endpoint_url=ses.url, region_name="eu-central-1", aws_access_key_id="local",
        aws_secret_access_key="local", config=one_request(Config(proxies={})),
    )  # fmt: skip

    def reached(step: Step) -> None:
        if step is Step.ACCEPTED:
            server.stop("immediate")

    return Tools(
        ledger=ledger, provider=SesProvider(client), receipts=ReceiptsInMemory(), by="try 1", reached=reached,
        timing=Timing(record_patience=timedelta(seconds=60)),
    )  # fmt: skip


def row(ledger: PostgresLedger) -> Entry:
    (entry,) = ledger.find([make_delivery().key])
    return entry


def living(tools: Tools, **changes: object) -> Tools:
    """The next try's tools: nothing dies any more."""
    return replace(tools, reached=lambda _step: None, by="try 2", **changes)  # type: ignore[arg-type]


def test_the_record_waits_until_the_ledger_is_back(
    tools: Tools, ledger: PostgresLedger, ses: SesStandIn, server: EmbeddedPostgres
) -> None:
    back = threading.Timer(5, server.start)
    back.start()
    result, entry = deliver(make_delivery(), tools)
    back.join()
    (mail,) = ses.mails
    assert (result, entry.state, entry.message_id) == (Result.SENT, State.SENT, mail.message_id)
    assert row(ledger).message_id == mail.message_id
    assert not tools.receipts.kept()


def test_a_ledger_that_does_not_come_back_is_told_by_the_next_try(
    tools: Tools, ledger: PostgresLedger, ses: SesStandIn, server: EmbeddedPostgres
) -> None:
    tools = replace(tools, timing=Timing(record_patience=timedelta(seconds=1)))
    with pytest.raises(LedgerUnavailable):
        deliver(make_delivery(), tools)
    (mail,) = ses.mails
    (kept,) = tools.receipts.kept()
    assert (kept.key, kept.message_id) == (make_delivery().key, mail.message_id)

    server.start()
    assert row(ledger).state is State.SENDING
    assert record_kept_receipts(living(tools)) == {}
    assert (row(ledger).state, row(ledger).message_id) == (State.SENT, mail.message_id)
    assert deliver(make_delivery(), living(tools))[0] is Result.ALREADY_SENT
    assert len(ses.requests) == 1


def test_the_journal_tells_it_too_when_the_second_store_is_lost(
    tools: Tools, ledger: PostgresLedger, ses: SesStandIn, server: EmbeddedPostgres, tmp_path: Path
) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(LedgerUnavailable):
        deliver(
            make_delivery(), replace(tools, timing=Timing(record_patience=timedelta(seconds=1)), journal=journal)
        )  # fmt: skip
    journal.close()
    server.start()
    recover(tmp_path, ledger, young=timedelta(0))
    assert (row(ledger).state, row(ledger).message_id) == (State.SENT, ses.mails[0].message_id)
    assert deliver(make_delivery(), living(tools, receipts=ReceiptsInMemory()))[0] is Result.ALREADY_SENT
    assert len(ses.requests) == 1
