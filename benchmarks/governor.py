"""Many workers under one rate: how much of it is used, and how much of what is sent is refused for coming too fast.

A server that enforces a rate (a token bucket) counts; the workers are processes of their own, that share nothing but the
ledger. ``python -m benchmarks.governor --workers 20 --mails 2000 --rate 50`` takes 800 seconds; the default one minute.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from mailonce.batch import deliver_all
from mailonce.delivery import Delivery
from mailonce.errors import BatchIncomplete, InDoubt
from mailonce.journal import Journal
from mailonce.keys import Identity, statement_key
from mailonce.ledgers.base import Ledger
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.ledgers.grouped import grouped
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.messages.message import Message
from mailonce.pace import Pace
from mailonce.protocol import Tools
from mailonce.providers.ses import SesProvider, one_request
from mailonce.receipts import ReceiptsInMemory
from mailonce.recovery import recover
from sandbox.aws import ACCESS_KEY, REGION, SECRET_KEY, LocalAws
from sandbox.postgres import EmbeddedPostgres
from sandbox.ses import SesStandIn
from sandbox.ses.records import Request, moment_of

log = logging.getLogger(__name__)

ACCOUNT = "aws_default"
FIRST_SECOND = 1.0
"""Refusals before that are not counted: nobody can know yet how fast others are."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one worker does.

    :param ledger: a PostgreSQL address, or the URL of a DynamoDB API. :param journal: folder of its journals.
    """

    ledger: str
    provider: str
    worker: int
    mails: int
    threads: int
    journal: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the server saw.

    :param seconds: from the first request to the last. :param throttled: share of the requests after the first second
        that were refused. :param used: share of the allowed rate that was accepted.
    :param spread: the slowest worker's time by the quickest's: 1 is perfectly fair.
    :param duplicates: mails beyond the first of a key. :param missing: keys without a mail.
    """

    seconds: float
    throttled: float
    used: float
    spread: float
    duplicates: int
    missing: int


def measure(ledger: str, *, workers: int, mails: int, rate: float, threads: int = 8, limit: float = 0) -> Measured:
    """Let so many workers send so many mails each, all at once, through a server that enforces the rate.

    :param ledger: see :class:`Order`. :param limit: what the workers take the rate to be; 0: what it is.
    """
    with closing(open_ledger(ledger, threads=1)) as opened:
        opened.prepare()
        opened.rate.limit(ACCOUNT, limit or rate)
    with (
        SesStandIn(rate=rate, burst=rate, latency=0.02) as ses,
        tempfile.TemporaryDirectory() as journal,
        ExitStack() as started,
    ):
        order = Order(ledger=ledger, provider=ses.url, worker=0, mails=mails, threads=threads, journal=journal)
        processes = [started.enter_context(worker(replace(order, worker=number))) for number in range(workers)]
        for process in processes:
            begin(process)
        for process in processes:
            process.wait()
            assert process.returncode == 0, "a worker did not deliver everything"
        return judge(ses.requests, workers=workers, mails=mails, rate=rate)


def judge(requests: list[Request], *, workers: int, mails: int, rate: float) -> Measured:
    """Return what a server's record of its requests tells. Pure."""
    arrived = [moment_of(request.arrived_at).timestamp() for request in requests]
    begun, ended = min(arrived), max(arrived)
    later = [request for request, at in zip(requests, arrived, strict=True) if at >= begun + FIRST_SECOND]
    accepted = [request for request in requests if request.accepted]
    keys = {request.tags["mailonce_key"] for request in accepted}
    last: dict[str, float] = {}
    for request, at in zip(requests, arrived, strict=True):
        whose = request.tags["mailonce_edition"]
        last[whose] = max(at, last.get(whose, at))
    return Measured(
        seconds=ended - begun,
        throttled=sum(request.status == 429 for request in later) / max(1, len(later)),
        used=len(accepted) / (rate * (ended - begun)),
        spread=(max(last.values()) - begun) / (min(last.values()) - begun),
        duplicates=len(accepted) - len(keys),
        missing=workers * mails - len(keys),
    )


@contextmanager
def worker(order: Order) -> Iterator[subprocess.Popen[str]]:
    """Start a worker, and return it when it is ready to begin."""
    command = [sys.executable, "-m", "benchmarks.governor", "--order", json.dumps(asdict(order))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "a worker could not start"
        yield process
    finally:
        process.kill()
        process.wait()


def begin(process: subprocess.Popen[str]) -> None:
    """Tell a worker to begin."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def work(order: Order) -> None:
    """Deliver one worker's mails, once told to; again and again, as Airflow would, until only those in doubt are left."""
    provider = SesProvider(boto3.client(
        "sesv2", endpoint_url=order.provider, region_name=REGION, aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY, config=one_request(Config(proxies={}), connections=order.threads),
    ))  # fmt: skip
    makers = [partial(delivery, order.worker, number) for number in range(order.mails)]
    folder = Path(order.journal)
    with (
        closing(grouped(open_ledger(order.ledger, threads=order.threads))) as ledger,
        closing(Journal(folder)) as journal,
    ):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        unresolved: Sequence[Exception] = [Exception()]
        while not all(isinstance(error, InDoubt) for error in unresolved):
            tools = Tools(
                ledger=ledger, provider=provider, receipts=ReceiptsInMemory(), by=f"worker {order.worker}",
                journal=journal, pace=Pace(ledger.rate, ACCOUNT),
            )  # fmt: skip
            recover(folder, ledger)  # as each try of a task does
            try:
                deliver_all(makers, tools, concurrency=order.threads)
                unresolved = []
            except BatchIncomplete as incomplete:
                log.warning("%s", incomplete)
                unresolved = incomplete.errors
                time.sleep(1)


def delivery(worker: int, number: int) -> Delivery:
    """Return one of a worker's mails."""
    identity = Identity(campaign="governor", period="2030-01", recipient_id=f"C-{number}", edition=f"worker-{worker}")
    message = Message(
        sender="billing@example.com", to=f"c-{worker}-{number}@example.com", subject="Your month", text="3 units"
    )
    return Delivery(identity=identity, key=statement_key(identity, {}, message), message=message)


def open_ledger(ledger: str, *, threads: int) -> Ledger:
    """Open a ledger, see :class:`Order`."""
    if not ledger.startswith("http"):
        return PostgresLedger(ledger, connections=threads)
    return DynamoDBLedger(boto3.client(
        "dynamodb", endpoint_url=ledger, region_name=REGION, aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY, config=Config(proxies={}, max_pool_connections=threads + 2),
    ))  # fmt: skip


@contextmanager
def _store(kind: str) -> Iterator[str]:
    if kind == "dynamodb":
        with LocalAws() as aws:
            yield aws.url
    else:
        with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
            yield server.create_database("governor")


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print what was measured as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--mails", type=int, default=150, help="of each worker")
    parser.add_argument("--rate", type=float, default=50, help="mails a second that the server allows, and its burst")
    parser.add_argument("--limit", type=float, default=0, help="what the workers take it to be, if that is another")
    parser.add_argument("--threads", type=int, default=8, help="of each worker")
    parser.add_argument("--ledger", choices=["postgres", "dynamodb"], default="postgres")
    parser.add_argument("--order", help=argparse.SUPPRESS)
    given: Any = parser.parse_args(arguments)
    if given.order:
        work(Order(**json.loads(given.order)))
        return
    with _store(given.ledger) as ledger:
        setting = {name: getattr(given, name) for name in ("workers", "mails", "rate", "threads", "limit")}
        found = measure(ledger, **setting)
    sys.stdout.write(json.dumps({"ledger": given.ledger, **setting, **asdict(found)}) + "\n")


if __name__ == "__main__":
    main()
