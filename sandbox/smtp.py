"""A mail relay that keeps what it accepts, and misbehaves at each stage on request: `with SmtpStandIn() as relay:`."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from enum import Enum
from types import TracebackType
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from typing_extensions import Self


class SmtpBehaviour(str, Enum):
    """What becomes of one transaction. Those named `accept_...` keep the mail."""

    ACCEPT = "accept"
    ACCEPT_THEN_DROP = "accept_then_drop"
    ACCEPT_THEN_HANG = "accept_then_hang"
    ACCEPT_THEN_GARBLE = "accept_then_garble"
    DROP_AT_DOT = "drop_at_dot"
    REFUSE_AT_DOT = "refuse_at_dot"
    DEFER_AT_DOT = "defer_at_dot"
    CLOSING_AT_DOT = "closing_at_dot"
    DROP_AT_DATA = "drop_at_data"
    REFUSE_RECIPIENT = "refuse_recipient"
    DEFER_RECIPIENT = "defer_recipient"
    THROTTLE_RECIPIENT = "throttle_recipient"
    DROP_AT_RECIPIENT = "drop_at_recipient"


B = SmtpBehaviour
AT_RECIPIENT = {
    B.REFUSE_RECIPIENT: "550 5.1.1 No such user here",
    B.DEFER_RECIPIENT: "450 4.2.0 Greylisted, come back later",
    B.THROTTLE_RECIPIENT: "450 4.7.1 Too many messages, slow down",
}
AT_DOT = {
    B.REFUSE_AT_DOT: "554 5.7.1 Message content rejected",
    B.DEFER_AT_DOT: "451 4.3.0 Local error, try again",
    B.CLOSING_AT_DOT: "421 4.3.2 Shutting down",
    B.ACCEPT_THEN_GARBLE: "2?? what",
}


class SmtpStandIn:
    """Serves from `with` on.

    :param login: :param password: what is asked for before a mail; empty: nothing. :param tls: for STARTTLS.
    :param refused_sender: a MAIL FROM that is refused. :param size: the largest mail.
    """

    def __init__(
        self, *, login: str = "", password: str = "", tls: ssl.SSLContext | None = None, refused_sender: str = "",
        size: int = 1_000_000, hang_seconds: float = 30.0,
    ) -> None:  # fmt: skip
        self.mails: list[Message] = []
        self.transactions: list[str] = []
        """Every recipient that was asked for, in order."""
        self.hang_seconds = hang_seconds
        self.refused_sender = refused_sender
        self._login = (login.encode(), password.encode())
        self._behaviours: dict[str, list[SmtpBehaviour]] = {}
        self._current: dict[int, SmtpBehaviour] = {}
        self._lock = threading.Lock()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.connections = 0
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self.port, data_size_limit=size, tls_context=tls,
            authenticator=self._authenticated if login else None, auth_required=bool(login), auth_require_tls=False,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._controller.stop()

    def behave(self, address: str, behaviours: Sequence[SmtpBehaviour]) -> None:
        """Say what becomes of the next transactions for an address, one after the other."""
        with self._lock:
            self._behaviours[address] = list(behaviours)

    def mails_to(self, address: str) -> list[Message]:
        """The accepted mails to one address."""
        return [mail for mail in self.mails if mail["To"] == address]

    # What aiosmtpd asks.

    async def handle_EHLO(  # noqa: N802
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """Count a connection."""
        session.host_name = hostname
        self.connections += 1
        return responses

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Begin a transaction."""
        if address == self.refused_sender:
            return "550 5.7.1 Sender not allowed"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        with self._lock:
            self.transactions.append(address)
            waiting = self._behaviours.get(address, [])
            behaviour = waiting.pop(0) if waiting else B.ACCEPT
            self._current[id(envelope)] = behaviour
        if behaviour is B.DROP_AT_RECIPIENT:
            _drop(server)
        if behaviour in AT_RECIPIENT:
            return AT_RECIPIENT[behaviour]
        if behaviour is B.DROP_AT_DATA:
            _drop(server, after=b"250 OK\r\n")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take the mail, or not: it has ended with the final dot."""
        behaviour = self._current.pop(id(envelope), B.ACCEPT)
        if behaviour is B.DROP_AT_DOT:
            _drop(server)
            return "250 never heard"
        if behaviour.value.startswith("accept"):
            self.mails.append(message_from_bytes(bytes(envelope.original_content or b"")))
        if behaviour is B.ACCEPT_THEN_DROP:
            _drop(server)
        if behaviour is B.ACCEPT_THEN_HANG:
            await asyncio.sleep(self.hang_seconds)
        return AT_DOT.get(behaviour, f"250 2.0.0 Ok: queued as {len(self.mails):08X}")

    def _authenticated(self, _server: SMTP, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == self._login
        return AuthResult(success=right, handled=False)


def _drop(server: SMTP, after: bytes = b"") -> None:
    transport = server.transport
    assert isinstance(transport, asyncio.WriteTransport)
    transport.write(after)
    transport.close()
