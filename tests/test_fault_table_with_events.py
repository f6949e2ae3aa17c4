"""The same table of troubles with the provider's events and ``resend``: everybody gets theirs, once, without any help.

Who was accepted is known by the event before the claim is settled; so a resend meets only those who were not.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from mailonce.batch import deliver_all
from mailonce.delivery import Timing
from mailonce.doubt import DoubtRules, InDoubtPolicy
from mailonce.errors import BatchIncomplete, Rejected
from mailonce.ledgers.base import Ledger
from mailonce.protocol import Tools
from mailonce.providers.ses import SesProvider, one_request
from mailonce.receipts import ReceiptsInMemory
from mailonce.states import State
from mailonce.workflow.events.draining import Drain
from mailonce.workflow.events.queue import EventQueue
from mailonce.workflow.events.set_aside import SetAside
from sandbox.aws import REGION, LocalAws
from sandbox.ses import SesStandIn, SqsEvents
from tests.test_fault_table import DELIVERIES, RECIPIENTS, TABLE, THREADS, ledger

__all__ = ["ledger"]  # the fixture with both kinds of ledger

WINDOW, SIGNATURE_AGE = 5.0, 5.0


@pytest.fixture
def queue_url(local_aws: LocalAws) -> str:
    return str(local_aws.client("sqs").create_queue(QueueName=f"events-{uuid.uuid4().hex[:12]}")["QueueUrl"])


@pytest.fixture
def hostile(local_aws: LocalAws, queue_url: str) -> Iterator[SesStandIn]:
    events = SqsEvents(queue_url, endpoint_url=local_aws.url, region_name=REGION)
    with SesStandIn(
        hang_seconds=30, slow_seconds=0.1, late_seconds=0.1, signature_max_age=SIGNATURE_AGE, events=events
    ) as standin:  # fmt: skip
        for what, (many, behaviours, _) in TABLE.items():
            for number in range(many):
                standin.behave(DELIVERIES[f"{what}-{number}"].message.to, list(behaviours))
        yield standin


def test_everybody_gets_theirs_once_without_any_help(
    ledger: Ledger, hostile: SesStandIn, queue_url: str, local_aws: LocalAws, tmp_path: Path
) -> None:
    queue = EventQueue(local_aws.client("sqs"), queue_url)
    client = boto3.client(
        "sesv2", endpoint_url=hostile.url, region_name=REGION, aws_access_key_id="local",
        aws_secret_access_key="local", config=one_request(Config(read_timeout=1, proxies={}), connections=THREADS),
    )  # fmt: skip
    tools = Tools(
        ledger=ledger,
        provider=SesProvider(client, configuration_set="statements"),
        receipts=ReceiptsInMemory(),
        by="test",
        # Settled when no signature of the claim can be young enough for this server any more.
        timing=Timing(window=timedelta(seconds=WINDOW), settle=timedelta(seconds=SIGNATURE_AGE)),
        doubt=DoubtRules(policy=InDoubtPolicy.RESEND, patience=timedelta(minutes=5)),
        events_drained_at=lambda: ledger.epoch.read().events_drained_at,
    )
    makers = [partial(DELIVERIES.__getitem__, recipient) for recipient, _ in RECIPIENTS]
    unresolved: tuple[Exception, ...] = (Exception(),)
    while any(not isinstance(error, Rejected) for error in unresolved):
        try:
            deliver_all(makers, tools, concurrency=THREADS)
            unresolved = ()
        except BatchIncomplete as incomplete:
            unresolved = incomplete.errors
        Drain(queue, ledger, SetAside(f"file://{tmp_path}"), threads=2).run()

    mails = Counter(mail.tags["mailonce_key"] for mail in hostile.mails)
    rejected = {DELIVERIES[f"rejected-{number}"].key for number in range(TABLE["rejected"][0])}
    assert mails == Counter({delivery.key: 1 for delivery in DELIVERIES.values() if delivery.key not in rejected})
    assert len(mails) == 290
    states = Counter(entry.state for entry in ledger.of_month("usage", "2030-01"))
    assert states == {State.SENT: 290, State.REJECTED: 10}
