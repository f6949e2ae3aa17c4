"""What leaves the ledger in memory again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from mailonce.privacy.erasure import FINISHED, Erasure
from mailonce.privacy.purges import Purge
from mailonce.states import State
from mailonce.suppression import normal
from tests.fake_stores import Call, MemorySuppressions

if TYPE_CHECKING:
    from tests.fake_ledger import _Row

Name = tuple[str, str, str]


@dataclass
class MemoryPrivacy:
    """Meets :class:`mailonce.ledgers.base.Privacy`. ``reopenings``: who opened what again, and why."""

    now: Callable[[], datetime]
    call: Call
    rows: dict[str, _Row]
    suppressions: MemorySuppressions

    def __post_init__(self) -> None:
        self._marks: dict[Name, Purge] = {}
        self.reopenings: list[tuple[Name, str, str]] = []

    def erase(self, erasure: Erasure) -> bool:
        return self.call("privacy.erase", lambda: self._erase(erasure))

    def forget_suppression(self, address: str) -> bool:
        def forget() -> bool:
            lifted = self.suppressions.liftings.pop(normal(address), None)
            return self.suppressions._held.pop(normal(address), None) is not None or lifted is not None

        return self.call("privacy.forget_suppression", forget)

    def mark(self, purge: Purge) -> Purge:
        name = (purge.campaign, purge.period, purge.edition)
        return self.call("privacy.mark", lambda: self._marks.setdefault(name, replace(purge, at=self.now())))

    def purged(self, campaign: str, period: str, edition: str) -> Purge | None:
        return self.call("privacy.purged", lambda: self._marks.get((campaign, period, edition)))

    def purges(self) -> Iterator[Purge]:
        return iter(self.call("privacy.purges", lambda: [self._marks[name] for name in sorted(self._marks)]))

    def reopen(self, campaign: str, period: str, edition: str, *, by: str, reason: str) -> Purge | None:
        def work() -> Purge | None:
            name = (campaign, period, edition)
            if mark := self._marks.pop(name, None):
                self.reopenings.append((name, by, reason))
            return mark

        return self.call("privacy.reopen", work)

    def purge(self, campaign: str, period: str, *, unsettled: bool = False) -> int:
        def gone(row: _Row) -> bool:
            entry = row.entry
            if (entry.identity.campaign, entry.identity.period) != (campaign, period):
                return False
            settled = unsettled and entry.settled_at is not None and entry.settled_at < self.now()
            return settled or entry.state not in (State.SENDING, State.IN_DOUBT)

        return self.call("privacy.purge", lambda: self._delete(gone))

    def purge_expired(self) -> int:
        def gone(row: _Row) -> bool:
            return row.expires_at is not None and row.expires_at <= self.now()

        return self.call("privacy.purge_expired", lambda: self._delete(gone))

    def _erase(self, erasure: Erasure) -> bool:
        row = self.rows.get(erasure.key)
        if row is None:
            return False
        entry = row.entry
        if (entry.email, len(entry.history)) == (erasure.email, len(erasure.history)):
            return True
        as_read = (entry.email, len(entry.history)) == (erasure.email_before, erasure.lines_before)
        if not as_read or entry.state not in FINISHED:
            return False
        row.entry = replace(
            entry, email=erasure.email, fingerprint="", error=erasure.error, fate_detail=erasure.fate_detail,
            history=erasure.history,
        )  # fmt: skip
        return True

    def _delete(self, gone: Callable[[_Row], bool]) -> int:
        keys = [key for key, row in self.rows.items() if gone(row)]
        for key in keys:
            del self.rows[key]
        return len(keys)
