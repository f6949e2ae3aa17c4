"""DynamoDB's items: what is written into them, and the ledger's entries read from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from mailonce.delivery import Claim, Delivery, Entry
from mailonce.events import Event, Fate
from mailonce.keys import Identity
from mailonce.states import State

Item = Mapping[str, Any]
"""One row: DynamoDB's attributes as Python's values."""

_SHARDS = "0123456789abcdef"
"""One month is spread over so many partitions of the index by the first digit of its keys, which is as good as
random: no month becomes one hot partition, and the order of the keys says nothing of the order of writing."""

_FOR_EVER = timedelta(days=365_000)
_decode = TypeDeserializer().deserialize


def item(attributes: Mapping[str, Any]) -> Item:
    """Return Python's values of what DynamoDB answered."""
    return {name: _decoded(value) for name, value in attributes.items()}


def _decoded(value: Any) -> Any:
    # As boto3 does it, which looks up a method by a name that it puts together for each value.
    if "S" in value:
        return value["S"]
    if "M" in value:
        return item(value["M"])
    return [_decoded(each) for each in value["L"]] if "L" in value else _decode(value)


def moment(at: datetime) -> str:
    """Return a moment as text of one width, so that the order of the texts is the order of the moments."""
    return at.astimezone(timezone.utc).isoformat(timespec="microseconds")


def moment_of(row: Item, name: str) -> datetime | None:
    """Return the moment that :func:`moment` wrote into an attribute; None: there is none."""
    return datetime.fromisoformat(row[name]) if name in row else None


def unix_time(at: datetime) -> int:
    """Return whole seconds since 1970, as DynamoDB's own deletion of expired items wants them."""
    return int(at.timestamp())


def month(campaign: str, period: str) -> str:
    """Return how the index by month names a month; neither name can hold the separator."""
    return f"{campaign}#{period}"


def shards(name: str) -> Iterator[str]:
    """Yield the partitions of the index by month over which one month, or whatever else is listed there, is spread."""
    return (shard(name, digit) for digit in _SHARDS)


def shard(name: str, digest: str) -> str:
    """Return the partition of the index by month for one row. :param digest: hexadecimal; its first digit decides."""
    return f"{name}#{digest[0]}"


def identity(delivery: Delivery, retention: timedelta | None = None) -> dict[str, Any]:
    """Return the values that say which mail a row is about, and how long it is kept once it is finished.

    :param retention: None: for ever, written as a thousand years, so that one expression serves both.
    """
    mail = delivery.message
    return _identity(delivery.identity, delivery.key, mail.to, mail.fingerprint, retention)


def _identity(
    who: Identity, key: str, email: str, fingerprint: str = "", retention: timedelta | None = None
) -> dict[str, Any]:
    return {
        "campaign": who.campaign,
        "period": who.period,
        "recipient_id": who.recipient_id,
        "edition": who.edition,
        "month_shard": shard(month(who.campaign, who.period), key),
        "email": email,
        "fingerprint": fingerprint,
        "retention": int((_FOR_EVER if retention is None else retention).total_seconds()),
    }


def claimed(claim: Claim, now: datetime) -> dict[str, Any]:
    """Return the values of a claim that is made at this moment."""
    deadline = now + claim.timing.window
    return {
        **identity(claim.delivery, claim.timing.retention),
        **common(now, State.SENDING, by=claim.by, note=None),
        "token": claim.token,
        "deadline_at": moment(deadline),
        "settled_at": moment(deadline + claim.timing.settle),
    }


def observed(event: Event, now: datetime) -> dict[str, Any]:
    """Return the values of an event that is told at this moment."""
    values = common(now, State.SENT, by=event.evidence, note=event.message_id)
    told = [_line(now, State.SENT, event.evidence, event.note)]
    return {
        **values,
        **(_identity(event.identity, event.key, event.address) if event.identity else {}),
        "message_id": event.message_id,
        "message_ids": [event.message_id],
        "told": told,
        "lines_and_told": [*values["lines"], *told],
        "event_id": event.id,
        "event_ids": {event.id},
        "fate": event.fate and event.fate.value,
        "fate_at": moment(event.at),
        "fate_detail": event.detail,
    }


def common(now: datetime, state: State, *, by: str | None, note: str | None) -> dict[str, Any]:
    """Return the values that every write uses: the moment, and the line of the row's history."""
    return {
        "now": moment(now),
        "unix_time": unix_time(now),
        "by": by,
        "lines": [_line(now, state, by, note)],
        "zero": 0,
        "one": 1,
        "nothing": [],
    }


def _line(now: datetime, state: State, by: str | None, note: str | None) -> Mapping[str, str | None]:
    return {"at": moment(now), "state": state.value, "by": by, "note": note}


def is_delivery(row: Item) -> bool:
    """Tell a delivery's row from the ledger's other items, whose keys are no digests and which have no state."""
    return "state" in row


def expired(row: Item, now: datetime) -> bool:
    """Tell whether a row is as good as none: DynamoDB deletes expired items late."""
    return "expires_at" in row and row["expires_at"] <= unix_time(now)


def has_message_id(row: Item, message_id: str) -> bool:
    """Tell whether a row knows of this acceptance."""
    return message_id == row.get("message_id") or message_id in row["duplicate_message_ids"]


def entry(row: Item, read_at: datetime) -> Entry:
    """Return the ledger's entry of a row."""
    return Entry(
        key=row["key"],
        identity=Identity(**{name: row[name] for name in ("campaign", "period", "recipient_id", "edition")}),
        email=row["email"],
        state=State(row["state"]),
        fingerprint=row["fingerprint"],
        attempt=int(row["attempt"]),
        token=row.get("token"),
        claimed_by=row.get("claimed_by"),
        claimed_at=moment_of(row, "claimed_at"),
        deadline_at=moment_of(row, "deadline_at"),
        settled_at=moment_of(row, "settled_at"),
        message_id=row.get("message_id"),
        duplicate_message_ids=tuple(row["duplicate_message_ids"]),
        sent_at=moment_of(row, "sent_at"),
        error=row.get("error"),
        history=tuple(_history(row["history"])),
        read_at=read_at,
        fate=Fate(row["fate"]) if "fate" in row else None,
        fate_at=moment_of(row, "fate_at"),
        fate_detail=row.get("fate_detail") or None,
        event_ids=frozenset(row.get("event_ids", ())),
    )


def _history(lines: Sequence[Mapping[str, str | None]]) -> Iterator[Mapping[str, str | None]]:
    """Yield a row's history. A conclusion is written without a name: it belongs to the claim before it."""
    claimant = None
    for line in lines:
        if line["state"] == State.SENDING.value:
            claimant = line["by"]
        yield {**line, "by": line["by"] or claimant}
