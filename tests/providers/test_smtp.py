"""The SMTP provider against a real relay: what each misbehaviour proves, and how many transactions it took."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailonce.errors import InDoubt, NeverLeft, NotDelivered, Rejected, RunBlocked, TemporarilyRefused, Throttled
from mailonce.messages.message import Message, StoredTemplate
from mailonce.providers.smtp import Encryption, Relay, SmtpProvider
from sandbox.smtp import SmtpBehaviour as B
from sandbox.smtp import SmtpStandIn
from tests.providers.mails import ANN, Told, message

KEY = "0b1c8a52-3a3e-4d9b-9d6a-6f1d00000000"
TAGS = {"mailonce_key": "0f" * 32}


@pytest.fixture
def relay() -> Iterator[SmtpStandIn]:
    with SmtpStandIn() as started:
        yield started


def place(relay: SmtpStandIn, **changes: Any) -> Relay:
    return Relay(**{"host": "127.0.0.1", "port": relay.port, "encryption": Encryption.NONE, "seconds": 10, **changes})


def send(through: SmtpProvider, mail: Message | None = None, key: str = KEY, **told: Any) -> str:
    return through.send(mail or message(), tags=TAGS, idempotency_key=key, departure=Told(**told))


FAULTS = [
    # what happens          what it proves  accepted
    (B.REFUSE_RECIPIENT, Rejected, 0),
    (B.DEFER_RECIPIENT, TemporarilyRefused, 0),
    (B.THROTTLE_RECIPIENT, Throttled, 0),
    (B.DROP_AT_RECIPIENT, NeverLeft, 0),
    (B.DROP_AT_DATA, NeverLeft, 0),
    (B.REFUSE_AT_DOT, Rejected, 0),
    (B.DEFER_AT_DOT, TemporarilyRefused, 0),
    (B.CLOSING_AT_DOT, TemporarilyRefused, 0),
    # Taken or not, it looks the same from here.
    (B.DROP_AT_DOT, InDoubt, 0),
    (B.ACCEPT_THEN_DROP, InDoubt, 1),
    (B.ACCEPT_THEN_HANG, InDoubt, 1),
    (B.ACCEPT_THEN_GARBLE, InDoubt, 1),
    (B.ACCEPT, None, 1),
]


@pytest.mark.parametrize(("behaviour", "proved", "accepted"), FAULTS)
def test_each_misbehaviour_is_one_transaction(
    relay: SmtpStandIn, behaviour: B, proved: type[NotDelivered] | None, accepted: int
) -> None:
    relay.behave(ANN, [behaviour] * 3)  # and it stays so: a repetition would not be answered better
    through = SmtpProvider(place(relay, end_of_data_seconds=0.5 if behaviour is B.ACCEPT_THEN_HANG else 10))
    if proved is None:
        assert send(through) == f"<{KEY}@example.com>"
    else:
        with pytest.raises(NotDelivered) as caught:
            send(through)
        assert type(caught.value) is proved
    assert (len(relay.transactions), len(relay.mails)) == (1, accepted)


def test_every_misbehaviour_is_in_the_table() -> None:
    assert {row[0] for row in FAULTS} == set(B)


@pytest.mark.parametrize("behaviour", [row[0] for row in FAULTS if row[1] is not None])
def test_after_a_failure_the_next_mail_is_none_the_worse(relay: SmtpStandIn, behaviour: B) -> None:
    through = SmtpProvider(place(relay, end_of_data_seconds=0.5))
    relay.behave(ANN, [behaviour])
    with pytest.raises(NotDelivered):
        send(through)
    send(through, message(to="bob@example.com"))
    assert len(relay.mails_to("bob@example.com")) == 1


def test_a_connection_is_kept_and_a_dead_one_opened_anew(relay: SmtpStandIn) -> None:
    through = SmtpProvider(place(relay))
    for _ in range(3):
        send(through)
    assert (len(relay.mails), relay.connections) == (3, 1)
    through._thread.connection.sock.shutdown(socket.SHUT_RDWR)
    send(through)
    assert (len(relay.mails), relay.connections) == (4, 2)


@pytest.mark.parametrize("moment", ["signing", "leaving"])
def test_without_the_final_dot_nothing_is_accepted(relay: SmtpStandIn, moment: str) -> None:
    def refuse() -> None:
        raise NeverLeft("too late")

    through = SmtpProvider(place(relay))
    with pytest.raises(NeverLeft, match="too late"):
        send(through, **{moment: refuse})
    send(through, message(to="bob@example.com"))
    assert [mail["To"] for mail in relay.mails] == ["bob@example.com"]


def test_what_arrives(relay: SmtpStandIn) -> None:
    text = "Ünits\n.\n..two dots\r\nlast" + "x" * 1200
    mail = message(
        sender="Bücher <billing@example.com>", subject="Für Kunden", text=text, html="<p>Grüße</p>",
        reply_to=("help@example.com",), headers={"X-Units": "3"},
    )  # fmt: skip
    send(SmtpProvider(place(relay)), mail)
    (arrived,) = relay.mails
    plain, html = arrived.get_payload()
    assert plain.get_payload(decode=True).decode().replace("\r\n", "\n").rstrip("\n") == text.replace("\r\n", "\n")
    assert html.get_payload(decode=True).decode().strip() == "<p>Grüße</p>"
    assert arrived["Message-ID"] == f"<{KEY}@example.com>"
    assert (arrived["X-Mailonce-Key"], arrived["X-Units"]) == (TAGS["mailonce_key"], "3")
    assert (arrived["To"], arrived["Reply-To"]) == (ANN, "help@example.com")
    assert arrived["From"].isascii()
    assert arrived["Subject"].isascii()


def test_a_mail_that_is_too_large_is_refused_before_it_is_offered() -> None:
    with SmtpStandIn(size=2000) as relay:
        with pytest.raises(Rejected, match="the relay takes 2000"):
            send(SmtpProvider(place(relay)), message(text="x" * 3000))
        assert not relay.transactions


def test_what_stops_everybody_is_no_fault_of_the_recipient() -> None:
    with SmtpStandIn(login="me", password="right", refused_sender="billing@example.com") as relay:
        with pytest.raises(RunBlocked, match="refuses the login"):
            send(SmtpProvider(place(relay, login="me", password="wrong")))
        right = place(relay, login="me", password="right")
        with pytest.raises(RunBlocked, match="refuses the sender"):
            send(SmtpProvider(right))
        send(SmtpProvider(right), message(sender="other@example.com"))
        with pytest.raises(RunBlocked, match="does not offer"):
            send(SmtpProvider(replace(right, encryption=Encryption.STARTTLS)))
        with pytest.raises(NeverLeft, match="could not be reached"):
            send(SmtpProvider(replace(right, encryption=Encryption.IMPLICIT_TLS)))
        assert len(relay.mails) == 1
    with pytest.raises(NeverLeft, match="could not be reached"):
        send(SmtpProvider(right))
    stored = StoredTemplate(name="t", data={})
    with pytest.raises(RunBlocked, match="stored in SES"):
        send(SmtpProvider(right), message(subject="", text="", stored_template=stored))


def test_it_is_looked_at_without_a_mail(relay: SmtpStandIn) -> None:
    assert "size" in SmtpProvider(place(relay)).check("billing@example.com")
    assert not relay.transactions
    with pytest.raises(NeverLeft):
        SmtpProvider(place(relay, port=9)).check("billing@example.com")


def test_a_certificate_is_verified_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_self_signed(tmp_path))
    with SmtpStandIn(tls=context) as relay:
        secure = place(relay, encryption=Encryption.STARTTLS)
        with pytest.raises(RunBlocked, match="certificate is not to be trusted"):
            send(SmtpProvider(secure))
        send(SmtpProvider(replace(secure, verify=False)))
        assert len(relay.mails) == 1


def _self_signed(folder: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay.example")])
    now = dt.datetime.now(dt.timezone.utc)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    pem = folder / "relay.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return pem
