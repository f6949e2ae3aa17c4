"""Sends mails in one of several ways, in a process of its own, and tells what it took: the work that is measured.

Every way sends the same mails with the same number of threads; each has its client made and its connections warmed
before the clock starts. ``python -m benchmarks.sender ORDER``, the order and the answer being JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from mailonce.batch import deliver_all, threads_of
from mailonce.delivery import Delivery
from mailonce.direct_calls import USER_AGENT
from mailonce.journal import Journal
from mailonce.keys import Identity, statement_key
from mailonce.ledgers.base import Ledger
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.ledgers.grouped import grouped
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.messages.message import Message
from mailonce.protocol import Result, Tools
from mailonce.providers.ses import SesProvider, one_request
from mailonce.receipts import ReceiptsInMemory

WARM = 64
"""So many mails are sent before the clock starts."""

BODY = "You used 3 units of everything this month, which is as much as last month.\n" * 50
"""About 4 KB of text, and as much again as HTML: an ordinary statement."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to send, and how.

    :param way: a name of :data:`WAYS`. :param mails: how many are counted. :param ses: the provider's address.
    :param ledger: where the ledger is: libpq connection string, or the address of a DynamoDB API.
    """

    way: str
    mails: int
    threads: int
    ses: str
    ledger: str = ""
    table: str = "benchmark"
    count_writes: bool = False


@dataclass(frozen=True, kw_only=True)
class Took:
    """What it took.

    :param seconds: from the first mail to the last answer. :param cpu_seconds: of this process.
    :param writes: requests that wrote to the ledger, where they are counted.
    """

    seconds: float
    cpu_seconds: float
    writes: int = 0


Send = Callable[[Sequence[Delivery]], None]


def deliveries(count: int) -> list[Delivery]:
    """Return mails with keys that nobody has used before."""
    month = uuid.uuid4().hex
    made = []
    for number in range(count):
        identity = Identity(campaign="benchmark", period=month, recipient_id=f"C-{number:06}", edition="original")
        message = Message(
            sender="Usage <usage@example.com>",
            to=f"customer-{number}@example.org",
            subject="Your month",
            text=BODY,
            html=f"<html><body><p>{BODY}</p></body></html>",
        )
        made.append(Delivery(identity=identity, key=statement_key(identity, {}, message), message=message))
    return made


def client(service: str, url: str, config: Config) -> Any:
    """Return a boto3 client of a server on this machine."""
    session: Any = boto3.session.Session()
    return session.client(
        service, endpoint_url=url, region_name="eu-central-1", aws_access_key_id="local",
        aws_secret_access_key="local", config=config,
    )  # fmt: skip


def plain(order: Order) -> Send:
    """boto3 in threads, and nothing else: what a loop without a ledger costs."""
    send = _plain_call(order)
    return lambda mails: _in_threads(order.threads, send, mails)


def _plain_call(order: Order) -> Callable[[Delivery], dict[str, Any]]:
    ses = client("sesv2", order.ses, Config(max_pool_connections=order.threads))

    def send(delivery: Delivery) -> dict[str, Any]:
        mail = delivery.message
        answer: dict[str, Any] = ses.send_email(
            FromEmailAddress=mail.sender,
            Destination={"ToAddresses": [mail.to]},
            Content={
                "Simple": {
                    "Subject": {"Data": mail.subject, "Charset": "UTF-8"},
                    "Body": {
                        "Text": {"Data": mail.text, "Charset": "UTF-8"},
                        "Html": {"Data": mail.html, "Charset": "UTF-8"},
                    },
                }
            },
            EmailTags=[{"Name": name, "Value": value} for name, value in delivery.tags.items()],
        )
        return answer

    return send


def _in_threads(threads: int, send: Callable[[Delivery], Any], mails: Sequence[Delivery]) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(send, mails):
            pass


def powertools(order: Order) -> Send:
    """The same call inside AWS Lambda Powertools' idempotency, with its DynamoDB layer and its default settings."""
    from aws_lambda_powertools.utilities.idempotency import (
        DynamoDBPersistenceLayer,
        IdempotencyConfig,
        idempotent_function,
    )

    dynamodb = _counted(client("dynamodb", order.ledger, Config(max_pool_connections=order.threads)), order)
    layer = DynamoDBPersistenceLayer(table_name=_powertools_table(dynamodb), boto3_client=dynamodb)
    call = _plain_call(order)
    by_key: dict[str, Delivery] = {}

    @idempotent_function(  # type: ignore[untyped-decorator]
        data_keyword_argument="key", persistence_store=layer, config=IdempotencyConfig()
    )
    def send_once(*, key: str) -> str:
        return str(call(by_key[key])["MessageId"])

    def send(mails: Sequence[Delivery]) -> None:
        by_key.update({mail.key: mail for mail in mails})
        _in_threads(order.threads, lambda mail: send_once(key=mail.key), mails)

    return send


def _powertools_table(dynamodb: Any) -> str:
    name = f"powertools-{uuid.uuid4().hex[:12]}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(TableName=name)
    return name


_WRITES: Counter[str] = Counter()
_WRITING = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchExecuteStatement")


def _counted(dynamodb: Any, order: Order) -> Any:
    """Count the writing requests of a client, as they leave; each way is slowed alike."""
    if order.count_writes:
        dynamodb.meta.events.register("before-send.dynamodb", _count)
    return dynamodb


def _count(event_name: str, **_: Any) -> None:
    _WRITES.update(name for name in _WRITING if event_name.endswith(name))


def on_postgres(order: Order) -> Send:
    """Batches of this package, with the ledger in PostgreSQL."""
    return _ledgered(order, PostgresLedger(order.ledger, table=order.table, connections=threads_of(order.threads) + 1))


def on_dynamodb(order: Order) -> Send:
    """Batches of this package, with the ledger in DynamoDB."""
    # As `workflow.connections` makes it.
    config = Config(max_pool_connections=threads_of(order.threads) + 1, user_agent=USER_AGENT)
    dynamodb = _counted(client("dynamodb", order.ledger, config), order)
    return _ledgered(order, DynamoDBLedger(dynamodb, table=order.table))


def _ledgered(order: Order, ledger: Ledger) -> Send:
    ledger.prepare()
    provider = SesProvider(client("sesv2", order.ses, one_request(connections=order.threads)))

    def send(mails: Sequence[Delivery]) -> None:
        with tempfile.TemporaryDirectory() as folder, closing(Journal(Path(folder))) as journal:
            tools = Tools(
                ledger=grouped(ledger),
                provider=provider,
                receipts=ReceiptsInMemory(),
                by=f"benchmark process {os.getpid()}",
                journal=journal,
            )
            tally = deliver_all([partial(_same, mail) for mail in mails], tools, concurrency=order.threads)
        assert tally.results == {Result.SENT: len(mails)}

    return send


def _same(delivery: Delivery) -> Delivery:
    return delivery


WAYS: dict[str, Callable[[Order], Send]] = {
    "boto3": plain,
    "powertools": powertools,
    "mailonce on PostgreSQL": on_postgres,
    "mailonce on DynamoDB": on_dynamodb,
}


def measure(order: Order) -> Took:
    """Send what is ordered, and say what it took."""
    send = WAYS[order.way](order)
    send(deliveries(WARM))
    mails = deliveries(order.mails)
    _WRITES.clear()
    began, cpu = time.perf_counter(), time.process_time()
    send(mails)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    return Took(seconds=seconds, cpu_seconds=cpu_seconds, writes=_WRITES.total())


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    print(json.dumps(vars(measure(Order(**json.loads(sys.argv[1]))))))
