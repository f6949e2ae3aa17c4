"""The Brevo provider against a real HTTP server: what each misbehaviour proves, and how often it went over the wire."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from mailonce.errors import InDoubt, NeverLeft, NotDelivered, Rejected, RunBlocked, Throttled
from mailonce.messages.message import Message, StoredTemplate
from mailonce.providers.brevo import BrevoProvider
from mailonce.tokens import stand_in
from sandbox.brevo import BrevoBehaviour as B
from sandbox.brevo import BrevoStandIn
from tests.providers.mails import ANN, Told, message

KEY = "0b1c8a52-3a3e-4d9b-9d6a-6f1d00000000"
TAGS = {"mailonce_key": "0f" * 32, "mailonce_campaign": "usage", "mailonce_period": "2026-10"}


@pytest.fixture
def brevo(monkeypatch: pytest.MonkeyPatch) -> Iterator[BrevoStandIn]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with BrevoStandIn() as standin:
        yield standin


def provider(brevo: BrevoStandIn, **changes: Any) -> BrevoProvider:
    return BrevoProvider(brevo.api_key, **{"home": brevo.url, "read_seconds": 10, **changes})


def send(through: BrevoProvider, mail: Message | None = None, key: str = KEY, **told: Any) -> str:
    return through.send(mail or message(), tags=TAGS, idempotency_key=key, departure=Told(**told))


FAULTS = [
    # what happens          what it proves  accepted
    (B.THROTTLE, Throttled, 0),
    (B.UNAUTHORIZED, RunBlocked, 0),
    (B.NOT_VALIDATED, RunBlocked, 0),
    (B.NO_CREDITS, RunBlocked, 0),
    (B.BAD_SENDER, RunBlocked, 0),
    (B.BAD_RECIPIENT, Rejected, 0),
    # Taken or not, it looks the same from here.
    (B.DUPLICATE_REQUEST, InDoubt, 0),
    (B.UNAVAILABLE_503, InDoubt, 0),
    (B.TIMEOUT_408, InDoubt, 0),
    (B.CONFLICT_409, InDoubt, 0),
    (B.REDIRECT, InDoubt, 0),
    (B.DROP_BEFORE, InDoubt, 0),
    (B.RESET_BEFORE, InDoubt, 0),
    (B.ACCEPT_THEN_500, InDoubt, 1),
    (B.ACCEPT_THEN_HANG, InDoubt, 1),
    (B.ACCEPT_THEN_RESET, InDoubt, 1),
    (B.ACCEPT_THEN_DROP, InDoubt, 1),
    (B.ACCEPT_THEN_TRUNCATE, InDoubt, 1),
    (B.ACCEPT_THEN_GARBLE, InDoubt, 1),
    (B.ACCEPT, None, 1),
]


@pytest.mark.parametrize(("behaviour", "proved", "accepted"), FAULTS)
def test_each_misbehaviour_is_one_request(
    brevo: BrevoStandIn, behaviour: B, proved: type[NotDelivered] | None, accepted: int
) -> None:
    brevo.behave(ANN, [behaviour] * 3)  # and it stays so: a repetition would not be answered better
    through = provider(brevo, read_seconds=0.5 if behaviour is B.ACCEPT_THEN_HANG else 10)
    if proved is None:
        assert send(through) == brevo.mails[0].message_id
    else:
        with pytest.raises(NotDelivered) as caught:
            send(through)
        assert type(caught.value) is proved
    assert (len(brevo.requests), len(brevo.mails)) == (1, accepted)


def test_every_misbehaviour_is_in_the_table() -> None:
    assert {row[0] for row in FAULTS} == set(B)


@pytest.mark.parametrize("lost", [row[0] for row in FAULTS if row[1] is InDoubt])
def test_after_a_lost_answer_the_same_key_finds_out_and_sends_one_mail(brevo: BrevoStandIn, lost: B) -> None:
    brevo.behave(ANN, [lost])
    through = provider(brevo, read_seconds=0.5 if lost is B.ACCEPT_THEN_HANG else 10)
    with pytest.raises(InDoubt):
        send(through)
    taken = bool(brevo.mails)
    told = send(provider(brevo))
    assert told == (stand_in(KEY) if taken else brevo.mails[0].message_id)
    assert len(brevo.mails) == 1


def test_the_stand_in_forgets_a_key_as_brevo_does(brevo: BrevoStandIn) -> None:
    now = 0.0
    brevo.clock = lambda: now
    through = provider(brevo)
    send(through)
    now = brevo.ttl - 1
    assert send(through) == stand_in(KEY)
    now = brevo.ttl
    send(through)
    assert len(brevo.mails) == 2, "which is why nobody asks so late"
    assert through.remembers.total_seconds() == brevo.ttl


def test_what_goes_over_the_wire(brevo: BrevoStandIn) -> None:
    mail = message(html="<p>t</p>", reply_to=("Help <help@example.com>",), headers={"List-Unsubscribe": "<https://x>"})
    send(provider(brevo), mail)
    assert brevo.requests == [
        {
            "sender": {"email": "billing@example.com", "name": "Billing"},
            "to": [{"email": ANN}],
            "subject": "s",
            "textContent": "t",
            "htmlContent": "<p>t</p>",
            "replyTo": {"email": "help@example.com", "name": "Help"},
            "headers": {
                "List-Unsubscribe": "<https://x>",
                "idempotencyKey": KEY,
                "X-Mailin-custom": "|".join(f"{name}:{value}" for name, value in TAGS.items()),
            },
            "tags": ["usage", "2026-10"],
        }
    ]


@pytest.mark.parametrize("moment", ["signing", "leaving"])
def test_what_the_departure_refuses_does_not_arrive(brevo: BrevoStandIn, moment: str) -> None:
    def refuse() -> None:
        raise NeverLeft("too late")

    through = provider(brevo)
    with pytest.raises(NeverLeft, match="too late"):
        send(through, **{moment: refuse})
    assert not brevo.requests
    send(through)
    assert len(brevo.mails) == 1, "and the next mail is none the worse"


def test_it_leaves_when_the_connection_stands_and_not_before(brevo: BrevoStandIn) -> None:
    steps: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as full:
        port = full.getsockname()[1]
    nowhere = BrevoProvider("key", home=f"http://127.0.0.1:{port}", connect_seconds=1)
    with pytest.raises(NeverLeft, match="could not be reached"):
        send(nowhere, signing=lambda: steps.append("signing"), leaving=lambda: steps.append("leaving"))
    assert steps == ["signing"]


def test_an_idle_connection_that_the_server_has_closed_is_opened_anew(brevo: BrevoStandIn) -> None:
    through = provider(brevo)
    brevo.behave(ANN, [B.ACCEPT_THEN_DROP])
    with pytest.raises(InDoubt):
        send(through, key=str(uuid.uuid4()))
    for _ in range(3):
        send(through, key=str(uuid.uuid4()))
    assert len(brevo.requests) == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"reply_to": ("a@example.com", "b@example.com")},
        {"subject": "", "text": "", "stored_template": StoredTemplate(name="t", data={})},
    ],
)
def test_what_brevo_cannot_do_is_said_before_anything_leaves(brevo: BrevoStandIn, changes: Any) -> None:
    with pytest.raises(RunBlocked):
        send(provider(brevo), message(**changes))
    assert not brevo.requests


def test_the_account_says_what_is_left(brevo: BrevoStandIn) -> None:
    assert provider(brevo).account()["plan"][0]["credits"] == 300
    with pytest.raises(RunBlocked, match="refuses the API key"):
        BrevoProvider("wrong", home=brevo.url).account()
    with pytest.raises(NeverLeft):
        BrevoProvider("key", home="http://127.0.0.1:9", connect_seconds=1).account()
