"""The sending limits of an account: a rate, and a number of recipients in 24 hours."""

from __future__ import annotations

import threading
import time
from collections import deque

from .errors import daily_quota_exceeded, rate_exceeded

ONE_DAY = 24 * 60 * 60.0
RATE_REPORTED_WHEN_UNLIMITED = 10_000.0
"""The real service always states a rate; this one is high enough not to slow anybody down."""


class SendingLimits:
    """Counts recipients against both limits, atomically. `rate` None and a quota of -1 mean no limit."""

    def __init__(self, rate: float | None, burst: float | None, max_24_hour_send: float) -> None:
        self.rate = rate
        self.burst = burst if burst is not None else max(1.0, rate or 1.0)
        self.max_24_hour_send = max_24_hour_send
        self._lock = threading.Lock()
        self._tokens = self.burst
        self._refilled_at = time.monotonic()
        self._sent: deque[tuple[float, int]] = deque()
        self._sent_total = 0

    def take(self, recipients: int) -> None:
        """Count a request against the limits. Raises the refusal, and then counts nothing."""
        with self._lock:
            self._forget_old()
            if self.max_24_hour_send >= 0 and self._sent_total + recipients > self.max_24_hour_send:
                raise daily_quota_exceeded()
            if self.rate is not None:
                now = time.monotonic()
                self._tokens = min(self.burst, self._tokens + (now - self._refilled_at) * self.rate)
                self._refilled_at = now
                if self._tokens < recipients:
                    raise rate_exceeded()
                self._tokens -= recipients
            self._count(time.time(), recipients)

    def give_back(self, recipients: int) -> None:
        """The request was refused after all: it does not count against the daily quota."""
        with self._lock:
            self._count(time.time(), -recipients)

    def count_earlier(self, when: float, recipients: int) -> None:
        """Count a mail that an earlier process accepted, at `when` in seconds since 1970."""
        with self._lock:
            self._count(when, recipients)

    def sent_last_24_hours(self) -> int:
        """The number of recipients accepted in the last 24 hours."""
        with self._lock:
            self._forget_old()
            return self._sent_total

    def reset(self) -> None:
        """Nothing was sent in the last 24 hours."""
        with self._lock:
            self._sent.clear()
            self._sent_total = 0

    def reported_rate(self) -> float:
        """The rate that GetAccount states."""
        return self.rate if self.rate is not None else RATE_REPORTED_WHEN_UNLIMITED

    def _count(self, when: float, recipients: int) -> None:
        self._sent.append((when, recipients))
        self._sent_total += recipients

    def _forget_old(self) -> None:
        while self._sent and self._sent[0][0] < time.time() - ONE_DAY:
            self._sent_total -= self._sent.popleft()[1]
