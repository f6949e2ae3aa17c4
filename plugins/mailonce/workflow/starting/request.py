"""What asks for a month: a request, read strictly, and the run that follows from it. No input or output here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from mailonce.canonical import digest
from mailonce.errors import InvalidInput
from mailonce.messages.statement import ORIGINAL
from mailonce.period import Period

CAMPAIGN = "monthly_usage"
"""Whom a request is for that names no campaign."""

FIELDS: Mapping[str, Mapping[str, Any]] = {
    # `maxLength`: in Python `$` also matches before a line feed at the end.
    "period": {"type": "string", "pattern": r"^[0-9]{4}-(0[1-9]|1[0-2])$", "maxLength": 7},
    "campaign": {"type": "string", "pattern": r"^[A-Za-z0-9_-]+\Z", "maxLength": 64},
    "edition": {"type": "string", "pattern": r"^[A-Za-z0-9_-]{1,64}\Z"},
    "recipients": {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": 256},
        "maxItems": 10_000,
        "uniqueItems": True,
    },
}
"""JSON schema of each field. What is also a parameter of the Dag takes what the Dag takes."""

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": FIELDS,
    "required": ["period"],
    "additionalProperties": False,
}

_REMEDY = 'Send it as {"campaign": "monthly_usage", "period": "2026-10"}; "edition" and "recipients" may be left out'
_ADDED_BY_AIRFLOW = "from_rest_api"
"""What Airflow adds to the extra of an asset event that came over its REST API (``CreateAssetEventsBody``, 3.3.2)."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Somebody says that a month can be mailed.

    :param edition: empty: none is asked for, and the Dag's own default counts.
    :param recipients: only these ids; empty: everybody.
    """

    campaign: str
    period: str
    edition: str = ""
    recipients: tuple[str, ...] = ()

    @property
    def run_id(self) -> str:
        """The id of the run that this request asks for: the same request, however often it comes, is the same run."""
        parts = ["usage-complete", self.period, self.edition or ORIGINAL]
        if self.recipients:
            parts.append(digest(sorted(self.recipients))[:12])
        return "__".join(parts)

    @property
    def conf(self) -> dict[str, Any]:
        """The parameters of that run: only those that the request names."""
        named = {"period": self.period, "edition": self.edition, "recipients": list(self.recipients)}
        return {name: value for name, value in named.items() if value}


def request_of(fields: Any) -> Request:
    """Make a request of decoded JSON.

    :raises mailonce.errors.InvalidInput: a field is missing, unknown, or not what it should be.
    """
    if error := best_match(Draft202012Validator(SCHEMA).iter_errors(fields)):
        where = ".".join(map(str, error.absolute_path))
        raise InvalidInput(field=f"field {where}" if where else "request", reason=error.message[:300], remedy=_REMEDY)
    Period(fields["period"])
    return Request(
        campaign=fields.get("campaign", CAMPAIGN),
        period=fields["period"],
        edition=fields.get("edition", ""),
        recipients=tuple(fields.get("recipients", ())),
    )


def request_of_event(extra: Mapping[str, Any]) -> Request:
    """Make a request of what came with an asset event.

    :raises mailonce.errors.InvalidInput: as :func:`request_of`.
    """
    return request_of({name: value for name, value in extra.items() if name != _ADDED_BY_AIRFLOW})


def request_in(body: str) -> Request:
    """Take a request out of a message's body: bare, in the envelope of SNS, in that of EventBridge, or both.

    :raises mailonce.errors.InvalidInput: there is none in it; says why.
    """
    inside = _json(body)
    if isinstance(inside, dict) and "Type" in inside:
        if inside["Type"] != "Notification" or not isinstance(inside.get("Message"), str):
            raise InvalidInput(
                field="message",
                reason=f"it is an SNS message of the type {str(inside['Type'])[:50]!r}, not a notification",
                remedy="Somebody subscribed the queue to a topic. If that is right, open the SubscribeURL in it",
            )
        inside = _json(inside["Message"])
    if isinstance(inside, dict) and "detail-type" in inside:
        inside = inside.get("detail")
    return request_of(inside)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(field="message", reason=f"it is not JSON ({type(error).__name__})", remedy=_REMEDY) from None
