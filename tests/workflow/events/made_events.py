"""What the tests of reconciling share: records of SES about our mails, and a queue in memory."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from mailonce.delivery import Delivery
from mailonce.workflow.events.queue import BATCH, Depth, Message

ACCEPTED_AT = datetime(2030, 2, 1, 9, tzinfo=timezone.utc)
PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    # kind              part, and what it holds besides the moment
    "Send": ("send", {}),
    "Delivery": ("delivery", {"smtpResponse": "250 ok"}),
    "DeliveryDelay": ("deliveryDelay", {"delayType": "MailboxFull"}),
    "Bounce": ("bounce", {"bounceType": "Permanent", "bounceSubType": "General"}),
    "Complaint": ("complaint", {"complaintFeedbackType": "abuse"}),
    "Reject": ("reject", {"reason": "Bad content"}),
}


def body(delivery: Delivery, kind: str = "Send", message_id: str = "m-1", *, seconds: int = 0, **tags: Any) -> str:
    """One message about one mail.

    :param seconds: how long after its acceptance the event happened. :param tags: others than the mail's own.
    """
    part, told = PARTS[kind]
    at = (ACCEPTED_AT + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    mail = {
        "timestamp": ACCEPTED_AT.isoformat().replace("+00:00", "Z"),
        "messageId": message_id,
        "destination": [delivery.message.to],
        "tags": {name: [value] for name, value in (tags or delivery.tags).items()},
    }
    return json.dumps({"eventType": kind, "mail": mail, part: {**told, "timestamp": at}})


@dataclass
class Held:
    """One message of the queue in memory."""

    id: str
    body: str
    handed_out: int = 0
    hidden: bool = False


@dataclass
class MemoryQueue:
    """Does what :class:`mailonce.workflow.events.queue.EventQueue` does: out of order, and each message once at a time.

    ``elsewhere``: messages that another consumer holds. ``receipts_fail``: how many deletions SQS does not make.
    """

    seed: int = 0
    elsewhere: int = 0
    receipts_fail: int = 0
    breaks_at_delete: BaseException | None = None
    held: dict[str, Held] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._chance = random.Random(self.seed)

    def put(self, *bodies: str) -> None:
        for text in bodies:
            name = f"sqs-{len(self.held) + len(self.calls)}-{self._chance.random()}"
            self.held[name] = Held(name, text)

    def bodies(self) -> list[str]:
        return [held.body for held in self.held.values()]

    def time_passes(self) -> None:
        """Whoever holds messages is gone: they can be had again."""
        for held in self.held.values():
            held.hidden = False

    def receive(self) -> Sequence[Message]:
        with self._lock:
            self.calls.append("receive")
            free = [held for held in self.held.values() if not held.hidden]
            some = self._chance.sample(free, min(BATCH, len(free)))
            for held in some:
                held.hidden, held.handed_out = True, held.handed_out + 1
            return [Message(id=one.id, body=one.body, receipt=one.id, again=one.handed_out > 1) for one in some]

    def delete(self, messages: Iterable[Message]) -> None:
        with self._lock:
            self.calls.append("delete")
            if self.breaks_at_delete:
                raise self.breaks_at_delete
            for message in messages:
                if self.receipts_fail:
                    self.receipts_fail -= 1
                    self.held[message.id].hidden = False
                else:
                    del self.held[message.id]

    def give_back(self, messages: Iterable[Message]) -> None:
        with self._lock:
            self.calls.append("give back")
            for message in messages:
                self.held[message.id].hidden = False

    def depth(self) -> Depth:
        with self._lock:
            self.calls.append("depth")
            hidden = sum(held.hidden for held in self.held.values())
            return Depth(waiting=len(self.held) - hidden, hidden=hidden + self.elsewhere)
