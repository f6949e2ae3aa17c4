"""What the tests that tell a story share: workers that are after one key, and waiting for what they do."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mailonce.crashes.orders import Ended, LedgerMaker, Order, Stop
from mailonce.crashes.points import CrashPoint
from mailonce.crashes.workers import PATIENCE, Worker, Workers
from mailonce.delivery import Delivery, Entry
from mailonce.ledgers.base import Ledger
from tests.fakes import make_delivery


@dataclass
class Team:
    """Workers that are after the same key. Each has a machine of its own, unless told otherwise."""

    workers: Workers
    maker: LedgerMaker
    provider: str
    folder: Path
    delivery: Delivery = field(default_factory=lambda: make_delivery(f"C-{uuid.uuid4().hex[:8]}"))

    def start(self, name: str, **changes: Any) -> Worker:
        order = Order(
            ledger=self.maker,
            provider=self.provider,
            delivery=self.delivery,
            by=f"worker {name}",
            journals=str(self.folder / name),
            receipts=str(self.folder / f"{name}.json"),
        )
        return self.workers.start(replace(order, **changes))

    def kill(self, name: str, at: CrashPoint, **changes: Any) -> None:
        """Start a worker that is killed at a point, and wait until it is dead."""
        assert self.start(name, stop=Stop(at=at), **changes).wait().signal == signal.SIGKILL

    def freeze(self, at: CrashPoint, *, window: float = 1.0, **changes: Any) -> Worker:
        """Start a worker that stops at a point, and wait until it stands still."""
        while not stands_still(
            worker := self.start("frozen", stop=Stop(at=at, signal="SIGSTOP"), window=window, **changes)
        ):
            window *= 2  # this machine is too busy: it came too late to the point, and so did not send
        return worker

    def work(self, name: str = "other", **changes: Any) -> Ended:
        """Try as Airflow's retries would, as long as it has to wait for the frozen worker's claim or its settling."""
        # Long enough for a busy machine: only of those who are stopped does the window matter.
        changes = {"window": 60.0, **changes}
        while (ended := self.start(name, **changes).wait()).outcome in ("InFlight", "AwaitingProof"):
            row = self.row()
            wait_until(row.deadline_at if ended.outcome == "InFlight" else row.settled_at, self)
        return ended

    def row(self) -> Entry:
        with self.ledger() as ledger:
            (row,) = ledger.find([self.delivery.key])
        return row

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        with closing(self.maker.open()) as ledger:
            yield ledger


def wait_until(moment: datetime | None, team: Team) -> None:
    """Wait for a moment by the ledger's clock."""
    assert moment is not None
    seconds = (moment - team.row().read_at).total_seconds()
    assert seconds < PATIENCE
    time.sleep(max(0.0, seconds) + 0.01)


def stands_still(worker: Worker) -> bool:
    """Wait until a worker stands still. :return: whether it does, or has ended instead."""
    stat = Path(f"/proc/{worker.started.result(PATIENCE)}/stat")
    while not worker.ended.done():
        with suppress(FileNotFoundError):
            if stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T":
                return True
        os.sched_yield()
    return False
