"""A ledger for the threads of one batch task: their claims and conclusions share round trips, by
:mod:`mailonce.ledgers.group_commit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import overload

from mailonce.browsing import Browser
from mailonce.delivery import Claim, Conclusion, Decision, Delivery, Entry, Receipt, Takeover
from mailonce.errors import LedgerUnavailable
from mailonce.events import Event
from mailonce.findings import Finding
from mailonce.ledgers.base import Concluded, EpochStore, Ledger, ManyAtOnce, RateStore, Suppressions
from mailonce.ledgers.group_commit import Group
from mailonce.ledgers.privacy import Privacy


def grouped(ledger: Ledger) -> Ledger:
    """Return a ledger for many threads of one task, whose writes share round trips if the ledger can write many at once.

    DynamoDB cannot: ``BatchWriteItem`` takes no conditions, and of a ``TransactWriteItems`` one failed condition undoes
    all.
    """
    return GroupedLedger(ledger) if isinstance(ledger, ManyAtOnce) else ledger


class GroupedLedger:
    """Meets :class:`mailonce.ledgers.base.Ledger`: claims and conclusions go in groups, everything else passes through.

    When the ledger is away, every thread of the group gets LedgerUnavailable, and one that has patience goes on by itself;
    when it refuses a group for any other reason, each thread makes its own call, so that one row's fault stays its own. To
    write again is safe: every write recognises its own token.
    """

    def __init__(self, ledger: ManyAtOnce) -> None:
        self._ledger = ledger
        self._group: Group[Claim | Concluded, Entry | None] = Group(self._together, self._alone, _key)

    def claim(self, claim: Claim) -> Entry:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        entry = self._group.write(claim)
        assert entry is not None  # a claim always finds or makes its row
        return entry

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`. The patience begins when the group's own, that of any call, has ended."""
        try:
            return self._group.write((key, token, conclusion))
        except LedgerUnavailable:
            if patience is None:
                raise
            return self._ledger.conclude(key, token, conclusion, patience=patience)

    def take_over(self, key: str, takeover: Takeover) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.take_over(key, takeover)

    @overload
    def witness(self, receipt: Receipt, delivery: Delivery) -> Entry: ...

    @overload
    def witness(self, receipt: Receipt, delivery: None = None) -> Entry | None: ...

    def witness(self, receipt: Receipt, delivery: Delivery | None = None) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.witness(receipt, delivery) if delivery else self._ledger.witness(receipt)

    def observe(self, event: Event) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.observe(event)

    def decide(self, key: str, decision: Decision) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.decide(key, decision)

    def find(self, keys: Iterable[str]) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.find(keys)

    def of_month(self, campaign: str, period: str) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.of_month(campaign, period)

    def of_address(self, email: str) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.of_address(email)

    @property
    def suppressions(self) -> Suppressions:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.suppressions

    @property
    def epoch(self) -> EpochStore:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.epoch

    @property
    def rate(self) -> RateStore:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.rate

    @property
    def browser(self) -> Browser:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.browser

    @property
    def privacy(self) -> Privacy:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.privacy

    def examine(self) -> Iterator[Finding]:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.examine()

    def prepare(self) -> bool:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._ledger.prepare()

    def close(self) -> None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        self._ledger.close()

    def _together(self, asked: Sequence[Claim | Concluded]) -> list[Entry | None]:
        claimed, concluded = self._ledger.write_many(
            [each for each in asked if isinstance(each, Claim)], [each for each in asked if not isinstance(each, Claim)]
        )
        claims, conclusions = iter(claimed), iter(concluded)
        return [next(claims) if isinstance(each, Claim) else next(conclusions) for each in asked]

    def _alone(self, asked: Claim | Concluded) -> Entry | None:
        return self._ledger.claim(asked) if isinstance(asked, Claim) else self._ledger.conclude(*asked)


def _key(asked: Claim | Concluded) -> str:
    return asked.delivery.key if isinstance(asked, Claim) else asked[0]
