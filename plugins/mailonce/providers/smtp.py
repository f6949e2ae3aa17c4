"""Any mail relay, through SMTP (RFC 5321): one transaction a mail, and never two.

A relay accepts a mail when the line that holds only a dot has ended it: "if a connection is lost before, the server must
act as if the transaction had failed" (section 3.8). So all before that line provably sent nothing, and only what
becomes of the answer to it can be in doubt. SMTP has no idempotency key and tells nothing later: what is in doubt is held.
"""

from __future__ import annotations

import logging
import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from enum import Enum
from functools import lru_cache

from mailonce.errors import InDoubt, NeverLeft, NotDelivered, Rejected, RunBlocked, TemporarilyRefused, Throttled
from mailonce.messages.message import Message
from mailonce.providers.base import Departure

log = logging.getLogger(__name__)

COMMAND_SECONDS = 30.0
END_OF_DATA_SECONDS = 600.0
"""How long a client must be ready to wait for the answer to the final dot (RFC 5321, section 4.5.3.2.6)."""

_TOO_FAST = re.compile(r"\brate\b|too many|too much|throttl|4\.7\.28|slow down|limit exceeded", re.IGNORECASE)


class Encryption(str, Enum):
    """How the connection to the relay is protected."""

    IMPLICIT_TLS = "TLS from the first byte on"
    STARTTLS = "STARTTLS, which the relay must offer"
    NONE = "not at all"


@dataclass(frozen=True, kw_only=True)
class Relay:
    """Where a relay is, and how to speak to it.

    :param port: 0: 465 for implicit TLS, 587 for STARTTLS, else 25. :param verify: whether its certificate is verified.
    :param login: :param password: empty: none are given.
    :param seconds: how long a connection, and the answer to a command, is waited for.
    :param end_of_data_seconds: how long the answer to the final dot is.
    """

    host: str
    port: int = 0
    encryption: Encryption = Encryption.IMPLICIT_TLS
    verify: bool = True
    login: str = ""
    password: str = field(default="", repr=False)
    seconds: float = COMMAND_SECONDS
    end_of_data_seconds: float = END_OF_DATA_SECONDS


class SmtpProvider:
    """Sends through one relay; each thread has a connection of its own, which is kept."""

    remembers = None

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._thread = threading.local()

    def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
        """See :class:`mailonce.providers.base.Provider`. The message id is the mail's own ``Message-ID``."""
        mail = _mail(message, tags, idempotency_key)
        try:
            self._send(mail, sender=parseaddr(message.sender)[1], to=message.to, departure=departure)
        except BaseException:
            # Without a QUIT: a transaction that has not ended is over then, and none of a mail in doubt goes on.
            self._drop()
            raise
        return str(mail["Message-ID"])

    def check(self, sender: str) -> Mapping[str, str]:
        """Go as far as can be gone without a mail: connect, log in, offer the sender, and quit.

        :return: what the relay says it can do (its answer to EHLO).
        :raises mailonce.errors.NotDelivered: it does not come as far; says why.
        """
        try:
            connection = self._connected(sender)
            return dict(connection.esmtp_features)
        finally:
            self._drop(politely=True)

    def _send(self, mail: EmailMessage, *, sender: str, to: str, departure: Departure) -> None:
        body = _wire(mail)
        connection = self._connected(sender)
        limit = int(connection.esmtp_features.get("size") or 0)
        if limit and len(body) > limit:
            raise Rejected(f"the mail has {len(body)} bytes, and the relay takes {limit}.")
        try:
            _expect(connection.rcpt(to), 250, 251, stage="the recipient")
            departure.signing()
            _expect(connection.docmd("DATA"), 354, stage="the mail")
            connection.send(body)
        except (smtplib.SMTPException, OSError) as error:
            raise NeverLeft(
                f"the relay was lost before the mail had ended ({type(error).__name__}: {error})."
            ) from error
        departure.leaving()
        try:
            _end_of_data(connection, self.relay, str(mail["Message-ID"]))
        except (smtplib.SMTPException, OSError) as error:
            raise InDoubt(f"the mail left, but no answer came ({type(error).__name__}: {error}).") from error

    def _connected(self, sender: str) -> smtplib.SMTP:
        """Return this thread's connection, on which a transaction of ``sender`` has begun; a dead one is opened anew."""
        kept: smtplib.SMTP | None = getattr(self._thread, "connection", None)
        if kept is not None:
            try:
                code, words = kept.mail(sender)
                if code != 421:  # the relay is about to close this connection
                    _expect((code, words), 250, stage="the sender", of_everybody=True)
                    return kept
            except (smtplib.SMTPException, OSError):
                pass
            self._drop()
        self._thread.connection = connection = _open(self.relay)
        try:
            _expect(connection.mail(sender), 250, stage="the sender", of_everybody=True)
        except (smtplib.SMTPException, OSError) as error:
            raise NeverLeft(f"the relay closed the connection ({type(error).__name__}: {error}).") from error
        return connection

    def _drop(self, *, politely: bool = False) -> None:
        connection: smtplib.SMTP | None = self._thread.__dict__.pop("connection", None)
        if connection is not None:
            with suppress(smtplib.SMTPException, OSError):
                connection.quit() if politely else connection.close()


def _open(relay: Relay) -> smtplib.SMTP:
    context = ssl.create_default_context() if relay.verify else ssl._create_unverified_context()  # noqa: S323, SLF001
    try:
        if relay.encryption is Encryption.IMPLICIT_TLS:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                relay.host, relay.port or 465, _own_name(), timeout=relay.seconds, context=context
            )
        else:
            port = relay.port or (587 if relay.encryption is Encryption.STARTTLS else 25)
            connection = smtplib.SMTP(relay.host, port, _own_name(), timeout=relay.seconds)
        if relay.encryption is Encryption.STARTTLS:
            connection.starttls(context=context)
        connection.ehlo_or_helo_if_needed()
        if relay.login:
            connection.login(relay.login, relay.password)
    except smtplib.SMTPAuthenticationError as error:
        if 400 <= error.smtp_code < 500:
            raise TemporarilyRefused(f"the relay cannot check the login now ({_said(error)}).") from error
        raise RunBlocked(f"the relay refuses the login ({_said(error)}).") from error
    except smtplib.SMTPResponseException as error:
        raise _refusal(error.smtp_code, _said(error), stage="the connection", of_everybody=True) from error
    except smtplib.SMTPNotSupportedError as error:
        raise RunBlocked(f"the relay does not offer what the connection asks for ({error}).") from error
    except ssl.SSLCertVerificationError as error:
        raise RunBlocked(f"the relay's certificate is not to be trusted ({error}).") from error
    except (smtplib.SMTPException, OSError) as error:
        raise NeverLeft(f"the relay could not be reached ({type(error).__name__}: {error}).") from error
    # The final dot is a packet of its own, and must not wait for the one before it to be acknowledged.
    assert connection.sock is not None  # just opened
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _end_of_data(connection: smtplib.SMTP, relay: Relay, message_id: str) -> None:
    wire = connection.sock
    assert wire is not None  # the mail itself has just gone over it
    wire.settimeout(relay.end_of_data_seconds)
    connection.send(b".\r\n")
    code, words = connection.getreply()
    wire.settimeout(relay.seconds)
    if not 200 <= code < 300:
        if not 400 <= code < 600:
            raise InDoubt(f"the relay's answer to the mail is no answer ({code} {_text(words)}).")
        raise _refusal(code, f"{code} {_text(words)}", stage="the mail")
    log.info("%s: the relay says %d %s", message_id, code, _text(words))


def _expect(answer: tuple[int, bytes], *codes: int, stage: str, of_everybody: bool = False) -> None:
    code, words = answer
    if code == -1:
        raise smtplib.SMTPServerDisconnected(_text(words) or "no answer")
    if code not in codes:
        raise _refusal(code, f"{code} {_text(words)}", stage=stage, of_everybody=of_everybody)


def _refusal(code: int, said: str, *, stage: str, of_everybody: bool = False) -> NotDelivered:
    """Return what a relay's refusal proves. Every one says that the mail was not accepted (RFC 5321, section 4.2.1).

    :param of_everybody: whether what is refused would be the same for the next mail.
    """
    if 400 <= code < 500:
        kind = Throttled if _TOO_FAST.search(said) else TemporarilyRefused
        return kind(f"the relay does not take {stage} now ({said}).")
    if of_everybody or code in (530, 535, 538):
        return RunBlocked(f"the relay refuses {stage} ({said}).")
    return Rejected(f"the relay refuses {stage} ({said}).")


def _mail(message: Message, tags: Mapping[str, str], idempotency_key: str) -> EmailMessage:
    if message.stored_template:
        raise RunBlocked("a template that is stored in SES cannot be sent through SMTP.")
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))  # so that no relay needs to know 8BITMIME or SMTPUTF8
    mail["From"], mail["To"], mail["Subject"] = message.sender, message.to, message.subject
    if message.reply_to:
        mail["Reply-To"] = ", ".join(message.reply_to)
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{idempotency_key}@{parseaddr(message.sender)[1].rpartition('@')[2]}>"
    mail["X-Mailonce-Key"] = tags.get("mailonce_key", "")
    for name, value in message.headers.items():
        mail[name] = value
    if message.text:
        mail.set_content(message.text, cte="quoted-printable")
    if message.html and message.text:
        mail.add_alternative(message.html, subtype="html", cte="quoted-printable")
    elif message.html:
        mail.set_content(message.html, subtype="html", cte="quoted-printable")
    return mail


def _wire(mail: EmailMessage) -> bytes:
    """Return a mail as it goes over the wire, without the final dot: lines end in CR LF, and dots at their beginnings are doubled."""
    head, blank, body = re.sub(rb"\r\n|\r|\n", b"\r\n", mail.as_bytes()).partition(b"\r\n\r\n")
    # Python begins the value of a long header on a new line, which not every program that looks for an id understands.
    head = re.sub(rb"(?m)^(Message-ID|X-Mailonce-Key):\r\n ", rb"\1: ", head)
    stuffed = re.sub(rb"(?m)^\.", b"..", head + blank + body)
    return stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n"


@lru_cache(maxsize=1)
def _own_name() -> str:
    return socket.getfqdn()  # once: it may ask the name service, and take seconds


def _said(error: smtplib.SMTPResponseException) -> str:
    return f"{error.smtp_code} {_text(error.smtp_error)}"


def _text(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words
