"""Lanes: at most so many mails between their claim and the provider's answer, while others are written down.

::

    thread 1: claim ── send ──▶│ record          claim ── send ──▶│ record
    thread 2:                  │ claim ── send ──▶│ record        │ claim ...
                               └ the lane is free: thread 2 need not wait until the first mail is recorded

A batch has more threads than lanes, so that the provider is kept as busy as without a ledger. A killed process still
leaves at most so many mails in doubt as there are lanes, and besides those that were answered and not yet recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from mailonce.errors import NeverLeft
from mailonce.messages.message import Message
from mailonce.pace import Pace
from mailonce.protocol import Tools
from mailonce.providers.base import Departure, Provider


class Lanes:
    """So many mails at once. Each thread has one lane at most, from its turn in the pace to the provider's answer."""

    def __init__(self, number: int) -> None:
        self._free = threading.Semaphore(number)
        self._thread = threading.local()
        self._stopped = False

    def through(self, tools: Tools) -> Tools:
        """Return the same tools, for mails that keep to these lanes."""
        return replace(tools, pace=_LanedPace(tools.pace, self), provider=_LanedProvider(tools.provider, self))

    def enter(self) -> None:
        """Wait for a lane, unless this thread has one.

        :raises mailonce.errors.NeverLeft: the batch was stopped meanwhile.
        """
        if not self._entered():
            self._free.acquire()
            self._thread.entered = True
        if self._stopped:
            raise NeverLeft("the batch was stopped while this mail waited for its turn.")

    def stop(self) -> None:
        """Let nobody in any more. There is no way back."""
        self._stopped = True

    def leave(self) -> None:
        """Give the lane of this thread to the next, if it has one."""
        if self._entered():
            self._thread.entered = False
            self._free.release()

    def _entered(self) -> bool:
        return getattr(self._thread, "entered", False)


class _LanedPace(Pace):
    """A turn in the pace is waited for in a lane, so that none goes to waste."""

    def __init__(self, pace: Pace, lanes: Lanes) -> None:
        super().__init__()
        self._pace = pace
        self._lanes = lanes

    @property
    def governed(self) -> bool:
        return self._pace.governed

    def wait(self) -> None:
        self._lanes.enter()
        self._pace.wait()

    def throttled(self) -> None:
        self._pace.throttled()

    def stop(self) -> None:
        self._lanes.stop()
        self._pace.stop()


class _LanedProvider:
    """Meets :class:`mailonce.providers.base.Provider`; its answer ends the way."""

    def __init__(self, provider: Provider, lanes: Lanes) -> None:
        self._provider = provider
        self._lanes = lanes

    @property
    def remembers(self) -> timedelta | None:
        return self._provider.remembers

    def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
        try:
            return self._provider.send(message, tags=tags, idempotency_key=idempotency_key, departure=departure)
        finally:
            self._lanes.leave()
