"""Stand-ins for what the protocol needs from outside: a ledger in memory, a provider that does as told, a clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from mailonce.delivery import Claim, Conclusion, Decision, Delivery, Entry, Receipt, Timing
from mailonce.errors import LedgerUnavailable, LedgerUnusable
from mailonce.keys import Identity, statement_key
from mailonce.messages.message import Message
from mailonce.states import State, may_follow

FINISHED = (State.SENT, State.REJECTED, State.CANCELLED)


def make_delivery(
    recipient_id: str = "C-1",
    *,
    campaign: str = "usage",
    period: str = "2030-01",
    edition: str = "original",
    email: str = "",
    text: str = "You used 3 units.",
) -> Delivery:
    identity = Identity(campaign=campaign, period=period, recipient_id=recipient_id, edition=edition)
    to = email or f"{recipient_id}@example.org"
    message = Message(sender="Usage <usage@example.com>", to=to, subject="Your month", text=text)
    return Delivery(identity=identity, key=statement_key(identity, {}, message), message=message)


def make_claim(delivery: Delivery, *, by: str = "worker", timing: Timing | None = None) -> Claim:
    return Claim(delivery=delivery, timing=timing or Timing(), by=by)


class FakeClock:
    """A clock that only tests move. Starts late enough for text and epoch to look like today's."""

    def __init__(self) -> None:
        self._now = datetime(2030, 2, 1, 9, tzinfo=timezone.utc)

    def now(self) -> datetime:
        return self._now

    def seconds(self) -> float:
        return self._now.timestamp()

    def advance(self, by: timedelta) -> None:
        self._now += by


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
    """Meets :class:`mailonce.ledgers.base.Ledger`, in memory; ``tests/ledgers/test_contract.py`` holds it to that.

    ``fail_next`` makes the next call fail: ``"before"`` it did anything, or ``"after"``, so that only its answer
    is lost. ``moves`` is every change of state so far.
    """

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._now = now or (lambda: datetime.now(timezone.utc))
        self._rows: dict[str, _Row] = {}
        self._lock = threading.RLock()
        self.moves: list[Move] = []
        self.calls: list[str] = []
        self.fail_next: str | None = None
        self.patience_given: timedelta | None = None

    def claim(self, claim: Claim) -> Entry:
        return self._call("claim", lambda: self._claim(claim))

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        self.patience_given = patience
        return self._call("conclude", lambda: self._conclude(key, token, conclusion))

    def witness(self, receipt: Receipt, delivery: Delivery | None = None) -> Entry | None:
        return self._call("witness", lambda: self._witness(receipt, delivery))

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

    def prepare(self) -> bool:
        return False

    def close(self) -> None: ...

    def _call(self, name: str, work: Callable[[], object]):
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
        entry = self._blank(
            claim.delivery,
            state=State.SENDING,
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

    def _witness(self, receipt: Receipt, delivery: Delivery | None) -> Entry | None:
        entry, message_id = self._row(receipt.key), receipt.message_id
        if entry is None:
            if delivery is None:
                return None
            row = self._blank(delivery, state=State.SENT, attempt=0, message_id=message_id, sent_at=self._now())
            self._rows[receipt.key] = _Row(row)
            self._moved("witness", receipt.key, None, State.SENT, None)
            return self._log(receipt.key, receipt.evidence, message_id)
        if entry.message_id == message_id or message_id in entry.duplicate_message_ids:
            return entry
        if entry.message_id is not None:
            duplicates = (*entry.duplicate_message_ids, message_id)
            self._rows[receipt.key].entry = replace(entry, duplicate_message_ids=duplicates)
            return self._log(receipt.key, receipt.evidence, message_id)
        sent_at = entry.sent_at or self._now()
        return self._change(
            "witness", entry, State.SENT, receipt.evidence, message_id, None,
            message_id=message_id, sent_at=sent_at, error=None,
        )  # fmt: skip

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

    def _blank(self, delivery: Delivery, *, state: State, attempt: int, **known: object) -> Entry:
        unknown = dict.fromkeys(
            ("token", "claimed_by", "claimed_at", "deadline_at", "settled_at", "message_id", "sent_at", "error")
        )
        rest = {**unknown, "duplicate_message_ids": (), "history": (), **known}
        return Entry(
            key=delivery.key,
            identity=delivery.identity,
            email=delivery.message.to,
            fingerprint=delivery.message.fingerprint,
            state=state,
            attempt=attempt,
            read_at=self._now(),
            **rest,  # type: ignore[arg-type]
        )

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


@dataclass
class FakeProvider:
    """Does what ``answer`` does: returns a message id, or raises. Counts what was asked, and what it accepted."""

    answer: Callable[[Message, Mapping[str, str]], str] | None = None
    asked: int = 0
    accepted: list[tuple[str, str]] = field(default_factory=list)
    """Key and message id of each mail."""

    def send(self, message: Message, *, tags: Mapping[str, str], before_signing: Callable[[], None]) -> str:
        self.asked += 1
        before_signing()
        if self.answer is not None:
            return self.answer(message, tags)
        return self.accept(tags)

    def accept(self, tags: Mapping[str, str]) -> str:
        message_id = f"m-{len(self.accepted) + 1}"
        self.accepted.append((tags["mailonce_key"], message_id))
        return message_id
