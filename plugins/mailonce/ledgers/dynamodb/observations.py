"""The writes that an event calls for: which of them fits a row as it stands. The rest is in ``expressions.py``.

An event may tell a row two things, and one write tells it both. The acceptance is the row's first, a further one, or
known already; the fate outranks the row's own, or does not.
"""

from __future__ import annotations

from mailonce.events import Event, Fate
from mailonce.ledgers.dynamodb import items
from mailonce.ledgers.dynamodb.expressions import WITNESS_FIRST, WITNESS_FURTHER, WITNESS_UNKNOWN, Write

_WITNESSED = Write(
    "SET #updated_at = :now, #history = list_append(#history, :told)",
    "#message_id = :message_id OR contains(#duplicate_message_ids, :message_id)",
)

# Queues give an event more than once: the row keeps the ids of those that it was told.
_UNTOLD = "(attribute_not_exists(#event_ids) OR NOT contains(#event_ids, :event_id))"


def expected(event: Event) -> Write:
    """Return the write to begin with. It fits a row that knows of the acceptance; every other refuses, and is told."""
    return WITNESS_FIRST if event.fate is None else _telling(_WITNESSED, event.fate, outranks=True)


def fitting(event: Event, row: items.Item | None) -> Write | None:
    """Return the write that fits this row, or the key without one; None: there is nothing to write, or not enough."""
    if row is None:
        proof = WITNESS_UNKNOWN if event.identity else None
    elif items.has_message_id(row, event.message_id):
        proof = _WITNESSED if event.fate and event.id not in row.get("event_ids", ()) else None
    else:
        proof = WITNESS_FURTHER if "message_id" in row else WITNESS_FIRST
    if proof is None or event.fate is None:
        return proof
    return _telling(proof, event.fate, outranks=row is None or _outranks(event, event.fate, row))


def _telling(proof: Write, fate: Fate, *, outranks: bool) -> Write:
    """Return the write that tells an event's fate beside the proof."""
    fates = "#fate = :fate, #fate_at = :fate_at, #fate_detail = :fate_detail, " if outranks else ""
    update = proof.update.replace("SET ", f"SET {fates}", 1).replace(":lines", ":lines_and_told")
    condition = _outranked_by(fate) if outranks else f"NOT {_outranked_by(fate)}"
    return Write(f"{update} ADD #event_ids :event_ids", proof.condition).only_if(f"{_UNTOLD} AND {condition}")


def _outranks(event: Event, fate: Fate, row: items.Item) -> bool:
    if "fate" not in row:
        return True
    told = (Fate(row["fate"]).rank, row["fate_at"], row["fate_detail"])
    return (fate.rank, items.moment(event.at), event.detail) > told


def _outranked_by(fate: Fate) -> str:
    """Return the condition that :func:`_outranks` states.

    Of the same fate twice the later stands, and of two at one moment the greater text, so that the order in which
    they are told never matters.
    """
    later = "#fate_at < :fate_at OR (#fate_at = :fate_at AND #fate_detail < :fate_detail)"
    lower = [f":{other.name}" for other in Fate if other.rank < fate.rank]
    ways = ["attribute_not_exists(#fate)", f"(#fate = :fate AND ({later}))"]
    if lower:
        ways.append(f"#fate IN ({', '.join(lower)})")
    return f"({' OR '.join(ways)})"
