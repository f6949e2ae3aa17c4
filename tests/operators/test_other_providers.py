"""The operators for Brevo and for a mail relay, with real connections, a real ledger, and stand-ins over real sockets."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from mailonce import DeliveryRetryPolicy, IdempotentBrevoOperator, IdempotentSmtpOperator
from mailonce.errors import AwaitingProof, BatchIncomplete, InDoubt, InvalidInput, Rejected, RunBlocked
from mailonce.states import State
from mailonce.tokens import stand_in
from mailonce.workflow.connections import open_brevo, open_ledger, open_smtp
from mailonce.workflow.settings import Settings
from sandbox.brevo import BrevoBehaviour, BrevoStandIn
from sandbox.postgres import EmbeddedPostgres
from sandbox.smtp import SmtpBehaviour, SmtpStandIn

pytestmark = pytest.mark.postgres
ANN = "c-1@example.com"
MOMENTS = ("claimed_at", "deadline_at", "settled_at")
PLAIN = {"disable_ssl": True, "disable_tls": True}


@pytest.fixture(autouse=True)
def _ledger(postgres: EmbeddedPostgres, connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.create_database("operator")
    connect("mailonce_ledger", **postgres.connection("operator"))
    monkeypatch.setenv("AIRFLOW__MAILONCE__LEDGER_TABLE", f"operator_{uuid.uuid4().hex[:12]}")
    monkeypatch.setenv("AIRFLOW__MAILONCE__SENDER", "Billing <billing@example.com>")
    monkeypatch.setenv("AIRFLOW__MAILONCE__CLAIM_WINDOW", "5")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # Of Amazon's events nobody waits for those of others.
    monkeypatch.setenv("AIRFLOW__MAILONCE__EVENTS_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/1/events")


@pytest.fixture
def brevo(connect: Any) -> Iterator[BrevoStandIn]:
    with BrevoStandIn() as standin:
        extra = {"read_seconds": 1}
        connect("brevo_default", conn_type="http", host=standin.url, password=standin.api_key, extra=extra)
        yield standin


@pytest.fixture
def relay(connect: Any) -> Iterator[SmtpStandIn]:
    with SmtpStandIn() as standin:
        extra = {**PLAIN, "end_of_data_seconds": 1}
        connect("smtp_default", conn_type="smtp", host="127.0.0.1", port=standin.port, extra=extra)
        yield standin


def run(kind: Any, **arguments: Any) -> dict[str, Any]:
    facts = {"campaign": "usage", "period": "2026-10", "subject": "Your month", "text": "{{ units }} units"}
    return kind(task_id="mail", **{**facts, **arguments}).execute({})


def row(recipient_id: str = "C-1") -> dict[str, Any]:
    return {"recipient_id": recipient_id, "email": f"{recipient_id}@example.com".lower(), "units": 3}


def entry(recipient_id: str = "C-1") -> Any:
    ledger = open_ledger(Settings.load())
    try:
        return {each.identity.recipient_id: each for each in ledger.of_month("usage", "2026-10")}[recipient_id]
    finally:
        ledger.close()


@pytest.fixture
def overdue(postgres: EmbeddedPostgres) -> Callable[[], None]:
    """Let the claims' deadlines pass, by the ledger's clock."""

    def pass_by() -> None:
        moments = ", ".join(f"{name} = {name} - interval '2 minutes'" for name in MOMENTS)
        with psycopg.connect(postgres.create_database("operator")) as connection:
            connection.execute(f"UPDATE {Settings.load().ledger_table} SET {moments}")

    return pass_by


def test_a_retry_after_a_lost_answer_of_brevo_ends_sent_with_one_mail(brevo: BrevoStandIn, overdue: Any) -> None:
    brevo.behave(ANN, [BrevoBehaviour.ACCEPT_THEN_RESET])
    with pytest.raises(AwaitingProof) as caught:
        run(IdempotentBrevoOperator, recipient=row())
    decision = DeliveryRetryPolicy().evaluate(caught.value, 1, 24)
    assert timedelta(0) < decision.retry_delay < timedelta(minutes=2)
    assert entry().state is State.IN_DOUBT
    overdue()
    result = run(IdempotentBrevoOperator, recipient=row())
    (mail,) = brevo.mails
    assert result == {"sent": 1, "recipient": "C-1", "message_id": stand_in(mail.key)}
    assert (entry().state, entry().message_id) == (State.SENT, stand_in(mail.key))
    assert run(IdempotentBrevoOperator, recipient=row())["already sent"] == 1
    assert len(brevo.requests) == 2


def test_a_batch_through_brevo_has_every_trouble_and_nobody_gets_two(brevo: BrevoStandIn, overdue: Any) -> None:
    lost = [
        each for each in BrevoBehaviour if each.value.startswith(("accept_", "drop", "reset", "unavail", "conflict"))
    ]
    rows = [row(f"C-{number}") for number in range(len(lost) * 2 + 10)]
    for number, trouble in enumerate(lost * 2):
        brevo.behave(rows[number]["email"], [trouble] * (1 if number < len(lost) else 2))
    brevo.behave(rows[-1]["email"], [BrevoBehaviour.BAD_RECIPIENT])
    brevo.behave(rows[-2]["email"], [BrevoBehaviour.THROTTLE] * 2)
    for _ in range(4):
        with pytest.raises(BatchIncomplete) as caught:
            run(IdempotentBrevoOperator, recipients=rows)
        overdue()
    assert [type(each) for each in caught.value.errors] == [Rejected]
    assert Counter(mail.to for mail in brevo.mails) == {each["email"]: 1 for each in rows[:-1]}
    assert len(brevo.requests) < 4 * len(rows)


def test_brevos_refusals_stop_the_run(brevo: BrevoStandIn, connect: Any) -> None:
    brevo.behave(ANN, [BrevoBehaviour.NO_CREDITS])
    with pytest.raises(RunBlocked, match="no credits left"):
        run(IdempotentBrevoOperator, recipient=row())
    assert entry().state is State.RELEASED
    connect("other", conn_type="http", host=brevo.url, password="wrong")
    with pytest.raises(RunBlocked, match="unauthorized"):
        run(IdempotentBrevoOperator, recipient=row(), brevo_conn_id="other")
    assert run(IdempotentBrevoOperator, recipient=row())["sent"] == 1


def test_a_relay_takes_every_mail_once_and_what_is_in_doubt_is_held(relay: SmtpStandIn) -> None:
    rows = [row(f"C-{number}") for number in range(len(SmtpBehaviour) + 10)]
    kinds = dict(zip((each["email"] for each in rows), SmtpBehaviour, strict=False))
    for address, behaviour in kinds.items():
        relay.behave(address, [behaviour] * 2)
    errors: list[Any] = []
    for _ in range(3):
        with pytest.raises(BatchIncomplete) as caught:
            run(IdempotentSmtpOperator, recipients=rows)
        errors = [each for each in caught.value.errors if not isinstance(each, (InDoubt, Rejected))]
    assert not errors, "whoever was refused for a time has theirs by now"
    doubted = {address for address, kind in kinds.items() if "then" in kind.value or kind is SmtpBehaviour.DROP_AT_DOT}
    refused = {address for address, kind in kinds.items() if kind.value.startswith("refuse")}
    mails = Counter(mail["To"] for mail in relay.mails)
    assert set(mails.values()) == {1}
    assert {each["email"] for each in rows} - doubted - refused <= set(mails)
    held = {each.recipient_id.lower() + "@example.com" for each in caught.value.errors if isinstance(each, InDoubt)}
    assert held == doubted
    assert not any(isinstance(each, AwaitingProof) for each in caught.value.errors)
    found = entry("C-20")
    (mail,) = relay.mails_to("c-20@example.com")
    assert (found.message_id, found.key) == (mail["Message-ID"], mail["X-Mailonce-Key"])


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        ({"conn_type": "http"}, "it has no password"),
        ({"conn_type": "http", "password": "x", "extra": {"read_seconds": "soon"}}, "is no number"),
    ],
)
def test_a_brevo_connection_that_lacks_something_is_named(connect: Any, connection: Any, said: str) -> None:
    connect("brevo_default", **connection)
    with pytest.raises(InvalidInput, match=said):
        open_brevo(Settings.load())
    with pytest.raises(InvalidInput, match="connection nosuch: it does not exist"):
        open_brevo(Settings.load({"brevo_conn_id": "nosuch"}))


def test_a_connection_says_where_and_how(connect: Any) -> None:
    connect("brevo_default", conn_type="http", password="x")
    assert str(open_brevo(Settings.load())._client.base_url) == "https://api.brevo.com"
    connect("brevo_default", conn_type="http", password="x", host="proxy.example", port=8443)
    assert str(open_brevo(Settings.load())._client.base_url) == "https://proxy.example:8443"
    found = []
    for extra in ({}, {"disable_ssl": True}, PLAIN):
        connect("smtp_default", conn_type="smtp", host="relay.example", extra=extra)
        found.append(open_smtp(Settings.load()).relay.encryption.name)
    assert found == ["IMPLICIT_TLS", "STARTTLS", "NONE"]
    for fields, said in (
        ({}, "it has no host"),
        ({"host": "relay.example", "extra": {"auth_type": "oauth2"}}, "is not known here"),
        ({"host": "relay.example", "extra": {"timeout": 0}}, "not above 0"),
    ):
        connect("smtp_default", conn_type="smtp", **fields)
        with pytest.raises(InvalidInput, match=said):
            open_smtp(Settings.load())
