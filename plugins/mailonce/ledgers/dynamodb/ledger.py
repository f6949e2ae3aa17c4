"""The DynamoDB ledger. What each write does to a row, and when, stands in ``expressions.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, overload

from mailonce.delivery import Claim, Conclusion, Decision, Delivery, Entry, Receipt, Takeover
from mailonce.errors import LedgerUnusable
from mailonce.events import Event
from mailonce.findings import Finding
from mailonce.ledgers.dynamodb import expressions, items, observations
from mailonce.ledgers.dynamodb.browser import DynamoDBBrowser
from mailonce.ledgers.dynamodb.calls import Calls
from mailonce.ledgers.dynamodb.clock import TableClock, utc_now
from mailonce.ledgers.dynamodb.epoch import DynamoDBEpochStore
from mailonce.ledgers.dynamodb.examination import Examination
from mailonce.ledgers.dynamodb.privacy import DynamoDBPrivacy
from mailonce.ledgers.dynamodb.rate import DynamoDBRateStore
from mailonce.ledgers.dynamodb.rows import KEYS_PER_QUESTION, Rows
from mailonce.ledgers.dynamodb.suppressions import DynamoDBSuppressions
from mailonce.ledgers.dynamodb.table import BY_ADDRESS, LedgerTable, table_name
from mailonce.states import State

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoDBLedger:
    """Keeps the ledger in one DynamoDB table: the deliveries under their keys, and beside them, under keys that no
    delivery can have, the suppressions (``suppressions``), which ledger this is (``epoch``), how fast mails may leave
    (``rate``) and which months were purged (``privacy``).

    Whose clock counts: DynamoDB's, as its answers tell it, see :class:`~mailonce.ledgers.dynamodb.clock.TableClock`.
    Only a process's first request rests on the machine's own clock; AWS refuses its signature when that is more than
    minutes wrong, and ``Timing.settle`` allows for as much. A clock that runs ahead can only put a mail in doubt too
    early, which is harmless: its owner's conclusion still counts.

    :param client: a boto3 client, used from any number of threads. It may repeat requests: every write recognises
        its own work. Short time-outs suit it, for an answer that does not come is waited for that long.
    :param table: the table's name; made on first use if it does not exist.
    :param patience: how long to keep trying while DynamoDB is away.
    :param clock: the worker's wall clock.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        *,
        table: str = "mailonce_ledger",
        patience: timedelta = timedelta(seconds=30),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._clock = TableClock(clock)
        calls = Calls(self._clock, patience)
        self._table = LedgerTable(client, calls, table_name(table))
        self._rows = Rows(client, calls, self._table)
        self._examination = Examination(client, calls, self._table)
        self.suppressions = DynamoDBSuppressions(self._rows)
        self.epoch = DynamoDBEpochStore(self._rows, self._table, self._clock)
        self.rate = DynamoDBRateStore(self._rows, self._clock)
        self.browser = DynamoDBBrowser(self._rows, self._clock)
        self.privacy = DynamoDBPrivacy(self._rows)

    def claim(self, claim: Claim) -> Entry:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        while True:
            for write in (expressions.CLAIM, expressions.CLAIM_EXPIRED):
                written, row = self._rows.write(claim.delivery.key, write, lambda now: items.claimed(claim, now))
                if row is not None and (written or not items.expired(row, self._clock.now())):
                    return self._entry(row)
            # Deleted, or claimed and released, between our two looks: look again.

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        state, message_id, error = conclusion.state, conclusion.message_id, conclusion.error
        write = expressions.CONCLUDE.get(state)
        if write is None:
            raise LedgerUnusable(f"the owner of a claim cannot conclude that it is {state.value}")

        def values(now: datetime) -> dict[str, Any]:
            # Nobody is named: no expression can copy the claim's `claimed_by` here; `items.entry` does.
            common = items.common(now, state, by=None, note=error or message_id)
            return {**common, "token": token, "message_id": message_id, "error": error}

        return self._entry_if_any(self._rows.write(key, write, values, patience)[1])

    def take_over(self, key: str, takeover: Takeover) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""

        def values(now: datetime) -> dict[str, Any]:
            common = items.common(now, State.IN_DOUBT, by=takeover.by, note=takeover.note)
            return {**common, "token": takeover.token, "successor": takeover.successor}

        return self._entry_if_any(self._rows.write(key, expressions.TAKE_OVER, values)[1])

    @overload
    def witness(self, receipt: Receipt, delivery: Delivery) -> Entry: ...

    @overload
    def witness(self, receipt: Receipt, delivery: None = None) -> Entry | None: ...

    def witness(self, receipt: Receipt, delivery: Delivery | None = None) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        message_id = receipt.message_id

        def values(now: datetime) -> dict[str, Any]:
            common = items.common(now, State.SENT, by=receipt.evidence, note=message_id)
            row = items.identity(delivery) if delivery else {}
            return {**common, **row, "message_id": message_id, "message_ids": [message_id]}

        write = expressions.WITNESS_FIRST
        while True:
            written, row = self._rows.write(receipt.key, write, values)
            if row is None and delivery is None:
                return None
            if row is not None and (written or items.has_message_id(row, message_id)):
                return self._entry(row)
            # Refused: the row shows which write fits it. A rival may change it once more, so it is a loop.
            if row is None:
                write = expressions.WITNESS_UNKNOWN
            else:
                write = expressions.WITNESS_FURTHER if "message_id" in row else expressions.WITNESS_FIRST

    def observe(self, event: Event) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        write = observations.expected(event)
        while True:
            written, row = self._rows.write(event.key, write, lambda now: items.observed(event, now))
            needed = None if written else observations.fitting(event, row)
            if needed is None:
                return self._entry_if_any(row)
            write = needed

    def decide(self, key: str, decision: Decision) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        write = expressions.DECIDE[decision.state]

        def values(now: datetime) -> dict[str, Any]:
            common = items.common(now, decision.state, by=decision.by, note=decision.reason)
            return {**common, "reason": decision.reason, "token": decision.token}

        # A newer claim than the one that the decision is about is left alone.
        fitting = write.only_if("#token = :token") if decision.token else write
        return self._entry_if_any(self._rows.write(key, fitting, values)[1])

    def find(self, keys: Iterable[str]) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        wanted = iter(keys)
        while some := list(islice(wanted, KEYS_PER_QUESTION)):
            yield from map(self._entry, self._live(some))

    def of_month(self, campaign: str, period: str) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`; in the order of recipients' ids, read 100 rows at a time.

        A row that was first claimed less than about a second ago may be missing: the index follows the table.
        """
        for some in self._rows.listed(items.month(campaign, period)):
            rows = (row for row in self._live(some) if (row["campaign"], row["period"]) == (campaign, period))
            yield from map(self._entry, sorted(rows, key=itemgetter("recipient_id")))

    def of_address(self, email: str) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`; the same moment's delay as :meth:`of_month`."""
        rows: list[items.Item] = []
        found = self._rows.look_up(BY_ADDRESS, "email", email)
        while some := [row["key"] for row in islice(found, KEYS_PER_QUESTION)]:
            rows += (row for row in self._live(some) if row["email"] == email)
        yield from map(self._entry, sorted(rows, key=lambda row: row.get("claimed_at", ""), reverse=True))

    def examine(self) -> Iterator[Finding]:
        """See :class:`mailonce.ledgers.base.Ledger`, and :class:`~mailonce.ledgers.dynamodb.examination.Examination`."""
        return self._examination.findings()

    def prepare(self) -> bool:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._table.prepare()

    def close(self) -> None:
        """Leave the client alone: it belongs to the caller."""

    def _live(self, keys: Iterable[str]) -> Iterator[items.Item]:
        now = self._clock.now
        return (row for row in self._rows.read(keys) if items.is_delivery(row) and not items.expired(row, now()))

    def _entry(self, row: items.Item) -> Entry:
        return items.entry(row, self._clock.now())

    def _entry_if_any(self, row: items.Item | None) -> Entry | None:
        return self._entry(row) if row and items.is_delivery(row) else None
