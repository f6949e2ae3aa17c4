"""The last moments before a request leaves: up to when it may, and whether it did."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import datetime, timedelta, timezone

from mailonce.clock import seconds_since_boot
from mailonce.delivery import Claim, Entry
from mailonce.errors import NeverLeft
from mailonce.journal import Journal


class Fence:
    """The moment after which the owner of a claim signs nothing any more.

    Counted by a clock that nobody sets and that goes on while the machine sleeps.
    """

    def __init__(self, window: timedelta, clock: Callable[[], float] = seconds_since_boot) -> None:
        self._clock = clock
        self._began = clock()
        self._ends = self._began + window.total_seconds()

    def lasting(self, window: timedelta) -> Fence:
        """Return another fence, which began at the same moment and ends after ``window``."""
        other = copy(self)
        other._ends = self._began + window.total_seconds()  # noqa: SLF001 - its own kind
        return other

    def check(self) -> None:
        """Refuse to go on after the deadline.

        :raises mailonce.errors.NeverLeft: it has passed.
        """
        late = self._clock() - self._ends
        if late >= 0:
            raise NeverLeft(f"too late to send: the claim's deadline passed {late:.0f} s ago (the worker was frozen?)")


class ClaimedDeparture:
    """Meets :class:`mailonce.providers.base.Departure` for one claim.

    :param reached: called in the moment after the journal says that the request leaves.
    """

    def __init__(self, claim: Claim, fence: Fence, journal: Journal, reached: Callable[[], None]) -> None:
        self._claim = claim
        self._fence = fence
        self._journal = journal
        self._reached = reached
        self.left = False
        """Whether anything may have left. As long as it is False, every failure is proof that nothing did."""

    def signing(self) -> None:
        """See :class:`mailonce.providers.base.Departure`."""
        self._fence.check()

    def leaving(self) -> None:
        """See :class:`mailonce.providers.base.Departure`."""
        # Once more: a worker can be frozen between the two, and what does not leave needs no old signature to stop it.
        self._fence.check()
        self._journal.leaving(self._claim)
        self.left = True
        self._reached()


def check_clock(entry: Entry, tolerance: timedelta, now: datetime | None = None) -> None:
    """Refuse to send with a clock that runs ahead of the ledger's: its signatures would be valid for longer than the
    claim allows for. A clock that is slow makes them end early, which harms nobody.

    :param entry: the claim, as the ledger has just written it.
    :raises mailonce.errors.NeverLeft: it runs ahead by more than ``tolerance``.
    """
    ahead = (now or datetime.now(timezone.utc)) - entry.read_at
    if ahead > tolerance:
        raise NeverLeft(
            f"this worker's clock is {ahead.total_seconds():.0f} s ahead of the ledger's, so nothing is sent from it. "
            "Set its clock (NTP)."
        )
