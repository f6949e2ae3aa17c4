"""Misbehaving on request."""

from __future__ import annotations

import http.client
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
)

from sandbox.ses import Behaviour, SesStandIn, Step
from tests.sandbox.ses.tools import ANN, ROOT, admin, client_of, http_call, message, refusal


@pytest.mark.parametrize(
    ("behaviour", "code", "status", "text"),
    [
        (Behaviour.THROTTLE, "TooManyRequestsException", 429, "Maximum sending rate exceeded."),
        (Behaviour.DAILY_QUOTA, "TooManyRequestsException", 429, "Daily message quota exceeded."),
        (Behaviour.REJECT, "MessageRejected", 400, ""),
        (Behaviour.BAD_REQUEST, "BadRequestException", 400, ""),
        (Behaviour.PAUSED, "SendingPausedException", 400, ""),
        (Behaviour.SUSPENDED, "AccountSuspendedException", 400, ""),
        (Behaviour.UNAVAILABLE_503, "ServiceUnavailable", 503, ""),
    ],
)
def test_refusing_behaviours(
    ses: SesStandIn, client: Any, behaviour: Behaviour, code: str, status: int, text: str
) -> None:
    ses.behave("Ann@Example.com", [behaviour])
    refused = refusal(lambda: client.send_email(**message()))
    assert refused[:2] == (code, status)
    assert text in refused[2]
    assert not ses.mails
    (request,) = ses.requests
    assert (request.accepted, request.status, request.behaviour) == (False, status, behaviour.value)
    client.send_email(**message())
    assert len(ses.mails) == 1


@pytest.mark.parametrize(
    ("behaviour", "accepted"),
    [
        (Behaviour.DROP_BEFORE, False),
        (Behaviour.RESET_BEFORE, False),
        (Behaviour.ACCEPT_THEN_DROP, True),
        (Behaviour.ACCEPT_THEN_RESET, True),
    ],
)
def test_connections_that_end_without_an_answer(
    ses: SesStandIn, client: Any, behaviour: Behaviour, accepted: bool
) -> None:
    ses.behave(ANN, [behaviour])
    client.send_email(**message("first@example.com"))
    with pytest.raises(ConnectionClosedError):
        client.send_email(**message())
    assert len(ses.mails_to(ANN)) == accepted
    request = ses.requests[1]
    assert (request.accepted, request.status, request.behaviour) == (accepted, None, behaviour.value)
    client.send_email(**message("last@example.com"))
    assert len(ses.requests) == 3


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [(Behaviour.RESET_BEFORE, ConnectionResetError), (Behaviour.DROP_BEFORE, http.client.RemoteDisconnected)],
)
def test_a_reset_is_a_reset_and_a_drop_is_not(ses: SesStandIn, behaviour: Behaviour, kind: type[Exception]) -> None:
    ses.behave("*", behaviour)
    body = {
        "FromEmailAddress": ANN,
        "Destination": {"ToAddresses": [ANN]},
        "Content": message()["Content"],
    }
    with pytest.raises(kind) as caught:
        http_call(ses, "POST", "/v2/email/outbound-emails", body)
    assert type(caught.value) is kind


def test_accept_then_500(ses: SesStandIn, client: Any) -> None:
    ses.behave(ANN, [Behaviour.ACCEPT_THEN_500])
    assert refusal(lambda: client.send_email(**message()))[:2] == ("InternalFailure", 500)
    assert (len(ses.mails), ses.requests[0].status) == (1, 500)


def test_accept_then_hang_ends_when_the_server_stops() -> None:
    with SesStandIn(hang_seconds=60) as ses:
        ses.behave(ANN, [Behaviour.ACCEPT_THEN_HANG, Behaviour.ACCEPT_THEN_HANG])
        with pytest.raises(ReadTimeoutError):
            client_of(ses.url, read_timeout=0.2).send_email(**message())
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(client_of(ses.url, read_timeout=30).send_email, **message())
            ses.wait_for(lambda: len(ses.mails) == 2)
            assert not held.done()
            started = time.monotonic()
            ses.stop()
            with pytest.raises(HTTPClientError):
                held.result(timeout=30)
        assert time.monotonic() - started < 30
        assert [request.status for request in ses.requests] == [None, None]


def test_accept_then_truncate_and_garble(ses: SesStandIn, client: Any) -> None:
    ses.behave(ANN, [Behaviour.ACCEPT_THEN_TRUNCATE, Behaviour.ACCEPT_THEN_GARBLE])
    # botocore raises nothing for either: it gives an answer without an id.
    assert [client.send_email(**message()).get("MessageId") for _ in range(2)] == [None, None]
    assert len(ses.mails) == 2
    assert [(request.accepted, request.status) for request in ses.requests] == [(True, 200), (True, 200)]
    connection = http.client.HTTPConnection("127.0.0.1", ses.port, timeout=5)
    ses.behave(ANN, [Behaviour.ACCEPT_THEN_TRUNCATE])
    connection.request("POST", "/v2/email/outbound-emails", body=json.dumps(message()).encode())
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()


def test_accept_slowly_answers_later_and_accepts_at_once(ses: SesStandIn, client: Any) -> None:
    ses.behave(ANN, [Behaviour.ACCEPT_SLOWLY.after(0.3), "accept_slowly:30"])
    started = time.monotonic()
    client.send_email(**message())
    assert time.monotonic() - started >= 0.3
    with pytest.raises(ReadTimeoutError):
        client_of(ses.url, read_timeout=0.1).send_email(**message())
    ses.wait_for(lambda: len(ses.mails) == 2)


def test_late_accept_accepts_after_the_connection_is_gone(ses: SesStandIn, client: Any) -> None:
    ses.behave(ANN, [Behaviour.LATE_ACCEPT])
    with pytest.raises(ConnectionClosedError):
        client.send_email(**message())
    assert not ses.requests[0].accepted
    ses.wait_for(lambda: len(ses.mails) == 1)
    (request,) = ses.requests
    assert (request.accepted, request.status, request.message_id) == (True, None, ses.mails[0].message_id)


def test_latency_delays_every_answer(ses: SesStandIn, client: Any) -> None:
    ses.settings.latency = 0.1
    started = time.monotonic()
    client.get_account()
    assert time.monotonic() - started >= 0.1


def test_lists_are_used_up_and_everybody_has_a_list_of_their_own(ses: SesStandIn, client: Any) -> None:
    ses.behave("*", [Behaviour.THROTTLE])
    ses.behave(ANN, [Behaviour.ACCEPT, Step(Behaviour.REJECT)])

    def outcome(to: str) -> str:
        try:
            client.send_email(**message(to))
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "accepted"

    assert [outcome(ANN) for _ in range(3)] == ["accepted", "MessageRejected", "accepted"]
    for other in ("ben@example.com", "cy@example.com"):
        assert [outcome(other) for _ in range(2)] == ["TooManyRequestsException", "accepted"]
    ses.behave("*", Behaviour.PAUSED)
    assert [outcome("ben@example.com") for _ in range(3)] == ["SendingPausedException"] * 3
    ses.behave_normally()
    assert outcome("ben@example.com") == "accepted"


@pytest.mark.parametrize("wrong", ["explode", ["accept", 5], "accept_slowly:soon", 5])
def test_an_unknown_behaviour_is_refused(ses: SesStandIn, wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        ses.behave(ANN, wrong)
    status, _, _ = http_call(ses, "PUT", "/_standin/behaviours", {ANN: wrong})
    assert status == 400
    assert admin(ses, "GET", "behaviours") == {"behaviours": {}}


def test_every_behaviour_has_its_own_description() -> None:
    source = (ROOT / "sandbox/ses/behaviours.py").read_text(encoding="utf-8")
    for behaviour in Behaviour:
        assert re.search(rf'{behaviour.name} = "{behaviour.value}"\n    """\w', source), behaviour
