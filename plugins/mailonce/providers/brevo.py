"""Brevo, through version 3 of its API: one ``POST /smtp/email`` a mail, and exactly one request on the wire.

Sources: developers.brevo.com, "Idempotency for batch emails" (the key is a UUID in the *body's* ``headers``; a repeated one
is answered with ``duplicate_parameter``; remembered for 30 minutes, by the changelog "Email API now supports idempotency"
for 15), "Send a transactional email", "Rate limits"; the codes of errors in Brevo's own client libraries (``ErrorModel``).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from datetime import timedelta
from email.utils import parseaddr
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from mailonce.errors import InDoubt, NeverLeft, NotDelivered, Rejected, RunBlocked, Throttled
from mailonce.messages.message import Message
from mailonce.providers.base import Departure
from mailonce.tokens import stand_in

HOME = "https://api.brevo.com"
CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
UNACKNOWLEDGED = timedelta(seconds=30)
"""So long the kernel goes on trying to bring over what was handed to it; then it must not arrive any more."""

DUPLICATE = "duplicate_parameter"
REFUSED_RECIPIENT = frozenset(
    {"invalid_parameter", "missing_parameter", "out_of_range", "bad_request", "not_acceptable", "unprocessable_entity"}
)
"""Refusals of this mail, unless their text speaks of the sender. Every other refusal stops the run: it would hit everybody."""

UNSETTLED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY})
"""Refusals that do not say whether the mail, or another request with the same key, was taken."""

_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError,
                    httpx.UnsupportedProtocol, httpx.InvalidURL)  # fmt: skip


class BrevoProvider:
    """Sends through one Brevo account.

    :param api_key: an API key (not an SMTP key). :param home: where the API is, without ``/v3``.
    :param connections: how many requests are sent at once.
    :param connect_seconds: :param read_seconds: how long a connection, and an answer, is waited for.
    """

    remembers = timedelta(minutes=15)

    def __init__(
        self,
        api_key: str,
        *,
        home: str = HOME,
        connections: int = 1,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._client = httpx.Client(
            base_url=home.rstrip("/"),
            headers={"api-key": api_key, "Accept": "application/json", "User-Agent": "mailonce"},
            timeout=httpx.Timeout(read_seconds, connect=connect_seconds),
            follow_redirects=False,
            transport=_transport(home, max(10, connections)),
        )

    def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
        """See :class:`mailonce.providers.base.Provider`."""
        body = json.dumps(_request(message, tags, idempotency_key)).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        departure.signing()
        try:
            answer = self._client.post("/v3/smtp/email", content=_announced(body, departure), headers=headers)
        except _NEVER_CONNECTED as error:
            raise NeverLeft(f"Brevo could not be reached ({type(error).__name__}: {error}).") from error
        except httpx.HTTPError as error:
            # Read time-out, connection lost: the same whether the mail was taken or not.
            raise InDoubt(f"the request left, but no answer came ({type(error).__name__}: {error}).") from error
        return _message_id(answer, idempotency_key)

    def account(self) -> Mapping[str, Any]:
        """Return what ``GET /v3/account`` tells of the account: its plan, and the credits that are left.

        :raises mailonce.errors.NeverLeft: Brevo does not answer. :raises mailonce.errors.RunBlocked: it refuses the key.
        """
        try:
            answer = self._client.get("/v3/account")
        except httpx.HTTPError as error:
            raise NeverLeft(f"Brevo does not answer ({type(error).__name__}: {error}).") from error
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise RunBlocked(f"Brevo refuses the API key, or this machine's address ({_said(answer)}).")
        told = _content(answer)
        if answer.status_code != HTTPStatus.OK or not isinstance(told.get("plan"), list):
            raise NeverLeft(f"Brevo does not say how the account stands ({answer.status_code} {_said(answer)}).")
        return told

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _transport(home: str, connections: int) -> httpx.HTTPTransport:
    """Return what makes one request of one call, through the proxy that the environment names, if it names one."""
    place = urlsplit(home)
    proxy = None if proxy_bypass(place.hostname or "") else getproxies().get(place.scheme)
    user_timeout = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux; elsewhere the kernel's own patience holds
    milliseconds = int(UNACKNOWLEDGED.total_seconds() * 1000)
    return httpx.HTTPTransport(
        retries=0,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        proxy=proxy or None,
        socket_options=[(socket.IPPROTO_TCP, user_timeout, milliseconds)] if user_timeout else None,
    )


def _announced(body: bytes, departure: Departure) -> Iterator[bytes]:
    # Asked for when the connection stands and the headers are out: there is no later moment.
    departure.leaving()
    yield body


def _request(message: Message, tags: Mapping[str, str], idempotency_key: str) -> dict[str, Any]:
    if message.stored_template:
        raise RunBlocked("a template that is stored in SES cannot be sent through Brevo.")
    if len(message.reply_to) > 1:
        raise RunBlocked("Brevo takes one address to reply to, but the setting reply_to has more: leave one.")
    content = {"textContent": message.text, "htmlContent": message.html}
    reply = {"replyTo": _party(message.reply_to[0])} if message.reply_to else {}
    return {
        "sender": _party(message.sender),
        "to": [{"email": message.to}],
        "subject": message.subject,
        **{name: text for name, text in content.items() if text},
        **reply,
        "headers": {
            **message.headers,
            "idempotencyKey": idempotency_key,
            # Comes back in Brevo's webhooks; what is too varied to be a tag among those of its statistics.
            "X-Mailin-custom": "|".join(f"{name}:{value}" for name, value in tags.items()),
        },
        "tags": [tags[name] for name in ("mailonce_campaign", "mailonce_period", "mailonce_edition") if name in tags],
    }


def _party(address: str) -> dict[str, str]:
    name, email = parseaddr(address)
    return {"email": email, "name": name} if name else {"email": email}


def _message_id(answer: httpx.Response, idempotency_key: str) -> str:
    if answer.is_success:
        message_id = _content(answer).get("messageId")
        if not isinstance(message_id, str) or not message_id:
            raise InDoubt(f"Brevo answered {answer.status_code} without a message id: probably accepted, but unproved.")
        return message_id
    if answer.status_code == HTTPStatus.BAD_REQUEST and _content(answer).get("code") == DUPLICATE:
        return stand_in(idempotency_key)
    raise proved_by(answer)


def proved_by(answer: httpx.Response) -> NotDelivered:
    """Return the error that says what an answer other than an acceptance proves: one table, read from top to bottom."""
    status, code = answer.status_code, str(_content(answer).get("code", ""))
    said = _said(answer)
    if not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR or status in UNSETTLED:
        return InDoubt(f"Brevo answered {status} ({said}), which does not say whether it took the mail.")
    if code == "duplicate_request":
        return InDoubt(f"Brevo knows of another such request ({said}), and does not say what became of it.")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        reset = answer.headers.get("x-sib-ratelimit-reset")
        more = f"; more in {reset} s" if reset else ""
        return Throttled(f"Brevo asks for a slower pace ({said}{more}).")
    if status == HTTPStatus.PAYMENT_REQUIRED or code == "not_enough_credits":
        return RunBlocked(f"the Brevo account has no credits left ({said}).")
    if code in REFUSED_RECIPIENT and "sender" not in said.lower():
        return Rejected(f"Brevo refused it ({said}).")
    return RunBlocked(f"Brevo refuses to send for this account ({said}).")


def _content(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        content = answer.json()
    except ValueError:  # cut off, or no JSON at all
        return {}
    return content if isinstance(content, dict) else {}


def _said(answer: httpx.Response) -> str:
    content = _content(answer)
    words = ": ".join(str(content[name]) for name in ("code", "message") if content.get(name))
    return words or answer.reason_phrase
