"""What travels between the socket and the operations: one request in, one reply out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ending(Enum):
    """What happens on the socket once the operation has decided on its reply."""

    ANSWER = "answer"
    """The reply is sent whole."""
    DROP = "drop"
    """The connection is closed in the ordinary way, with nothing sent."""
    RESET = "reset"
    """The connection is reset (RST), with nothing sent."""
    HANG = "hang"
    """Nothing is sent for `delay` seconds, then the connection is closed."""
    TRUNCATE = "truncate"
    """The head promises the whole body, half of it is sent, then the connection is closed."""


@dataclass(frozen=True)
class HttpRequest:
    """One HTTP request, its body read to the end. `segments` are the decoded parts of the path.

    The names of `headers` are in lower case. A repeated name in `query` has its values joined by spaces.
    """

    method: str
    path: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    client_address: str = "127.0.0.1"

    def header(self, name: str) -> str:
        """The header's value, or an empty string. Case does not matter."""
        return self.headers.get(name.lower(), "")


@dataclass
class Reply:
    """One HTTP reply and the way it ends. `delay` is counted in seconds before anything is sent."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    ending: Ending = Ending.ANSWER
    delay: float = 0.0


def json_reply(content: Mapping[str, Any], status: int = 200) -> Reply:
    """A reply whose body is `content` as JSON."""
    return Reply(status=status, body=json.dumps(content).encode())
