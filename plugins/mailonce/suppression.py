"""Addresses that must not be mailed: they bounced for good, or their owner called a mail spam."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """One address that is not mailed, whatever the campaign.

    :param address: see :func:`normal`. :param reason: why, in the provider's words or a person's.
    :param since: when it happened, by the provider's clock.
    :param by: who says so: an event, or a person.
    :param key: the delivery that it happened to, if any.
    """

    address: str
    reason: str
    since: datetime
    by: str
    key: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", normal(self.address))


def normal(address: str) -> str:
    """Return the form under which an address is looked up: upper and lower case make no second mailbox."""
    return address.strip().lower()
