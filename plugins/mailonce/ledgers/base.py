"""The interface between the delivery protocol and the store that keeps its claims.

A new ledger is one new folder that meets :class:`Ledger`, and one line in :mod:`mailonce.workflow.connections`;
``tests/ledgers/test_contract*.py`` tell whether it keeps the contract.

Every write is one atomic step in the store, conditional on what the row holds, and may be repeated: a ledger
whose answer was lost repeats its own write, and the token tells the repetition from a rival.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol, overload, runtime_checkable

from mailonce.browsing import Browser
from mailonce.delivery import Claim, Conclusion, Decision, Delivery, Entry, Receipt, Takeover
from mailonce.epoch import Epoch
from mailonce.events import Event
from mailonce.findings import Finding
from mailonce.ledgers.privacy import Privacy
from mailonce.rate import Reservation
from mailonce.suppression import Suppression

Concluded = tuple[str, str, Conclusion]
"""A key, a claim's token, and what its owner learned: the arguments of :meth:`Ledger.conclude`."""


class Ledger(Protocol):
    """Keeps one row per key. Every method raises :class:`mailonce.errors.LedgerError` when it cannot answer."""

    def claim(self, claim: Claim) -> Entry:
        """Move the row to SENDING under the claim's token, if there is no row, or it is RELEASED or expired.

        :return: the row as it now stands. The claim is won exactly when it is SENDING under the claim's token.
        """
        ...

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        """Write what the owner of a claim learned; from SENDING or IN_DOUBT, and only under its token.

        :param patience: how long to keep trying while the ledger is away; None: as long as for any call.
        :return: the row as it now stands; unchanged when the claim belongs to somebody else by now; None when
            there is no row any more.
        """
        ...

    def take_over(self, key: str, takeover: Takeover) -> Entry | None:
        """Let a mail in doubt go by its successor's token, if it still goes by the token that the takeover names.

        :return: the row as it now stands, changed or not; None when there is none. It is taken over exactly when it has
            the successor's token.
        """
        ...

    @overload
    def witness(self, receipt: Receipt, delivery: Delivery) -> Entry: ...

    @overload
    def witness(self, receipt: Receipt, delivery: None = None) -> Entry | None: ...

    def witness(self, receipt: Receipt, delivery: Delivery | None = None) -> Entry | None:
        """Write proof that the provider accepted a mail, whatever the row's state: late truth always wins.

        A second message id for the key is added to ``duplicate_message_ids``.

        :param delivery: what to write if the key has no row (any more).
        :return: the row, or None when there is none and ``delivery`` is not given.
        """
        ...

    def observe(self, event: Event) -> Entry | None:
        """Write what one of the provider's events tells, once however often it comes, in whatever order.

        It is proof of acceptance, as :meth:`witness` writes it. Beyond that the row keeps the highest fate that was
        ever told; of two equal ones the later, and of two at one moment the one with the greater text. Its history
        has one line for each acceptance that was not known, and one for each event that tells a fate. A key without
        a row gets one, as SENT, if the event knows whose mail it is.

        :return: the row as it now stands; None when there is none, and the event does not tell enough to make it.
        """
        ...

    def decide(self, key: str, decision: Decision) -> Entry | None:
        """Write a decision, if the row is in a state from which it is allowed and the claim's token still fits.

        Release from IN_DOUBT, or from CANCELLED, happens only once the claim is settled, by the ledger's own clock.

        :return: the row as it now stands, changed or not; None when there is none.
        """
        ...

    def find(self, keys: Iterable[str]) -> Iterator[Entry]:
        """Yield the rows of these keys, in no particular order, without those that do not exist or have expired."""
        ...

    def of_month(self, campaign: str, period: str) -> Iterator[Entry]:
        """Yield every row of one campaign and period, streamed."""
        ...

    def of_address(self, email: str) -> Iterator[Entry]:
        """Yield every row that was addressed to ``email``, newest first."""
        ...

    @property
    def suppressions(self) -> Suppressions:
        """The addresses that must not be mailed."""
        ...

    @property
    def epoch(self) -> EpochStore:
        """Which ledger this is."""
        ...

    @property
    def rate(self) -> RateStore:
        """How fast mails may leave."""
        ...

    @property
    def browser(self) -> Browser:
        """For people who look through it."""
        ...

    @property
    def privacy(self) -> Privacy:
        """For what is to leave it again."""
        ...

    def examine(self) -> Iterator[Finding]:
        """Look for whatever in the store itself would break the promise; changes nothing."""
        ...

    def prepare(self) -> bool:
        """Create or migrate the table, if needed; safe to run by many at once.

        :return: whether the table was made just now, so that the ledger knows of no earlier mail.
        """
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


@runtime_checkable
class ManyAtOnce(Ledger, Protocol):
    """A ledger that can write many rows in one round trip, each as the single call would: see
    :class:`mailonce.ledgers.grouped.GroupedLedger`.
    """

    def write_many(
        self, claims: Sequence[Claim], conclusions: Sequence[Concluded]
    ) -> tuple[list[Entry], list[Entry | None]]:
        """Do for each what :meth:`Ledger.claim` and :meth:`Ledger.conclude` do. The keys are distinct.

        :return: their rows, in order.
        """
        ...


class Suppressions(Protocol):
    """Keeps the addresses that must not be mailed, beside the deliveries."""

    def add(self, suppression: Suppression) -> bool:
        """Suppress an address; again is harmless.

        What happened before somebody lifted a suppression does not bring it back: an event may be told late, and twice.

        :return: whether the address is newly suppressed by this.
        """
        ...

    def of(self, addresses: Iterable[str]) -> Iterator[Suppression]:
        """Yield the suppressions that hold for any of these addresses."""
        ...

    def lift(self, address: str, *, by: str, reason: str) -> Suppression | None:
        """Let an address be mailed again; who and why is kept.

        :return: what was lifted; None when the address was not suppressed.
        """
        ...

    def all(self) -> Iterator[Suppression]:
        """Yield every suppression that holds, streamed."""
        ...


class EpochStore(Protocol):
    """Keeps the ledger's one :class:`mailonce.epoch.Epoch`, beside the deliveries."""

    def read(self) -> Epoch:
        """Return it; made on first use."""
        ...

    def advance(self) -> Epoch:
        """Count up ``runs`` by one; a repetition after a lost answer may count once more. :return: the epoch afterwards."""
        ...

    def drained(self, moment: datetime) -> None:
        """Write that the provider's events up to ``moment`` (by the ledger's clock) are in the ledger; never goes back."""
        ...

    def adopt(self, *, by: str, reason: str) -> Epoch:
        """Take the ledger as it stands here and now for the right one: a new id, and this store as its home.

        ``runs`` and ``events_drained_at`` stay. Who and why is kept in the ledger.
        """
        ...


class RateStore(Protocol):
    """Keeps one :class:`mailonce.rate.Timetable` an account, beside the deliveries.

    An account is a name that all who send from it agree on. What is written here is worth a moment: it may be lost in a
    crash, and written twice after a lost answer.
    """

    def reserve(self, account: str, slots: int) -> Reservation | None:
        """Take the next slots of an account; nobody else gets them, used or not.

        :return: when they are; None when no limit is known, and then nothing is written.
        """
        ...

    def throttled(self, account: str) -> None:
        """Tell that the provider asked for a slower pace: from the next reservation on all slow down together.

        However many tell so within a second, it counts once. Without a known limit nothing happens.
        """
        ...

    def limit(self, account: str, maximum: float) -> None:
        """Set how many mails a second an account may send; the same again changes nothing."""
        ...
