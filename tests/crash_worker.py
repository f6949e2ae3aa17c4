"""One worker in a process of its own, which kills itself at a named step: run by test_crashes.py, and no test itself."""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import timedelta

from mailonce.delivery import Timing
from mailonce.errors import MailonceError
from mailonce.ledgers.base import Ledger
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.ledgers.postgres import PostgresLedger
from mailonce.protocol import Step, Tools, deliver
from mailonce.providers.ses import SesProvider, one_request
from mailonce.receipts import ReceiptsInMemory
from tests.fakes import make_delivery


def main() -> None:
    """Deliver once as told on the command line, and print the result or the error's name."""
    order = json.loads(sys.argv[1])

    def reached(step: Step) -> None:
        if step.name == order["die_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if step.name == order.get("freeze_at"):
            os.kill(os.getpid(), signal.SIGSTOP)

    tools = Tools(
        ledger=open_ledger(order),
        provider=SesProvider(client("sesv2", order["ses"], one_request())),
        receipts=ReceiptsInMemory(),
        by=f"process {os.getpid()}",
        timing=Timing(window=timedelta(seconds=order["window"]), settle=timedelta(seconds=order.get("settle", 1200))),
        reached=reached,
    )
    try:
        result, _ = deliver(make_delivery(order["recipient"]), tools)
        print(result.name)
    except MailonceError as error:
        print(type(error).__name__)


def open_ledger(order: dict[str, str]) -> Ledger:
    """Return the ledger that the order names."""
    if order["kind"] == "postgres":
        return PostgresLedger(order["ledger"], table=order["table"])
    return DynamoDBLedger(client("dynamodb", order["ledger"], None), table=order["table"])


def client(service, url, config):
    """Return a boto3 client for a server on this machine."""
    import boto3

    return boto3.client(
        service, endpoint_url=url, region_name="eu-central-1", aws_access_key_id="local",
        aws_secret_access_key="local", config=config,
    )  # fmt: skip


if __name__ == "__main__":
    main()
