"""The whole table of troubles over real sockets, retried, cleared and run again: nobody gets two, nobody is lost unnamed.

The same deliveries as the monthly Dag's tasks make, without Airflow around them, on both ledgers.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from functools import partial

import boto3
import pytest
from botocore.config import Config

from mailonce.batch import deliver_all
from mailonce.errors import BatchIncomplete, NotSent
from mailonce.ledgers.base import Ledger
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.protocol import Tools
from mailonce.providers.ses import SesProvider, one_request
from mailonce.receipts import ReceiptsInMemory
from mailonce.states import State
from sandbox.ses import Behaviour, SesStandIn
from tests.fakes import make_delivery

THREADS = 8
MANY = 4
"""As often as this a lost answer would be asked for again by whoever repeats what is unknown."""

TABLE = {
    # what happens            how many, what each request meets, and how the key must end
    "throttled-twice": (10, [Behaviour.THROTTLE] * 2, State.SENT),
    "throttled-4-times": (10, [Behaviour.THROTTLE] * 4, State.SENT),
    "unavailable": (20, [Behaviour.UNAVAILABLE_503], State.IN_DOUBT),
    "dropped-before": (10, [Behaviour.DROP_BEFORE], State.IN_DOUBT),
    "reset-before": (10, [Behaviour.RESET_BEFORE], State.IN_DOUBT),
    "accepted-then-500": (5, [Behaviour.ACCEPT_THEN_500], State.IN_DOUBT),
    "accepted-then-500-again": (5, [Behaviour.ACCEPT_THEN_500] * MANY, State.IN_DOUBT),
    "accepted-then-hangs": (5, [Behaviour.ACCEPT_THEN_HANG], State.IN_DOUBT),
    "accepted-then-hangs-again": (5, [Behaviour.ACCEPT_THEN_HANG] * MANY, State.IN_DOUBT),
    "accepted-then-reset": (5, [Behaviour.ACCEPT_THEN_RESET], State.IN_DOUBT),
    "accepted-then-reset-again": (5, [Behaviour.ACCEPT_THEN_RESET] * MANY, State.IN_DOUBT),
    "accepted-then-garbled": (5, [Behaviour.ACCEPT_THEN_GARBLE], State.IN_DOUBT),
    "accepted-late": (5, [Behaviour.LATE_ACCEPT], State.IN_DOUBT),
    "rejected": (10, [Behaviour.REJECT] * MANY, State.REJECTED),
    "fine": (190, [], State.SENT),
}

RECIPIENTS = [(f"{what}-{number}", end) for what, (many, _, end) in TABLE.items() for number in range(many)]
DELIVERIES = {recipient: make_delivery(recipient) for recipient, _ in RECIPIENTS}


@pytest.fixture(
    params=[pytest.param("postgres", marks=pytest.mark.postgres), pytest.param("dynamodb", marks=pytest.mark.dynamodb)]
)
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    table = f"ledger_{uuid.uuid4().hex[:12]}"
    if request.param == "postgres":
        made: Ledger = PostgresLedger(
            request.getfixturevalue("postgres").create_database("faults"), table=table, connections=THREADS
        )
    else:
        made = DynamoDBLedger(request.getfixturevalue("local_aws").client("dynamodb"), table=table)
    yield made
    made.close()


@pytest.fixture
def tools(ledger: Ledger, ses: SesStandIn) -> Tools:
    for what, (many, behaviours, _) in TABLE.items():
        for number in range(many):
            ses.behave(DELIVERIES[f"{what}-{number}"].message.to, list(behaviours))
    client = boto3.client(
        "sesv2", endpoint_url=ses.url, region_name="eu-central-1", aws_access_key_id="local",
        aws_secret_access_key="local", config=one_request(Config(read_timeout=1, proxies={}), connections=THREADS),
    )  # fmt: skip
    return Tools(ledger=ledger, provider=SesProvider(client), receipts=ReceiptsInMemory(), by="test")


def try_all(tools: Tools) -> bool:
    """Try everybody once, as one try of a task would. :return: whether a retry could help anybody."""
    makers = [partial(DELIVERIES.__getitem__, recipient) for recipient, _ in RECIPIENTS]
    try:
        deliver_all(makers, tools, concurrency=THREADS)
    except BatchIncomplete as incomplete:
        return any(isinstance(error, NotSent) for error in incomplete.errors)
    return False


def test_nobody_gets_two_and_nobody_is_lost_unnamed(tools: Tools, ledger: Ledger, ses: SesStandIn) -> None:
    assert len(RECIPIENTS) == 300
    tries = 1
    while try_all(tools):
        tries += 1
    assert tries == 2  # four throttled answers in the first, then the mail
    requests = len(ses.requests)
    for _ in ("failed tasks cleared", "the whole month again"):
        assert not try_all(tools)
    assert len(ses.requests) == requests

    entries = {entry.identity.recipient_id: entry for entry in ledger.of_month("usage", "2030-01")}
    assert {recipient: entries[recipient].state for recipient, _ in RECIPIENTS} == dict(RECIPIENTS)
    mails = Counter(mail.tags["mailonce_key"] for mail in ses.mails)
    assert set(mails.values()) == {1}
    accepted = {recipient for recipient, delivery in DELIVERIES.items() if delivery.key in mails}
    assert {recipient for recipient, end in RECIPIENTS if end is State.SENT} <= accepted
    # Everybody who got none is named, with the reason.
    for recipient, _ in RECIPIENTS:
        assert recipient in accepted or entries[recipient].error
