"""What a topic's or a queue's own policy lets a service do: as much of IAM's language as these policies speak."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any


def admits(policy: str, *, service: str, action: str, source: str) -> bool:
    """Tell whether a policy lets a service act for a resource.

    :param policy: its JSON; empty: there is none. :param service: such as ``ses.amazonaws.com``.
    :param action: such as ``sns:Publish``. :param source: the ARN of the resource that the service acts for.
    """
    return any(
        _names(statement, service) and _covers(statement.get("Action"), action) and _from(statement, source)
        for statement in _allowing(policy)
    )


def open_to_all(policy: str, action: str) -> bool:
    """Tell whether a policy lets everybody act, without any condition."""
    return any(
        _everybody(statement) and not statement.get("Condition") and _covers(statement.get("Action"), action)
        for statement in _allowing(policy)
    )


def _allowing(policy: str) -> Iterator[Mapping[str, Any]]:
    statements = json.loads(policy or "{}").get("Statement", [])
    for statement in [statements] if isinstance(statements, dict) else statements:
        if statement.get("Effect") == "Allow":
            yield statement


def _everybody(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    return principal == "*" or (isinstance(principal, dict) and "*" in _many(principal.get("AWS")))


def _names(statement: Mapping[str, Any], service: str) -> bool:
    principal = statement.get("Principal")
    named = isinstance(principal, dict) and service in _many(principal.get("Service"))
    return named or _everybody(statement)


def _covers(actions: Any, action: str) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _many(actions))


def _from(statement: Mapping[str, Any], source: str) -> bool:
    """Judge the conditions on where a request comes from; what others demand is not known here."""
    return all(
        any(fnmatchcase(source, pattern) for pattern in _many(values))
        for test in statement.get("Condition", {}).values()
        for key, values in test.items()
        if key.lower() == "aws:sourcearn"
    )


def _many(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())
