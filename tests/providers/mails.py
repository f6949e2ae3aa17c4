"""A mail, and the departure that a provider is given with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mailonce.messages.message import Message

ANN = "ann@example.com"


def message(to: str = ANN, **changes: Any) -> Message:
    return Message(**{"sender": "Billing <billing@example.com>", "to": to, "subject": "s", "text": "t", **changes})


@dataclass
class Told:
    """A departure that does as the test says."""

    signing: Callable[[], None] = lambda: None
    leaving: Callable[[], None] = lambda: None
