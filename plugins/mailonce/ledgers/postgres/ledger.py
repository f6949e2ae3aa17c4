"""The PostgreSQL ledger. What each step does to a row stands in ``sql/deliveries.sql`` and ``sql/events.sql``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, overload

from mailonce.delivery import Claim, Conclusion, Decision, Delivery, Entry, Receipt, Takeover
from mailonce.events import Event
from mailonce.findings import Finding
from mailonce.ledgers.base import Concluded
from mailonce.ledgers.postgres.browser import PostgresBrowser
from mailonce.ledgers.postgres.database import PAGE, Database, Steps
from mailonce.ledgers.postgres.epoch import PostgresEpochStore
from mailonce.ledgers.postgres.examination import examine
from mailonce.ledgers.postgres.privacy import PostgresPrivacy
from mailonce.ledgers.postgres.rate import PostgresRateStore
from mailonce.ledgers.postgres.rows import columns, entry_of, event_columns, write
from mailonce.ledgers.postgres.statements import Table
from mailonce.ledgers.postgres.suppressions import PostgresSuppressions


class PostgresLedger:
    """Keeps the ledger in a PostgreSQL database (13 or newer): the deliveries in one table, and in others beside it the
    suppressions (``suppressions``), which ledger this is (``epoch``), how fast mails may leave (``rate``) and which months
    were purged (``privacy``).

    :param conninfo: libpq connection string.
    :param table: the table's name, with or without a schema; made on first use if it does not exist.
    :param connections: at most so many connections at once.
    :param patience: how long to keep trying while the database is away.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        table: str = "mailonce_ledger",
        connections: int = 1,
        patience: timedelta = timedelta(seconds=30),
    ) -> None:
        self._database = Database(conninfo, Table(table), connections=connections, patience=patience)
        self.suppressions = PostgresSuppressions(self._database)
        self.epoch = PostgresEpochStore(self._database)
        self.rate = PostgresRateStore(self._database)
        self.browser = PostgresBrowser(self._database)
        self.privacy = PostgresPrivacy(self._database)

    def claim(self, claim: Claim) -> Entry:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._write([claim], ())[0][0]

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._write((), [(key, token, conclusion)], patience)[1][0]

    def write_many(
        self, claims: Sequence[Claim], conclusions: Sequence[Concluded]
    ) -> tuple[list[Entry], list[Entry | None]]:
        """See :class:`mailonce.ledgers.base.ManyAtOnce`."""
        return self._write(claims, conclusions)

    def _write(
        self, claims: Sequence[Claim], conclusions: Sequence[Concluded], patience: timedelta | None = None
    ) -> tuple[list[Entry], list[Entry | None]]:
        written = self._entries(write(claims, conclusions), patience)
        # A row that was made or claimed between the two halves of the statement is not told: it is seen the next time.
        while waiting := [claim for claim in claims if claim.delivery.key not in written]:
            written |= self._entries(write(waiting, ()), patience)
        claimed = [written[claim.delivery.key] for claim in claims]
        return claimed, [written.get(key) or self._one("row", {"key": key}, patience) for key, _, _ in conclusions]

    def _entries(self, steps: Steps, patience: timedelta | None) -> dict[str, Entry]:
        return {row["key"]: entry_of(row) for row in self._database.all_rows(steps, patience)}

    def take_over(self, key: str, takeover: Takeover) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._one("take_over", {"key": key, **vars(takeover)}) or self._one("row", {"key": key})

    @overload
    def witness(self, receipt: Receipt, delivery: Delivery) -> Entry: ...

    @overload
    def witness(self, receipt: Receipt, delivery: None = None) -> Entry | None: ...

    def witness(self, receipt: Receipt, delivery: Delivery | None = None) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        proof = {"key": receipt.key, "message_id": receipt.message_id, "evidence": receipt.evidence}
        whose = columns(delivery.identity, delivery.message.to, delivery.message.fingerprint) if delivery else None
        return self._prove("witness", proof, whose, lambda entry: entry.has_message(receipt.message_id))

    def observe(self, event: Event) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        whose = columns(event.identity, event.address, "") if event.identity else None
        return self._prove("observe", event_columns(event), whose, lambda entry: entry.holds(event))

    def decide(self, key: str, decision: Decision) -> Entry | None:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        values = {
            "key": key,
            "state": decision.state.value,
            "by": decision.by,
            "reason": decision.reason,
            "token": decision.token,
        }
        return self._one("decide", values) or self._one("row", {"key": key})

    def find(self, keys: Iterable[str]) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        wanted = iter(keys)
        while some := list(islice(wanted, PAGE)):
            yield from self._all("find", {"keys": some})

    def of_month(self, campaign: str, period: str) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        values = {"campaign": campaign, "period": period, "page": PAGE}
        after = ("", "")
        while page := self._all("of_month", {**values, "after_recipient": after[0], "after_key": after[1]}):
            yield from page
            after = (page[-1].identity.recipient_id, page[-1].key)

    def of_address(self, email: str) -> Iterator[Entry]:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        yield from self._all("of_address", {"email": email})

    def examine(self) -> Iterator[Finding]:
        """See :class:`mailonce.ledgers.base.Ledger`, and :func:`mailonce.ledgers.postgres.examination.examine`."""
        return iter(self._database.look(lambda connection: list(examine(connection, self._database.table))))

    def prepare(self) -> bool:
        """See :class:`mailonce.ledgers.base.Ledger`."""
        return self._database.prepare()

    def close(self) -> None:
        """Give back the connections."""
        self._database.close()

    def _prove(
        self, name: str, proof: Mapping[str, Any], whose: Mapping[str, Any] | None, holds: Callable[[Entry], bool]
    ) -> Entry | None:
        """Write a proof into its row, which is made if there is none and it is known ``whose`` mail it is.

        :param holds: whether a row has this proof already.
        """
        while True:
            entry = self._one(name, proof) or self._one("row", proof)
            if entry is None and whose is None:
                return None
            if entry is None:
                entry = self._one(f"{name}_unknown", {**proof, **(whose or {})})
            if entry and holds(entry):
                return entry
            # Made or claimed anew between two of our statements: once more, for a proof must never be lost.

    def _one(self, name: str, values: Mapping[str, Any], patience: timedelta | None = None) -> Entry | None:
        row = self._database.row(name, values, patience)
        return entry_of(row) if row else None

    def _all(self, name: str, values: Mapping[str, Any], patience: timedelta | None = None) -> list[Entry]:
        return [entry_of(row) for row in self._database.rows(name, values, patience)]
