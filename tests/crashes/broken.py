"""Ledgers that break the promise, each in a way that real ones do. The matrix must find them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from mailonce.crashes.orders import LedgerMaker
from mailonce.delivery import Claim, Conclusion, Decision, Entry
from mailonce.states import State


class Broken:
    def __init__(self, ledger: Any) -> None:
        self.ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)


class LeaseLedger(Broken):
    """A claim is a lease: once it has run out, the next one gets it."""

    def claim(self, claim: Claim) -> Entry:
        entry = self.ledger.claim(claim)
        if entry.state is State.SENDING and entry.overdue:
            self.ledger.conclude(entry.key, entry.token, Conclusion(state=State.RELEASED, error="lease expired"))
            entry = self.ledger.claim(claim)
        return entry


class ForgetfulLedger(Broken):
    """What was sent is acknowledged, and not written."""

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        if conclusion.state is not State.SENT:
            return self.ledger.conclude(key, token, conclusion, patience=patience)
        (entry,) = self.ledger.find([key])
        return replace(entry, state=State.SENT, message_id=conclusion.message_id)


class SilentLedger(Broken):
    """Holds mails in doubt, and does not say why."""

    def find(self, keys: Iterable[str]) -> Iterator[Entry]:
        return (replace(entry, error=None) for entry in self.ledger.find(keys))


class HastyLedger(Broken):
    """Takes every doubt for a mail that was sent."""

    def claim(self, claim: Claim) -> Entry:
        entry = self.ledger.claim(claim)
        if entry.state is State.IN_DOUBT:
            entry = self.ledger.decide(entry.key, Decision(state=State.SENT, by="nobody", reason="probably"))
        return entry


class DeafLedger(Broken):
    """Has heard of events, and does nothing about them."""

    def observe(self, event: Any) -> None:
        return None


def broken(kind: str, maker: dict[str, Any]) -> Any:
    return globals()[kind](LedgerMaker(**maker).open())
