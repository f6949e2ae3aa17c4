"""When each mail may leave: the slots that this process holds of its account's timetable, handed out one by one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailonce.errors import NeverLeft

if TYPE_CHECKING:
    from mailonce.ledgers.base import RateStore

AHEAD = 0.1
"""Seconds of the account's whole rate that are reserved at once, at most. So the ledger is asked ten times a second by
all workers together, whatever their number; and one that is killed wastes a tenth of a second."""

LATE = 0.25
"""Seconds after its moment for which a slot may still be used: so much of the rate, at most, can leave in one burst."""

PATIENCE = 10
"""Once slots went to waste, so many reservations must be used up before one more slot is tried."""

NO_LIMIT_SECONDS = 10.0
"""An account without a known rate is asked for again after so long."""

PAUSE = 1.0
"""Seconds without a mail after the provider throttled an account without a known rate."""


class Pace:
    """Lets the threads of one batch through, one a slot. Without a store it lets everybody through at once.

    The slots lie on the ledger's timetable, where those of all workers are evenly spaced. One thread at a time waits for
    the next slot, and the others wait behind it; so a process holds one reservation and no more, and asks for the next
    when it is used up. How many slots it asks for follows from how many it used.

    :param rates: the ledger's. :param account: which account mails are sent from.
    :param clock: seconds, that nobody sets. :param sleep: waits for so many seconds, or until :meth:`stop`.
    """

    def __init__(
        self,
        rates: RateStore | None = None,
        account: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._rates = rates
        self._account = account
        self._clock = clock
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._turn = threading.Lock()
        self._slots: deque[float] = deque()
        self._size = 0
        self._most = 1
        self._wasted = 0
        self._used_up: int | None = None
        self._no_limit_until: float | None = None
        self._paused_until = self._told_at = -float("inf")

    @property
    def governed(self) -> bool:
        """Whether anybody may have to wait: a mail that need not be sent should not ask for a slot then."""
        return self._rates is not None

    def wait(self) -> None:
        """Wait until one more mail may leave.

        :raises mailonce.errors.NeverLeft: the batch was stopped meanwhile.
        :raises mailonce.errors.LedgerError: the ledger could not answer.
        """
        if self._rates is None:
            return
        with self._turn:
            if not self._stopped.is_set():
                self._sleep(max(0.0, self._next_slot(self._rates) - self._clock()))
            if self._stopped.is_set():
                raise NeverLeft("the batch was stopped while this mail waited for its turn.")

    def throttled(self) -> None:
        """Tell that the provider refused a mail for coming too fast: all workers slow down together.

        :raises mailonce.errors.LedgerError: the ledger could not answer.
        """
        now = self._clock()
        if self._rates is None or now < self._told_at + PAUSE:
            return
        self._told_at = now
        if self._no_limit_until is None:
            self._rates.throttled(self._account)
        else:
            self._paused_until = now + PAUSE

    def stop(self) -> None:
        """Let nobody through any more: those who wait are told so. There is no way back."""
        self._stopped.set()

    def _next_slot(self, rates: RateStore) -> float:
        """Return the moment at which the next mail may leave, by our clock; reserve slots if none is left."""
        while True:
            now = self._clock()
            while self._slots and self._slots[0] < now - LATE:
                self._slots.popleft()
                self._wasted += 1
            if self._slots:
                return self._slots.popleft()
            if self._no_limit_until is not None and now < self._no_limit_until:
                return self._paused_until
            self._reserve(rates)

    def _reserve(self, rates: RateStore) -> None:
        self._size = max(1, min(self._fitting_size(), self._most))
        self._wasted = 0
        reservation = rates.reserve(self._account, self._size)
        heard_at = self._clock()
        if reservation is None:
            self._no_limit_until = heard_at + NO_LIMIT_SECONDS
            return
        self._no_limit_until = None
        self._most = int(AHEAD / max(reservation.spacing, 1e-6))
        first = heard_at + reservation.wait
        self._slots.extend(first + number * reservation.spacing for number in range(self._size))

    def _fitting_size(self) -> int:
        """Return how many slots this process could use: twice as many as before, until some went to waste."""
        if self._wasted:
            self._used_up = 0
            return self._size - self._wasted
        if self._used_up is None:
            return self._size * 2
        self._used_up += 1
        return self._size + (self._used_up > PATIENCE)
