"""The interface between the delivery protocol and whoever carries the mail.

A new provider is one new file that meets :class:`Provider`. Its whole art is honesty about failures: each one
raises the :class:`mailonce.errors.NotDelivered` that it proves, and :class:`mailonce.errors.InDoubt` whenever the
mail may have been accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from mailonce.messages.message import Message


class Provider(Protocol):
    """Sends one mail by one request: never repeats it on its own."""

    def send(self, message: Message, *, tags: Mapping[str, str], before_signing: Callable[[], None]) -> str:
        """Hand one mail to the provider.

        :param tags: go with the mail, and come back in the provider's events about it.
        :param before_signing: called last before the request is signed; what it raises is raised, and nothing leaves.
        :return: the provider's message id.
        :raises mailonce.errors.NotSent: the mail was not accepted, for certain.
        :raises mailonce.errors.Rejected: the provider refuses this mail for good.
        :raises mailonce.errors.InDoubt: the mail may have been accepted.
        """
        ...
