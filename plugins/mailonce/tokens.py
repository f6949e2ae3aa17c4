"""The names of claims, and the idempotency key that a claim and all who ask about it later have in common."""

from __future__ import annotations

import secrets
import uuid

_OWN = 8
"""So many of a token's last digits tell who holds it; what stands before them is the claim's for ever."""

_STAND_IN = "idempotency-key:"


def new_token() -> str:
    """Return the name of a new claim, a UUID."""
    return str(uuid.uuid4())


def successor_of(token: str) -> str:
    """Return another name for the same claim, for whoever takes it over to ask the provider about it."""
    return token[:-_OWN] + secrets.token_hex(_OWN // 2)


def idempotency_key(token: str) -> str:
    """Return the UUID that every request of a claim carries: the same for the claim and its successors, for no other."""
    return token[:-_OWN] + "0" * _OWN


def stand_in(key: str) -> str:
    """Return what is recorded in place of a message id, when the provider says only that it knows the idempotency key."""
    return f"{_STAND_IN}{key}"


def same_mail(recorded: str | None, told: str, token: str) -> bool:
    """Tell whether two proofs of acceptance are about one mail: by the same id, or because one of them is only the
    :func:`stand_in` of the claim that the other belongs to.

    :param recorded: the message id in the ledger's row. :param told: the one that has just become known.
    :param token: of the claim under which it became known.
    """
    return recorded is not None and (recorded == told or stand_in(idempotency_key(token)) in (recorded, told))
