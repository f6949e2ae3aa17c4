"""From what the protocol speaks of to the columns of the PostgreSQL ledger, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mailonce.delivery import Claim, Entry
from mailonce.events import Event, Fate
from mailonce.keys import Identity
from mailonce.ledgers.base import Concluded
from mailonce.states import State

_FATES = [fate.value for fate in sorted(Fate, key=lambda fate: fate.rank)]


def columns(identity: Identity, email: str, fingerprint: str) -> dict[str, Any]:
    """Return whose mail a row is about, and which mail."""
    return {**vars(identity), "email": email, "fingerprint": fingerprint}


def write(claims: Sequence[Claim], conclusions: Sequence[Concluded]) -> list[tuple[str, dict[str, list[Any]]]]:
    """Return the statements that make these claims and conclusions, with their values."""
    steps = []
    if conclusions:
        steps.append(("conclude", _conclusion_columns(conclusions)))
    if claims:
        steps.append(("claim", _claim_columns(claims)))
    return steps


def _claim_columns(claims: Sequence[Claim]) -> dict[str, list[Any]]:
    """Return what the statement ``claim`` takes: one array a column, one element a claim."""
    return _arrays(
        {
            "key": claim.delivery.key,
            **columns(claim.delivery.identity, claim.delivery.message.to, claim.delivery.message.fingerprint),
            "token": claim.token,
            "by": claim.by,
            "window": claim.timing.window,
            "settle": claim.timing.settle,
            "retention": claim.timing.retention,
        }
        for claim in claims
    )


def _conclusion_columns(conclusions: Sequence[Concluded]) -> dict[str, list[Any]]:
    """Return what the statement ``conclude`` takes: one array a column, one element a conclusion."""
    return _arrays(
        {
            "key": key,
            "token": token,
            "state": conclusion.state.value,
            "message_id": conclusion.message_id,
            "error": conclusion.error,
        }
        for key, token, conclusion in conclusions
    )


def _arrays(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    listed = list(rows)
    return {name: [row[name] for row in listed] for name in listed[0]}


def event_columns(event: Event) -> dict[str, Any]:
    """Return what the statements of ``sql/events.sql`` take of an event."""
    return {
        "key": event.key,
        "message_id": event.message_id,
        "evidence": event.evidence,
        "note": event.note,
        "event_id": event.id,
        "fate": event.fate and event.fate.value,
        "fate_at": event.at if event.fate else None,
        "fate_detail": event.detail or None if event.fate else None,
        "fates": _FATES,
    }


def entry_of(row: Mapping[str, Any]) -> Entry:
    """Return what a row of the table tells."""
    own = ("campaign", "period", "recipient_id", "edition")
    same = ("key", "email", "fingerprint", "attempt", "claimed_by", "claimed_at", "deadline_at", "settled_at",
            "message_id", "sent_at", "error", "read_at")  # fmt: skip
    return Entry(
        identity=Identity(**{name: row[name] for name in own}),
        state=State(row["state"]),
        token=str(row["token"]) if row["token"] else None,
        duplicate_message_ids=tuple(row["duplicate_message_ids"]),
        history=tuple(row["history"]),
        # Not told by a table that is still to be migrated: it can be read all the same.
        fate=Fate(row["fate"]) if row.get("fate") else None,
        fate_at=row.get("fate_at"),
        fate_detail=row.get("fate_detail"),
        event_ids=frozenset(row.get("event_ids", ())),
        **{name: row[name] for name in same},
    )
