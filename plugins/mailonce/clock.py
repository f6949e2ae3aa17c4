"""The clock that the sender measures its deadline by."""

from __future__ import annotations

import time


def seconds_since_boot() -> float:
    """Return seconds on a clock that never jumps, and on Linux goes on while the machine is suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
