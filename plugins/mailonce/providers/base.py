"""The interface between the delivery protocol and whoever carries the mail.

A new provider is one new file that meets :class:`Provider`. Its whole art is honesty about failures: each one
raises the :class:`mailonce.errors.NotDelivered` that it proves, and :class:`mailonce.errors.InDoubt` whenever the
mail may have been accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from mailonce.messages.message import Message


class Departure(Protocol):
    """Is told how far a request is. What its methods raise must be raised, and then nothing may leave."""

    def signing(self) -> None:
        """To be called last before the request is signed, or is otherwise made valid for some time."""
        ...

    def leaving(self) -> None:
        """To be called in the last moment before that part of the request leaves without which it is not accepted.

        The later the better: a failure before it is known to have sent nothing, and a failure after it is doubt.
        """
        ...


class Provider(Protocol):
    """Sends one mail by one request: never repeats it on its own."""

    @property
    def remembers(self) -> timedelta | None:
        """For how long after a request with an idempotency key another with the same key sends nothing; None: it never does.

        Of several figures in a provider's documents the least. For that long a lost answer may be asked for again.
        """
        ...

    def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
        """Hand one mail to the provider.

        :param tags: go with the mail, and come back in the provider's events about it.
        :param idempotency_key: a UUID, the same in every request for one claim. A provider that says it knows the key
            has accepted the mail: then :func:`mailonce.tokens.stand_in` is returned.
        :param departure: must be told before anything leaves.
        :return: the provider's message id.
        :raises mailonce.errors.NotSent: the mail was not accepted, for certain.
        :raises mailonce.errors.Rejected: the provider refuses this mail for good.
        :raises mailonce.errors.InDoubt: the mail may have been accepted.
        """
        ...
