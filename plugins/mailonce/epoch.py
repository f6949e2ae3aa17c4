"""Which ledger this is, and whether it is still the one that it was: not a copy, not a backup brought back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A ledger's own birth certificate and odometer.

    :param id: given when the ledger was made, or adopted anew by a person.
    :param home: the store in which that happened, as the store names itself.
    :param here: the store in which the ledger stands now. Another than ``home``: the ledger was copied or restored.
    :param runs: counts up with each run, before its first and after its last mail. Who remembers a higher count
        knows that the ledger has lost what came after.
    :param events_drained_at: the provider's events of the time before are all in the ledger, as far as they arrived.
    :param read_at: the ledger's clock.
    """

    id: str
    home: str
    here: str
    runs: int
    events_drained_at: datetime | None
    read_at: datetime

    @property
    def moved(self) -> bool:
        """Whether this is not the store in which the ledger was made."""
        return self.home != self.here
