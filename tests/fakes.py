"""Stand-ins for what the protocol needs from outside: a ledger in memory, a provider that does as told, a clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from mailonce.delivery import Claim, Delivery, Entry, Timing
from mailonce.keys import Identity, statement_key
from mailonce.ledgers.base import Ledger
from mailonce.messages.message import Message
from mailonce.providers.base import Departure


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


def row(ledger: Ledger, delivery: Delivery) -> Entry:
    """The ledger's one row of a delivery."""
    (entry,) = ledger.find([delivery.key])
    return entry


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


@dataclass
class FakeProvider:
    """Does what ``answer`` does: returns a message id, or raises. Counts what was asked, and what it accepted."""

    answer: Callable[[Message, Mapping[str, str]], str] | None = None
    asked: int = 0
    accepted: list[tuple[str, str]] = field(default_factory=list)
    """Key and message id of each mail."""
    remembers: timedelta | None = None
    idempotency_keys: list[str] = field(default_factory=list)
    """Of every request, in order."""

    def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
        self.asked += 1
        departure.signing()
        departure.leaving()
        self.idempotency_keys.append(idempotency_key)
        if self.answer is not None:
            return self.answer(message, tags)
        return self.accept(tags)

    def accept(self, tags: Mapping[str, str]) -> str:
        message_id = f"m-{len(self.accepted) + 1}"
        self.accepted.append((tags["mailonce_key"], message_id))
        return message_id
