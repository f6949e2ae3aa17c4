"""A stand-in for Brevo over real HTTP: `with BrevoStandIn() as brevo:`. Keeps what it accepts, and misbehaves on request.

Of the API it has `POST /v3/smtp/email` with idempotency keys, and `GET /v3/account`. What it refuses, and in which words,
follows developers.brevo.com; the sources stand in `mailonce.providers.brevo`.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any

from typing_extensions import Self

from sandbox.ses.server import SandboxServer
from sandbox.ses.wire import Ending, HttpRequest, Reply, json_reply


class BrevoBehaviour(str, Enum):
    """What becomes of one request to send. Those named `accept_...` keep the mail, unless its key is known."""

    ACCEPT = "accept"
    ACCEPT_THEN_500 = "accept_then_500"
    ACCEPT_THEN_HANG = "accept_then_hang"
    ACCEPT_THEN_RESET = "accept_then_reset"
    ACCEPT_THEN_DROP = "accept_then_drop"
    ACCEPT_THEN_TRUNCATE = "accept_then_truncate"
    ACCEPT_THEN_GARBLE = "accept_then_garble"
    DROP_BEFORE = "drop_before"
    RESET_BEFORE = "reset_before"
    UNAVAILABLE_503 = "unavailable_503"
    TIMEOUT_408 = "timeout_408"
    CONFLICT_409 = "conflict_409"
    REDIRECT = "redirect"
    THROTTLE = "throttle"
    UNAUTHORIZED = "unauthorized"
    NOT_VALIDATED = "not_validated"
    NO_CREDITS = "no_credits"
    BAD_RECIPIENT = "bad_recipient"
    BAD_SENDER = "bad_sender"
    DUPLICATE_REQUEST = "duplicate_request"


B = BrevoBehaviour
REFUSALS = {
    B.UNAVAILABLE_503: (503, "", ""),
    B.TIMEOUT_408: (408, "", ""),
    B.CONFLICT_409: (409, "", ""),
    B.REDIRECT: (302, "", ""),
    B.THROTTLE: (429, "too_many_requests", "The expected rate limit is exceeded."),
    B.UNAUTHORIZED: (401, "unauthorized", "Key not found"),
    B.NOT_VALIDATED: (403, "account_under_validation", "Your account is under validation"),
    B.NO_CREDITS: (402, "not_enough_credits", "You do not have enough credits"),
    B.BAD_RECIPIENT: (400, "invalid_parameter", "email is not valid in to"),
    B.BAD_SENDER: (400, "invalid_parameter", "Sending has been rejected because the sender you used is not valid"),
    B.DUPLICATE_REQUEST: (400, "duplicate_request", "Another such request is in process"),
}
ENDINGS = {
    B.DROP_BEFORE: Ending.DROP,
    B.RESET_BEFORE: Ending.RESET,
    B.ACCEPT_THEN_HANG: Ending.HANG,
    B.ACCEPT_THEN_RESET: Ending.RESET,
    B.ACCEPT_THEN_DROP: Ending.DROP,
    B.ACCEPT_THEN_TRUNCATE: Ending.TRUNCATE,
}
KNOWN = (400, "duplicate_parameter", "Email for the idempotency key has already been processed")


@dataclass(frozen=True)
class BrevoMail:
    """An accepted mail: its id, its idempotency key, and the request's whole content."""

    message_id: str
    key: str
    content: dict[str, Any]

    @property
    def to(self) -> str:
        """The recipient's address."""
        return str(self.content["to"][0]["email"])


@dataclass
class BrevoStandIn:
    """Serves from `with` on. `ttl`: seconds for which an idempotency key is recognised; `api_key`: the one that is right."""

    ttl: float = 900.0
    api_key: str = "xkeysib-local"
    hang_seconds: float = 30.0
    credits: int = 300
    clock: Callable[[], float] = time.monotonic
    mails: list[BrevoMail] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The content of every request to send, in the order of arrival."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, float] = {}
        self._behaviours: dict[str, list[BrevoBehaviour]] = {}
        self._server = SandboxServer("127.0.0.1", 0, self._handle, lambda: 0.0)

    def __enter__(self) -> Self:
        serve = {"poll_interval": 0.02}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs=serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.stop()
        self._thread.join()

    @property
    def url(self) -> str:
        """The address to put into the connection's host."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def behave(self, address: str, behaviours: Sequence[BrevoBehaviour]) -> None:
        """Say what becomes of the next requests to an address, one after the other."""
        with self._lock:
            self._behaviours[address] = list(behaviours)

    def _handle(self, request: HttpRequest) -> Reply:
        if request.header("api-key") != self.api_key:
            return _refusal(*REFUSALS[B.UNAUTHORIZED])
        if (request.method, request.path) == ("GET", "/v3/account"):
            plan = {"type": "free", "creditsType": "sendLimit", "credits": self.credits}
            return json_reply({"email": "billing@example.com", "plan": [plan], "relay": {"enabled": True}})
        if (request.method, request.path) != ("POST", "/v3/smtp/email"):
            return _refusal(404, "document_not_found", f"No {request.path} here")
        return self._send(json.loads(request.body))

    def _send(self, content: dict[str, Any]) -> Reply:
        with self._lock:
            self.requests.append(content)
            waiting = self._behaviours.get(content["to"][0]["email"], [])
            behaviour = waiting.pop(0) if waiting else B.ACCEPT
            if behaviour in REFUSALS:
                return _refusal(*REFUSALS[behaviour])
            if behaviour in (B.DROP_BEFORE, B.RESET_BEFORE):
                return Reply(ending=ENDINGS[behaviour])
            reply = self._accepted(content)
        if behaviour is B.ACCEPT_THEN_500:
            return _refusal(500, "internal_error", "Something went wrong")
        if behaviour is B.ACCEPT_THEN_GARBLE:
            return Reply(status=201, body=b"<html>accepted, perhaps</html>")
        reply.ending = ENDINGS.get(behaviour, Ending.ANSWER)
        reply.delay = self.hang_seconds if reply.ending is Ending.HANG else 0.0
        return reply

    def _accepted(self, content: dict[str, Any]) -> Reply:
        key = str(content.get("headers", {}).get("idempotencyKey", ""))
        now = self.clock()
        if key and now - self._known.get(key, float("-inf")) < self.ttl:
            return _refusal(*KNOWN)
        self._known[key] = now
        mail = BrevoMail(f"<{uuid.uuid4().hex}@smtp-relay.example>", key, content)
        self.mails.append(mail)
        return json_reply({"messageId": mail.message_id}, 201)


def _refusal(status: int, code: str, message: str) -> Reply:
    reply = json_reply({"code": code, "message": message} if code else {}, status)
    if status == 302:
        reply.headers["Location"] = "/v3/elsewhere"
    if status == 429:
        reply.headers["x-sib-ratelimit-reset"] = "1"
    return reply
