"""One case from its beginning to its end: a process is killed, others come after it, and the facts are collected."""

from __future__ import annotations

import signal
import time
import uuid
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mailonce.crashes.orders import Ended, LedgerMaker, Order, Stop
from mailonce.crashes.points import Case, CrashPoint, Machine, Next
from mailonce.crashes.provider import CountingProvider
from mailonce.crashes.verdicts import Facts
from mailonce.crashes.workers import PATIENCE, Workers
from mailonce.delivery import Delivery
from mailonce.events import Event, EventKind
from mailonce.keys import Identity
from mailonce.ledgers.base import Ledger
from mailonce.messages.message import Message

PERIOD = "crashtest"
IN_TRANSIT = 0.3
"""Seconds in which what a dead process had begun to write is in the ledger; younger journals are left alone."""


class NotReached(Exception):
    """The process ended before it came to the point: the window is too short for this machine at this moment."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the cases of a matrix share.

    :param ledger: this process's own. :param maker: how each worker opens it.
    :param directory: for journals and receipts.
    :param campaign: the rows' campaign. :param message: the mail. :param retention: seconds, of the rows.
    :param keys: which were used.
    """

    ledger: Ledger
    maker: LedgerMaker
    provider: CountingProvider
    workers: Workers
    directory: Path
    campaign: str
    message: Message
    retention: float
    keys: set[str] = field(default_factory=set)


class CaseRun:
    """One case, on a key of its own.

    :param window: seconds from a claim until its owner refuses to sign.
    """

    def __init__(self, stage: Stage, case: Case, window: float) -> None:
        self._stage = stage
        self._case = case
        self._name = f"{case}-{uuid.uuid4().hex[:8]}"
        identity = Identity(campaign=stage.campaign, period=PERIOD, recipient_id=self._name)
        self._delivery = Delivery(identity=identity, key=identity.key, message=stage.message)
        self._order = Order(
            ledger=stage.maker,
            provider=stage.provider.url,
            delivery=self._delivery,
            by="crash test: first run, try 1",
            journals=str(self._folder("first machine")),
            receipts=str(self._folder("receipts") / "first.json"),
            window=window,
            retention=stage.retention,
        )
        stage.keys.add(identity.key)

    def facts(self) -> Facts:
        """Run the case.

        :raises NotReached: the process was not killed where it should have been.
        """
        key = self._delivery.key
        self._kill()
        if self._case.next is Next.EVENT_ARRIVES:
            self._tell_event()
        order = self._next_order()
        tries = [self._try(order)]
        give_up = time.monotonic() + PATIENCE
        while tries[-1].outcome == "InFlight" and time.monotonic() < give_up:
            self._wait_for_the_claim_to_age()
            tries.append(self._try(order))
        tries.append(self._try(order))
        return Facts(
            outcomes=[ended.outcome for ended in tries],
            details=[ended.detail for ended in tries],
            mails=self._stage.provider.mails(key),
            entry=next(iter(self._stage.ledger.find([key])), None),
        )

    def _kill(self) -> None:
        case, stage = self._case, self._stage
        stage.provider.treat(self._delivery.key, case.treatment)
        stop = Stop(at=case.point, seed=hash(self._name))
        worker = stage.workers.start(replace(self._order, stop=stop))
        if case.point is CrashPoint.ON_THE_WIRE:
            seen: list[Future[Any]] = [stage.provider.arrival(self._delivery.key), worker.ended]
            wait(seen, timeout=PATIENCE, return_when=FIRST_COMPLETED)
            worker.tell(signal.SIGKILL)
        ended = worker.wait()
        if ended.signal != signal.SIGKILL:
            raise NotReached(f"{ended.outcome}: {ended.detail}")

    def _next_order(self) -> Order:
        case = self._case
        order = replace(self._order, by="crash test: first run, try 2", tried_before=True, window=PATIENCE)
        if case.machine is Machine.ANOTHER:
            order = replace(order, journals=str(self._folder("second machine")))
        elif case.point is CrashPoint.CLAIMING:
            order = replace(order, young=IN_TRANSIT)
        if not case.next.keeps_receipts:
            order = replace(order, receipts=str(self._folder("receipts") / "second.json"))
        if case.next is Next.SECOND_RUN:
            # It reads the data anew, and they may have been restated by a cent.
            message = replace(self._delivery.message, subject=f"{self._delivery.message.subject} (restated)")
            delivery = replace(self._delivery, message=message)
            order = replace(order, by="crash test: second run, try 1", tried_before=False, delivery=delivery)
        return order

    def _try(self, order: Order) -> Ended:
        return self._stage.workers.start(order).wait()

    def _wait_for_the_claim_to_age(self) -> None:
        entry = next(iter(self._stage.ledger.find([self._delivery.key])), None)
        seconds = (entry.deadline_at - entry.read_at).total_seconds() if entry and entry.deadline_at else 0.0
        if self._case.point is CrashPoint.CLAIMING and self._case.machine is Machine.SAME:
            seconds = min(seconds, IN_TRANSIT)
        time.sleep(max(0.0, seconds) + 0.01)

    def _tell_event(self) -> None:
        delivery = self._delivery
        (message_id,) = self._stage.provider.mails(delivery.key)
        self._stage.ledger.observe(
            Event(
                kind=EventKind.SEND, key=delivery.key, message_id=message_id, at=datetime.now(timezone.utc),
                address=delivery.message.to, identity=delivery.identity,
            )
        )  # fmt: skip

    def _folder(self, name: str) -> Path:
        folder = self._stage.directory / self._name / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
