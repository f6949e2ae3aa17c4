"""The second store for receipts: where proof of acceptance waits while the ledger is away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mailonce.delivery import Receipt


class ReceiptStore(Protocol):
    """Keeps receipts where they outlive the process that earned them."""

    def keep(self, receipt: Receipt) -> None:
        """Keep one receipt. Never raises: it is called when something else is already wrong."""
        ...

    def kept(self) -> Sequence[Receipt]:
        """Return the receipts that wait."""
        ...

    def forget(self, receipt: Receipt) -> None:
        """Drop one receipt: it is in the ledger now."""
        ...


class ReceiptsInMemory:
    """Keeps receipts only as long as the process: for use outside Airflow, and for tests."""

    def __init__(self) -> None:
        # By message, not by key: a key with two messages is just what must not be forgotten.
        self._receipts: dict[str, Receipt] = {}

    def keep(self, receipt: Receipt) -> None:
        """Keep one receipt."""
        self._receipts[receipt.message_id] = receipt

    def kept(self) -> Sequence[Receipt]:
        """Return the receipts that wait."""
        return list(self._receipts.values())

    def forget(self, receipt: Receipt) -> None:
        """Drop one receipt."""
        self._receipts.pop(receipt.message_id, None)
