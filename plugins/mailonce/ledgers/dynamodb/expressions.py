"""Every write of the DynamoDB ledger, by name: one atomic ``UpdateItem`` each, with the condition it hangs on.

``#name`` stands for the attribute ``name`` (some of ours are reserved words), ``:name`` for a value given with the
request, ``:SENT`` and its kin for the states, ``:DELIVERED`` and its kin for the fates. DynamoDB waits for a rival's
write and then checks the condition against what the rival wrote. No expression can say "if", so where PostgreSQL
needs one statement with a CASE there are several writes here, of which the ledger chooses the one that fits the row,
and the condition makes sure that it still does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from boto3.dynamodb.types import TypeSerializer

from mailonce.events import Fate
from mailonce.states import State

_PLACEHOLDER = re.compile(r"([#:])(\w+)")
_encode = TypeSerializer().serialize
_NAMED = {member.name: member.value for names in (State, Fate) for member in names}


@dataclass(frozen=True)
class Write:
    """One conditional change of one row."""

    update: str
    condition: str

    def only_if(self, condition: str) -> Write:
        """Return the same change with one condition more. DynamoDB refuses parentheses around parentheses."""
        return Write(self.update, f"({self.condition}) AND {condition}")

    def expressions(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of ``UpdateItem`` that say what to change, and when.

        :param values: by the names that follow the colons; those which the write does not use are left out,
            because DynamoDB refuses them.
        """
        names, used = self._placeholders
        known = {**values, **_NAMED}
        return {
            "UpdateExpression": self.update,
            "ConditionExpression": self.condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": {f":{name}": _encoded(known[name]) for name in used},
        }

    @cached_property
    def _placeholders(self) -> tuple[Mapping[str, str], frozenset[str]]:
        """The names that stand for attributes, and the values that are used."""
        found = set(_PLACEHOLDER.findall(f"{self.update} {self.condition}"))
        names = {f"#{name}": name for kind, name in found if kind == "#"}
        return names, frozenset(name for kind, name in found if kind == ":")


def _encoded(value: Any) -> Mapping[str, Any]:
    # As boto3 does it, which looks for the rarest kinds first.
    kind = type(value)
    if kind is str:
        return {"S": value}
    if kind is dict:
        return {"M": {name: _encoded(each) for name, each in value.items()}}
    if kind is list:
        return {"L": [_encoded(each) for each in value]}
    encoded: Mapping[str, Any] = _encode(value)
    return encoded


_SET_IDENTITY = """
SET #campaign = :campaign, #period = :period, #recipient_id = :recipient_id, #edition = :edition,
    #month_shard = :month_shard, #email = :email, #fingerprint = :fingerprint, #retention = :retention,
    #updated_at = :now"""

_SET_CLAIM = f"""{_SET_IDENTITY}, #state = :SENDING, #token = :token, #claimed_by = :by,
    #claimed_at = :now, #deadline_at = :deadline_at, #settled_at = :settled_at, #duplicate_message_ids = :nothing"""

# Nothing of an earlier claim may be taken for news of this one.
_FORGET_EARLIER = (
    " REMOVE #message_id, #sent_at, #error, #decided_by, #decision_reason, #decided_at, #expires_at, "
    "#fate, #fate_at, #fate_detail, #event_ids"
)

# time ──▶   worker A: claim ─────── send ─────── conclude(SENT)
#            worker B:        claim ──▶ refused, and told the row: SENDING under A's token: does not send
#            worker A again (its answer was lost): refused, and finds its own token: won, and not counted twice
CLAIM = Write(
    f"{_SET_CLAIM}, #attempt = if_not_exists(#attempt, :zero) + :one, "
    f"#history = list_append(if_not_exists(#history, :nothing), :lines){_FORGET_EARLIER}",
    "attribute_not_exists(#key) OR #state = :RELEASED",
)

# An expired row is as good as none, though DynamoDB may take days to delete it: the count starts again.
CLAIM_EXPIRED = Write(
    f"{_SET_CLAIM}, #attempt = :one, #history = :lines{_FORGET_EARLIER}",
    "#expires_at <= :unix_time",
)

_LOG = "#updated_at = :now, #history = list_append(#history, :lines)"

# A proof ends a doubt: the owner's late answer counts as long as nobody has decided or claimed since. A repeated
# write finds its own state, or no token any more, and changes nothing.
_OWNED = "#token = :token AND #state IN (:SENDING, :IN_DOUBT)"

CONCLUDE: Mapping[State, Write] = {
    State.SENT: Write(
        "SET #state = :SENT, #message_id = :message_id, #sent_at = :now, #expires_at = #retention + :unix_time, "
        f"{_LOG} REMOVE #error",
        _OWNED,
    ),
    # A stale owner must find no token of its own on a row that may be claimed again.
    State.RELEASED: Write(f"SET #state = :RELEASED, #error = :error, {_LOG} REMOVE #token", _OWNED),
    State.REJECTED: Write(
        f"SET #state = :REJECTED, #error = :error, #expires_at = #retention + :unix_time, {_LOG} REMOVE #token", _OWNED
    ),
    State.IN_DOUBT: Write(f"SET #state = :IN_DOUBT, #error = :error, {_LOG}", "#token = :token AND #state = :SENDING"),
}
"""What a claim's owner may conclude."""

TAKE_OVER = Write(f"SET #token = :successor, {_LOG}", "#token = :token AND #state = :IN_DOUBT")

# Late truth always wins, whatever the state.
WITNESS_FIRST = Write(
    "SET #state = :SENT, #message_id = :message_id, #sent_at = if_not_exists(#sent_at, :now), "
    f"#expires_at = #retention + :unix_time, {_LOG} REMOVE #error",
    "attribute_exists(#key) AND attribute_not_exists(#message_id)",
)

# A second message id stands beside the first: a measured duplicate.
WITNESS_FURTHER = Write(
    f"SET #duplicate_message_ids = list_append(#duplicate_message_ids, :message_ids), {_LOG}",
    "attribute_exists(#message_id) AND #message_id <> :message_id "
    "AND NOT contains(#duplicate_message_ids, :message_id)",
)

# Proof for a key without a row: the ledger has forgotten it, or was restored from an older copy. Without a claim
# nobody said how long to keep it, so it is kept for ever, as :retention then says.
WITNESS_UNKNOWN = Write(
    f"{_SET_IDENTITY}, #state = :SENT, #attempt = :zero, #message_id = :message_id, #sent_at = :now, "
    "#duplicate_message_ids = :nothing, #history = :lines",
    "attribute_not_exists(#key)",
)

_DECIDE = f"#decided_by = :by, #decision_reason = :reason, #decided_at = :now, {_LOG}"

DECIDE: Mapping[State, Write] = {
    State.SENT: Write(
        f"SET #state = :SENT, #sent_at = :now, #expires_at = #retention + :unix_time, {_DECIDE}", "#state = :IN_DOUBT"
    ),
    # A mail in doubt is released only once its claim is settled: nothing that its owner signed can be accepted
    # any more. To cancel it meanwhile and release that is no way round: the doubt is as old as it was. Moments are
    # text of one width, so that their order as text is their order in time.
    State.RELEASED: Write(
        f"SET #state = :RELEASED, {_DECIDE} REMOVE #token, #sent_at, #expires_at",
        "#state = :REJECTED OR (#state IN (:IN_DOUBT, :CANCELLED) AND #settled_at < :now)",
    ),
    State.CANCELLED: Write(
        f"SET #state = :CANCELLED, #expires_at = #retention + :unix_time, {_DECIDE} REMOVE #token, #sent_at",
        "#state IN (:IN_DOUBT, :RELEASED, :REJECTED)",
    ),
}
"""What a person, or a policy that a person chose, may decide."""
