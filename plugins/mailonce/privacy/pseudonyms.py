"""What an address becomes when a person is erased: a keyed hash, by which whoever has the key finds it again.

HMAC-SHA256 (RFC 2104) of the address as :func:`mailonce.suppression.normal` spells it. A hash without a key would hide
nothing: addresses can be guessed, and each guess be tried.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from mailonce.errors import InvalidInput
from mailonce.suppression import normal

PREFIX = "hmac-sha256:"
"""What a pseudonym begins with, and no address does: this stands in the place where an address did."""

KEY_CHECK = "hmac-sha256"
"""The entry among a ledger's suppressions that says which key its pseudonyms were made with: see
:meth:`Pseudonyms.check`."""

SHORTEST_KEY = 32
"""Bytes: as long as the hash (RFC 2104, section 3: "keys shorter than this length are strongly discouraged")."""

_ADDRESS = re.compile(r"[^\s<>()\[\]\"',;:]+@[^\s<>()\[\]\"',;:]+")


class Pseudonyms:
    """Makes pseudonyms of addresses.

    :param key: secret, and not to be kept with the ledger.
    :raises mailonce.errors.InvalidInput: the key is too short.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < SHORTEST_KEY:
            raise InvalidInput(
                field="erasure key",
                reason=f"it has {len(key)} bytes, fewer than {SHORTEST_KEY}",
                remedy="Give the connection that erasure_conn_id names a password such as `openssl rand -hex 32` makes",
            )
        self._key = key

    def of(self, address: str) -> str:
        """Return the pseudonym of an address; of a pseudonym, itself."""
        return address if is_pseudonym(address) else PREFIX + self._digest(normal(address))

    @property
    def check(self) -> str:
        """What tells this key from another without telling the key; no address has it for a pseudonym."""
        return "key check " + self._digest("mailonce erasure key")[:16]

    def _digest(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def check_key(said: str, pseudonyms: Pseudonyms | None) -> Pseudonyms:
    """Return what makes pseudonyms, if that is the key that a ledger's pseudonyms were made with.

    :param said: the reason of the ledger's entry :data:`KEY_CHECK`.
    :raises mailonce.errors.InvalidInput: there is no key, or another one.
    """
    if pseudonyms is not None and pseudonyms.check == said:
        return pseudonyms
    raise InvalidInput(
        field="setting [mailonce] erasure_conn_id",
        reason="it names another key than the one with which addresses were erased from this ledger"
        if pseudonyms
        else "it is not set, and addresses were erased from this ledger: nobody could tell which of them must not be mailed",
        remedy="Name the connection whose password is that key. If the key is gone for good: mailonce suppression lift "
        f"{KEY_CHECK} --reason '…', after which the erased addresses that were suppressed are mailed",
    )


def is_pseudonym(email: str) -> bool:
    """Tell whether this stands where an address was erased."""
    return email.startswith(PREFIX)


def without_addresses(text: str) -> str:
    """Return a text with ``(address)`` in the place of whatever looks like one.

    >>> without_addresses("550 5.1.1 <ann@example.com>: unknown")
    '550 5.1.1 <(address)>: unknown'
    """
    return _ADDRESS.sub("(address)", text)
