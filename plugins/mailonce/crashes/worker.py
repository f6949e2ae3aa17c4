"""One worker process of the matrix: opens the ledger, tidies up after the dead, delivers one mail, says what came of it.

It does what a task of Airflow does (:mod:`mailonce.workflow.delivering`), with the same protocol, journal and provider.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import boto3
from botocore.config import Config

from mailonce.crashes.orders import Ended, Order
from mailonce.crashes.stopping import Stopper, StoppingLedger, StoppingProvider, StoppingReceipts
from mailonce.delivery import Receipt, Timing
from mailonce.doubt import DoubtRules, InDoubtPolicy
from mailonce.errors import MailonceError
from mailonce.journal import Journal
from mailonce.ledgers.base import Ledger
from mailonce.protocol import Tools, deliver
from mailonce.providers.ses import SesProvider, one_request
from mailonce.recording import record_kept_receipts
from mailonce.recovery import recover

if TYPE_CHECKING:
    from mypy_boto3_sesv2.client import SESV2Client

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def ses_client(url: str) -> SESV2Client:
    """Return a client of a provider on this machine, with credentials that nobody else would take.

    It opens no connection before its first request, so a process may make it and then fork.
    """
    return boto3.session.Session().client(
        "sesv2", endpoint_url=url, region_name="us-east-1", aws_access_key_id="crash", aws_secret_access_key="matrix",  # noqa: S106
        # A proxy in the environment must not see requests to our own machine.
        config=one_request(Config(proxies={})),
    )  # fmt: skip


def work(order: Order) -> Ended:
    """Deliver as ordered. :return: what came of it, if the process lives to say so."""
    with closing(order.ledger.open()) as ledger:
        stopper = Stopper(order.stop, _call_seconds(ledger, order.delivery.key) if _at_random(order) else 0.0)
        try:
            return Ended(outcome=_deliver(order, cast("Ledger", StoppingLedger(ledger, stopper)), stopper))
        except MailonceError as error:
            return Ended(outcome=type(error).__name__, detail=str(error))


def _deliver(order: Order, ledger: Ledger, stopper: Stopper) -> str:
    directory = Path(order.journals)
    with closing(Journal(directory)) as journal:
        tools = Tools(
            ledger=ledger,
            provider=StoppingProvider(SesProvider(ses_client(order.provider)), stopper),
            receipts=StoppingReceipts(FileReceipts(Path(order.receipts)), stopper),
            by=order.by,
            timing=Timing(
                window=timedelta(seconds=order.window),
                settle=timedelta(seconds=order.settle),
                retention=timedelta(seconds=order.retention),
            ),
            journal=journal,
            doubt=DoubtRules(policy=InDoubtPolicy(order.in_doubt)),
            events_drained_at=lambda: ledger.epoch.read().events_drained_at,
            reached=stopper.step,
        )
        recover(directory, ledger, young=timedelta(seconds=order.young))
        if order.tried_before:
            tools = replace(tools, unrecorded=record_kept_receipts(tools))
        result, _ = deliver(order.delivery, tools)
        return result.name


def _at_random(order: Order) -> bool:
    return order.stop is not None and order.stop.at.at_random


def _call_seconds(ledger: Ledger, key: str) -> float:
    """Return how long a call of the ledger takes, about; of the second, because the first one connects."""
    started = 0.0
    for _ in range(2):
        started = time.monotonic()
        list(ledger.find([key]))
    return time.monotonic() - started


class FileReceipts:
    """Keeps receipts in a file: what Airflow's state store of a task is to the task's tries."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, receipt: Receipt) -> None:
        """See :class:`mailonce.receipts.ReceiptStore`."""
        self._write([*self.kept(), receipt])

    def kept(self) -> Sequence[Receipt]:
        """See :class:`mailonce.receipts.ReceiptStore`."""
        if not self._path.exists():
            return []
        kept = json.loads(self._path.read_text(encoding="utf-8"))
        return [Receipt(key=key, message_id=message_id, evidence="kept receipt") for key, message_id in kept]

    def forget(self, receipt: Receipt) -> None:
        """See :class:`mailonce.receipts.ReceiptStore`."""
        self._write([other for other in self.kept() if other.message_id != receipt.message_id])

    def _write(self, receipts: Sequence[Receipt]) -> None:
        lines = [[receipt.key, receipt.message_id] for receipt in receipts]
        self._path.write_text(json.dumps(lines), encoding="utf-8")
