"""The part of a ledger's interface by which something leaves it again. Beside :mod:`mailonce.ledgers.base` for its length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mailonce.privacy.erasure import Erasure
from mailonce.privacy.purges import Purge


class Privacy(Protocol):
    """Takes out of the ledger what shall not stay in it. No run needs more of it than :meth:`purged`."""

    def erase(self, erasure: Erasure) -> bool:
        """Erase a person from a row, if that is finished and stands as it did when the erasure was worked out.

        Its key, state, message ids and moments stay.

        :return: whether the row is erased by this; if not, read it again and work it out anew.
        """
        ...

    def forget_suppression(self, address: str) -> bool:
        """Delete what is known of an address that is, or was, suppressed, with its history. :return: whether it was."""
        ...

    def mark(self, purge: Purge) -> Purge:
        """Write that an edition of a month is purged, before its first row is deleted; again is harmless.

        :return: the mark as it stands: the first one's words.
        """
        ...

    def purged(self, campaign: str, period: str, edition: str) -> Purge | None:
        """Return the mark of an edition of a month, if it holds."""
        ...

    def purges(self) -> Iterator[Purge]:
        """Yield every mark that holds, by campaign, month and edition."""
        ...

    def reopen(self, campaign: str, period: str, edition: str, *, by: str, reason: str) -> Purge | None:
        """Take a mark away, so that the edition may be mailed, anew to everybody; who and why is kept.

        :return: the mark; None when there was none.
        """
        ...

    def purge(self, campaign: str, period: str, *, unsettled: bool = False) -> int:
        """Delete some rows of a month for good, expired ones too; to be called until it returns 0.

        Those that are SENDING or IN_DOUBT stay, unless ``unsettled`` is true and nothing of their claim can still be
        accepted, by the ledger's clock.

        :return: how many were deleted.
        """
        ...

    def purge_expired(self) -> int:
        """Delete every row whose retention is over: they count as absent anyway. :return: how many were deleted."""
        ...
