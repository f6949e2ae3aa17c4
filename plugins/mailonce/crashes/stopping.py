"""How a worker process comes to its end in the middle of a delivery: by a signal that it sends to itself."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from mailonce.crashes.orders import Stop
from mailonce.crashes.points import CrashPoint
from mailonce.delivery import Claim, Conclusion, Entry, Receipt
from mailonce.errors import LedgerUnavailable
from mailonce.ledgers.base import Ledger
from mailonce.messages.message import Message
from mailonce.protocol import Step
from mailonce.providers.base import Departure, Provider
from mailonce.receipts import ReceiptStore
from mailonce.states import State


class Stopper:
    """Stops this process where it was told to.

    :param stop: None: nowhere.
    :param call_seconds: how long a call of the ledger takes, about: the span of the random moments.
    """

    def __init__(self, stop: Stop | None, call_seconds: float = 0.0) -> None:
        self._stop = stop
        self._call_seconds = call_seconds

    def is_for(self, point: CrashPoint) -> bool:
        """Whether this point is where."""
        return self._stop is not None and self._stop.at is point

    def reached(self, point: CrashPoint) -> None:
        """Say that the process is there."""
        if self.is_for(point):
            self._now()

    def step(self, step: Step) -> None:
        """Say the same of a step of the protocol."""
        self.reached(CrashPoint[step.name])

    @contextmanager
    def during(self, point: CrashPoint) -> Iterator[None]:
        """Be there for as long as this lasts: the process stops at a random moment of it, and never comes out of it."""
        if not self._stop or not self.is_for(point):
            yield
            return
        # Beyond the length of a call too, so that some writes are done by then.
        moment = random.Random(self._stop.seed).uniform(0, 2 * self._call_seconds)  # noqa: S311
        threading.Thread(target=self._after, args=(moment,), daemon=True).start()
        yield
        signal.pause()

    def _after(self, seconds: float) -> None:
        time.sleep(seconds)
        self._now()

    def _now(self) -> None:
        assert self._stop
        os.kill(os.getpid(), signal.Signals[self._stop.signal])


class StoppingLedger:
    """A ledger in whose writes the process may stop. What it does not define is the ledger's own."""

    def __init__(self, ledger: Ledger, stopper: Stopper) -> None:
        self._ledger = ledger
        self._stopper = stopper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def claim(self, claim: Claim) -> Entry:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        with self._stopper.during(CrashPoint.CLAIMING):
            return self._ledger.claim(claim)

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        if conclusion.state is State.SENT and self._stopper.is_for(CrashPoint.RECEIPT_KEPT):
            raise LedgerUnavailable("the ledger is away: the crash matrix has it so")
        with self._stopper.during(CrashPoint.RECORDING):
            return self._ledger.conclude(key, token, conclusion, patience=patience)


class StoppingReceipts:
    """A store after whose keeping of a receipt the process may stop."""

    def __init__(self, receipts: ReceiptStore, stopper: Stopper) -> None:
        self._receipts = receipts
        self._stopper = stopper

    def keep(self, receipt: Receipt) -> None:
        """See :class:`mailonce.receipts.ReceiptStore`."""
        self._receipts.keep(receipt)
        self._stopper.reached(CrashPoint.RECEIPT_KEPT)

    def kept(self) -> Sequence[Receipt]:
        """See :class:`mailonce.receipts.ReceiptStore`."""
        return self._receipts.kept()

    def forget(self, receipt: Receipt) -> None:
        """See :class:`mailonce.receipts.ReceiptStore`."""
        self._receipts.forget(receipt)


class StoppingProvider:
    """A provider between whose signature and departure the process may stop."""

    def __init__(self, provider: Provider, stopper: Stopper) -> None:
        self._provider = provider
        self._stopper = stopper

    @property
    def remembers(self) -> timedelta | None:
        """See :class:`mailonce.providers.base.Provider`."""
        return self._provider.remembers

    def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
        """See :class:`mailonce.providers.base.Provider`."""
        stopping = _StoppingDeparture(departure, self._stopper)
        return self._provider.send(message, tags=tags, idempotency_key=idempotency_key, departure=stopping)


class _StoppingDeparture:
    def __init__(self, departure: Departure, stopper: Stopper) -> None:
        self._departure = departure
        self._stopper = stopper

    def signing(self) -> None:
        self._departure.signing()

    def leaving(self) -> None:
        self._stopper.reached(CrashPoint.SIGNED)
        self._departure.leaving()
