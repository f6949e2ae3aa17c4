"""A ledger in memory: rows, suppressions and epoch, with a clock that tests may move and calls that tests may break."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TypeVar

from mailonce.delivery import Claim, Conclusion, Decision, Delivery, Entry, Receipt, Takeover
from mailonce.errors import LedgerUnavailable, LedgerUnusable
from mailonce.events import Event
from mailonce.findings import Finding, Severity
from mailonce.keys import Identity
from mailonce.ledgers.base import Concluded
from mailonce.states import State, may_follow
from tests.fake_privacy import MemoryPrivacy
from tests.fake_stores import MemoryBrowser, MemoryEpoch, MemoryRates, MemorySuppressions

FINISHED = (State.SENT, State.REJECTED, State.CANCELLED)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Move:
    """One change of state, as the ledger in memory made it."""

    key: str
    operation: str
    before: State | None
    after: State
    owner_before: str | None
    token_given: str | None


@dataclass
class _Row:
    entry: Entry
    retention: timedelta | None = None
    expires_at: datetime | None = None


class MemoryLedger:
    """Meets :class:`mailonce.ledgers.base.Ledger`, in memory; ``tests/ledgers/test_contract*.py`` hold it to that.

    ``fail_next`` makes the next call fail: ``"before"`` it did anything, or ``"after"``, so that only its answer
    is lost. ``moves`` is every change of state so far. ``findings`` is what ``examine`` finds.
    """

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._now = now or (lambda: datetime.now(timezone.utc))
        self._rows: dict[str, _Row] = {}
        self._lock = threading.RLock()
        self.moves: list[Move] = []
        self.calls: list[str] = []
        self.fail_next: str | None = None
        self.patience_given: timedelta | None = None
        self.suppressions = MemorySuppressions(self._now, self._call)
        self.epoch = MemoryEpoch(self._now, self._call)
        self.rate = MemoryRates(self._now, self._call)
        self.browser = MemoryBrowser(self._call, lambda: [entry for key in self._rows if (entry := self._live(key))])
        self.privacy = MemoryPrivacy(self._now, self._call, self._rows, self.suppressions)
        self.findings = [Finding(severity=Severity.OK, check="ledger", found="in memory")]

    def claim(self, claim: Claim) -> Entry:
        return self._call("claim", lambda: self._claim(claim))

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        self.patience_given = patience
        return self._call("conclude", lambda: self._conclude(key, token, conclusion))

    def write_many(
        self, claims: Sequence[Claim], conclusions: Sequence[Concluded]
    ) -> tuple[list[Entry], list[Entry | None]]:
        def write() -> tuple[list[Entry], list[Entry | None]]:
            return [self._claim(claim) for claim in claims], [self._conclude(*concluded) for concluded in conclusions]

        return self._call("write many", write)

    def take_over(self, key: str, takeover: Takeover) -> Entry | None:
        return self._call("take over", lambda: self._take_over(key, takeover))

    def witness(self, receipt: Receipt, delivery: Delivery | None = None) -> Entry | None:
        return self._call("witness", lambda: self._witness(receipt, delivery))

    def observe(self, event: Event) -> Entry | None:
        return self._call("observe", lambda: self._observe(event))

    def decide(self, key: str, decision: Decision) -> Entry | None:
        return self._call("decide", lambda: self._decide(key, decision))

    def find(self, keys: Iterable[str]) -> Iterator[Entry]:
        wanted = dict.fromkeys(keys)
        return iter(self._call("find", lambda: [entry for key in wanted if (entry := self._live(key))]))

    def of_month(self, campaign: str, period: str) -> Iterator[Entry]:
        def found() -> list[Entry]:
            rows = [entry for key in self._rows if (entry := self._live(key))]
            same = [row for row in rows if (row.identity.campaign, row.identity.period) == (campaign, period)]
            return sorted(same, key=lambda row: row.identity.recipient_id)

        return iter(self._call("of_month", found))

    def of_address(self, email: str) -> Iterator[Entry]:
        def found() -> list[Entry]:
            rows = [entry for key in self._rows if (entry := self._live(key)) and entry.email == email]
            never = datetime.min.replace(tzinfo=timezone.utc)
            return sorted(rows, key=lambda row: row.claimed_at or never, reverse=True)

        return iter(self._call("of_address", found))

    def examine(self) -> Iterator[Finding]:
        return iter(self._call("examine", lambda: list(self.findings)))

    def prepare(self) -> bool:
        return False

    def close(self) -> None: ...

    def _call(self, name: str, work: Callable[[], Answer]) -> Answer:
        with self._lock:
            self.calls.append(name)
            failure, self.fail_next = self.fail_next, None
            if failure == "before":
                raise LedgerUnavailable("the ledger is away")
            answer = work()
            if failure == "after":
                raise LedgerUnavailable("the ledger's answer was lost")
            return answer

    def _claim(self, claim: Claim) -> Entry:
        key, now = claim.delivery.key, self._now()
        row = self._rows.get(key)
        earlier = row.entry if row and not self._expired(row) else None
        if row and earlier and earlier.state is not State.RELEASED:
            return replace(earlier, read_at=now)
        deadline = now + claim.timing.window
        blank = self._forgotten(
            key, claim.delivery.identity, claim.delivery.message.to, fingerprint=claim.delivery.message.fingerprint
        )
        entry = replace(
            blank,
            state=State.SENDING,
            sent_at=None,
            attempt=earlier.attempt + 1 if earlier else 1,
            token=claim.token,
            claimed_by=claim.by,
            claimed_at=now,
            deadline_at=deadline,
            settled_at=deadline + claim.timing.settle,
            history=earlier.history if earlier else (),
        )
        self._rows[key] = _Row(entry, claim.timing.retention)
        self._moved("claim", key, earlier, State.SENDING, claim.token)
        return self._log(key, claim.by, None)

    def _conclude(self, key: str, token: str, conclusion: Conclusion) -> Entry | None:
        entry = self._row(key)
        if entry is None:
            return None
        ours = entry.token == token and entry.state in (State.SENDING, State.IN_DOUBT)
        if not ours or entry.state is conclusion.state:
            return entry
        if not may_follow(entry.state, conclusion.state) or conclusion.state is State.CANCELLED:
            raise LedgerUnusable(f"the owner of a claim cannot conclude that it is {conclusion.state.value}")
        keeps_token = conclusion.state in (State.SENT, State.IN_DOUBT)
        return self._change(
            "conclude", entry, conclusion.state, entry.claimed_by, conclusion.error or conclusion.message_id, token,
            message_id=conclusion.message_id,
            error=conclusion.error,
            sent_at=self._now() if conclusion.state is State.SENT else None,
            token=entry.token if keeps_token else None,
        )  # fmt: skip

    def _take_over(self, key: str, takeover: Takeover) -> Entry | None:
        entry = self._row(key)
        if entry is None or entry.state is not State.IN_DOUBT or entry.token != takeover.token:
            return entry
        self._rows[key].entry = replace(entry, token=takeover.successor)
        return self._log(key, takeover.by, takeover.note)

    def _witness(self, receipt: Receipt, delivery: Delivery | None) -> Entry | None:
        entry = self._row(receipt.key)
        if entry is None and delivery is not None:
            mail = delivery.message
            entry = self._forgotten(delivery.key, delivery.identity, mail.to, fingerprint=mail.fingerprint)
            return self._remember("witness", entry, receipt.message_id, receipt.evidence)
        return entry and self._accepted("witness", entry, receipt.message_id, receipt.evidence)

    def _observe(self, event: Event) -> Entry | None:
        entry = self._row(event.key)
        if entry is not None:
            entry = self._accepted("observe", entry, event.message_id, event.evidence)
        elif event.identity is not None:
            entry = self._forgotten(event.key, event.identity, event.address, fingerprint="")
            entry = self._remember("observe", entry, event.message_id, event.evidence)
        if entry is None or event.fate is None or event.id in entry.event_ids:
            return entry
        # Of two equal fates the later stands, and of two at one moment the greater text: order and repetition are nothing.
        stands = entry.fate and (entry.fate.rank, entry.fate_at, entry.fate_detail or "")
        if stands is None or (event.fate.rank, event.at, event.detail) > stands:
            entry = replace(entry, fate=event.fate, fate_at=event.at, fate_detail=event.detail or None)
        self._rows[event.key].entry = replace(entry, event_ids=entry.event_ids | {event.id})
        return self._log(event.key, event.evidence, event.note)

    def _accepted(self, operation: str, entry: Entry, message_id: str, evidence: str) -> Entry:
        """Write proof that a mail was accepted."""
        if entry.has_message(message_id):
            return entry
        if entry.message_id is not None:
            duplicates = (*entry.duplicate_message_ids, message_id)
            self._rows[entry.key].entry = replace(entry, duplicate_message_ids=duplicates)
            return self._log(entry.key, evidence, message_id)
        return self._change(
            operation, entry, State.SENT, evidence, message_id, None,
            message_id=message_id, sent_at=entry.sent_at or self._now(), error=None,
        )  # fmt: skip

    def _forgotten(self, key: str, identity: Identity, email: str, *, fingerprint: str) -> Entry:
        """Return the row of a mail that was sent, but of which the ledger knows nothing."""
        return Entry(
            key=key, identity=identity, email=email, fingerprint=fingerprint, state=State.SENT, attempt=0,
            token=None, claimed_by=None, claimed_at=None, deadline_at=None, settled_at=None, message_id=None,
            duplicate_message_ids=(), sent_at=self._now(), error=None, history=(), read_at=self._now(),
        )  # fmt: skip

    def _remember(self, operation: str, entry: Entry, message_id: str, evidence: str) -> Entry:
        self._rows[entry.key] = _Row(replace(entry, message_id=message_id))
        self._moved(operation, entry.key, None, State.SENT, None)
        return self._log(entry.key, evidence, message_id)

    def _decide(self, key: str, decision: Decision) -> Entry | None:
        entry = self._row(key)
        if entry is None or (decision.token is not None and decision.token != entry.token):
            return entry
        settled = entry.settled_at is not None and self._now() > entry.settled_at
        free = {State.REJECTED} | ({State.IN_DOUBT, State.CANCELLED} if settled else set())
        possible: Mapping[State, set[State]] = {
            State.SENT: {State.IN_DOUBT},
            State.RELEASED: free,
            State.CANCELLED: {State.IN_DOUBT, State.RELEASED, State.REJECTED},
        }
        if entry.state not in possible[decision.state]:
            return entry
        sent = decision.state is State.SENT
        return self._change(
            "decide", entry, decision.state, decision.by, decision.reason, decision.token,
            token=entry.token if sent else None, sent_at=self._now() if sent else None,
        )  # fmt: skip

    def _row(self, key: str) -> Entry | None:
        """The row whether expired or not: what a write is about."""
        row = self._rows.get(key)
        return replace(row.entry, read_at=self._now()) if row else None

    def _live(self, key: str) -> Entry | None:
        row = self._rows.get(key)
        return self._row(key) if row and not self._expired(row) else None

    def _expired(self, row: _Row) -> bool:
        return row.expires_at is not None and row.expires_at <= self._now()

    def _change(
        self, operation: str, entry: Entry, state: State, by: str | None, note: str | None, token_given: str | None,
        **changes: object,
    ) -> Entry:  # fmt: skip
        row = self._rows[entry.key]
        self._moved(operation, entry.key, entry, state, token_given)
        row.entry = replace(entry, state=state, **changes)  # type: ignore[arg-type]
        ends = state in FINISHED and row.retention is not None
        row.expires_at = self._now() + row.retention if ends and row.retention is not None else None
        return self._log(entry.key, by, note)

    def _moved(self, operation: str, key: str, before: Entry | None, after: State, token_given: str | None) -> None:
        state, owner = (before.state, before.token) if before else (None, None)
        if state is not after:  # proof for a mail that a person said was sent changes the row, not its state
            self.moves.append(Move(key, operation, state, after, owner, token_given))

    def _log(self, key: str, by: str | None, note: str | None) -> Entry:
        row = self._rows[key]
        line = {"at": self._now().isoformat(), "state": row.entry.state.value, "by": by, "note": note}
        row.entry = replace(row.entry, history=(*row.entry.history, line), read_at=self._now())
        return row.entry
