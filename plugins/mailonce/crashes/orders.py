"""What the matrix and its worker processes say to each other: one order, as JSON, and one answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any

from mailonce.crashes.points import CrashPoint
from mailonce.delivery import Delivery
from mailonce.errors import InvalidInput
from mailonce.keys import Identity
from mailonce.ledgers.base import Ledger
from mailonce.messages.message import Message, StoredTemplate


@dataclass(frozen=True, kw_only=True)
class LedgerMaker:
    """How each process opens the ledger for itself.

    :param name: ``module:callable``. Importing the module must neither open a connection nor start a thread: it is
        imported once, and the workers are forked from there.
    :param arguments: what the callable gets by name; plain values.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Callable[..., Ledger]:
        """Import the module and return the callable.

        :raises mailonce.errors.InvalidInput: there is none.
        """
        module, _, name = self.name.partition(":")
        try:
            found: Callable[..., Ledger] = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise InvalidInput(
                field="ledger",
                reason=f"{self.name!r} names nothing that can be called ({error})",
                remedy="Write module:callable, of a callable that returns a mailonce.ledgers.base.Ledger",
            ) from error
        return found

    def open(self) -> Ledger:
        """Open the ledger.

        :raises mailonce.errors.InvalidInput: the name does not name a callable.
        """
        return self.load()(**self.arguments)


@dataclass(frozen=True, kw_only=True)
class Stop:
    """How a worker is to be stopped.

    :param at: where; on the wire it is stopped from outside.
    :param signal: ``SIGKILL``, or ``SIGSTOP`` to freeze it.
    :param seed: of the random moment, where the point asks for one.
    """

    at: CrashPoint
    signal: str = "SIGKILL"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Order:
    """One delivery by one process.

    :param provider: address of the provider. :param by: as in :class:`mailonce.protocol.Tools`.
    :param journals: folder of this machine's journals. :param receipts: file of the task's receipts.
    :param tried_before: whether an earlier try may have kept receipts.
    :param window: :param settle: seconds, as in :class:`mailonce.delivery.Timing`.
    :param retention: seconds. :param young: seconds, as for :func:`mailonce.recovery.recover`.
    :param in_doubt: as in the settings.
    """

    ledger: LedgerMaker
    provider: str
    delivery: Delivery
    by: str
    journals: str
    receipts: str
    tried_before: bool = False
    window: float = 1.0
    settle: float = 1200.0
    retention: float = 3600.0
    young: float = 0.0
    in_doubt: str = "hold"
    stop: Stop | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the order as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Order:
        """Return the order that :meth:`as_json` made plain."""
        delivery = values["delivery"]
        message = dict(delivery["message"])
        template = message.pop("stored_template")
        message["reply_to"] = tuple(message["reply_to"])
        stop = values["stop"]
        return cls(
            **{
                **values,
                "ledger": LedgerMaker(**values["ledger"]),
                "delivery": Delivery(
                    identity=Identity(**delivery["identity"]),
                    key=delivery["key"],
                    message=Message(**message, stored_template=StoredTemplate(**template) if template else None),
                ),
                "stop": Stop(**{**stop, "at": CrashPoint(stop["at"])}) if stop else None,
            }
        )


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a worker process ended.

    :param signal: the number of the signal that ended it; 0: none did.
    :param outcome: the name of the result or of the error; empty: it did not live to say.
    :param detail: the error's text.
    """

    signal: int = 0
    outcome: str = ""
    detail: str = ""


def line(**values: Any) -> bytes:
    """Return one line of the conversation."""
    return json.dumps(values).encode() + b"\n"
