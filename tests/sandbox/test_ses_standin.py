"""The SES stand-in, seen through real boto3 clients, plain HTTP and its pages."""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
)

from sandbox.ses import Behaviour, Fate, SesStandIn, SqsEvents, Step, sns_envelope

ANN = "ann@example.com"
ROOT = Path(__file__).resolve().parents[2]


def client_of(url: str, read_timeout: float = 1) -> Any:
    return boto3.client(
        "sesv2",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(
            retries={"total_max_attempts": 1},
            read_timeout=read_timeout,
            connect_timeout=1,
            max_pool_connections=32,
        ),
    )


def message(to: str = ANN, subject: str = "Your statement", **changes: Any) -> dict[str, Any]:
    """The arguments of send_email for a small ordinary mail."""
    return {
        "FromEmailAddress": "Billing <billing@example.org>",
        "Destination": {"ToAddresses": [to]},
        "Content": {
            "Simple": {
                "Subject": {"Data": subject, "Charset": "UTF-8"},
                "Body": {
                    "Text": {"Data": "Grüße, 12 €", "Charset": "UTF-8"},
                    "Html": {"Data": "<p>Grüße, <b>12 €</b></p>", "Charset": "UTF-8"},
                },
            }
        },
        **changes,
    }


def tags(**values: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]


def http_call(ses: SesStandIn, method: str, path: str, content: Any = None, **headers: str) -> tuple[int, str, Any]:
    """Status, body and headers of one plain HTTP request. `content` is sent as JSON, or as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", ses.port, timeout=5)
    try:
        body = content if isinstance(content, bytes) or content is None else json.dumps(content).encode()
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


def admin(ses: SesStandIn, method: str, path: str, content: Any = None) -> Any:
    status, body, _ = http_call(ses, method, f"/_standin/{path}", content)
    assert status == 200, body
    return json.loads(body)


def refusal(call: Callable[[], object]) -> tuple[str, int, str]:
    """Error code, HTTP status and text of a call that must be refused."""
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


class Collector:
    """A publisher that hands the events to the test."""

    def __init__(self) -> None:
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()

    def publish(self, event: dict[str, Any]) -> None:
        self.events.put(event)

    def next_types(self, count: int) -> list[str]:
        return [self.events.get(timeout=3)["eventType"] for _ in range(count)]


@pytest.fixture
def ses() -> Iterator[SesStandIn]:
    with SesStandIn(hang_seconds=30, slow_seconds=0.15, late_seconds=0.15) as standin:
        yield standin


@pytest.fixture
def client(ses: SesStandIn) -> Any:
    return client_of(ses.url)


# --- accepting ---------------------------------------------------------------------------------------


def test_an_accepted_mail_is_kept_whole(ses: SesStandIn, client: Any) -> None:
    answer = client.send_email(
        **message(
            ReplyToAddresses=["help@example.org"],
            EmailTags=tags(mailonce_key="abc", period="2025-10"),
            ConfigurationSetName="statements",
        )
    )
    (mail,) = ses.mails_to("ANN@example.com")
    assert mail.message_id == answer["MessageId"]
    assert (mail.to, mail.from_address, mail.reply_to) == (
        [ANN],
        "Billing <billing@example.org>",
        ["help@example.org"],
    )
    assert (mail.subject, mail.text, mail.html) == (
        "Your statement",
        "Grüße, 12 €",
        "<p>Grüße, <b>12 €</b></p>",
    )
    assert (mail.tags, mail.key) == ({"mailonce_key": "abc", "period": "2025-10"}, "abc")
    assert (mail.configuration_set, mail.region, mail.caller) == ("statements", "eu-central-1", "AKIDEXAMPLE")
    (request,) = ses.requests
    assert (request.accepted, request.status, request.recipient, request.message_id) == (
        *(True, 200, ANN),
        mail.message_id,
    )


def test_without_a_charset_only_ascii_survives(ses: SesStandIn, client: Any) -> None:
    content = {"Simple": {"Subject": {"Data": "12 €"}, "Body": {"Text": {"Data": "Grüße"}}}}
    client.send_email(**message(Content=content))
    assert (ses.mails[0].subject, ses.mails[0].text) == ("12 ?", "Gr??e")


def test_headers_and_attachments_are_kept(ses: SesStandIn, client: Any) -> None:
    arguments = message()
    arguments["Content"]["Simple"]["Headers"] = [{"Name": "List-Unsubscribe", "Value": "<https://example.org/u>"}]
    arguments["Content"]["Simple"]["Attachments"] = [
        {"RawContent": b"%PDF", "FileName": "statement.pdf", "ContentType": "application/pdf"}
    ]
    client.send_email(**arguments)
    assert ses.mails[0].headers == [{"name": "List-Unsubscribe", "value": "<https://example.org/u>"}]
    assert ses.mails[0].attachments == [{"name": "statement.pdf", "type": "application/pdf", "size": 4}]


def test_a_raw_message_is_read(ses: SesStandIn, client: Any) -> None:
    raw = EmailMessage()
    raw["From"], raw["To"], raw["Subject"] = "billing@example.org", ANN, "Größe"
    raw["X-SES-CONFIGURATION-SET"], raw["X-SES-MESSAGE-TAGS"] = (
        "statements",
        "mailonce_key=k1, period=2025-10",
    )
    raw.set_content("plain")
    raw.add_alternative("<p>rich</p>", subtype="html")
    client.send_email(Content={"Raw": {"Data": raw.as_bytes()}})
    mail = ses.mails_to(ANN)[0]
    assert (mail.subject, mail.configuration_set, mail.key) == ("Größe", "statements", "k1")
    assert (str(mail.text).strip(), str(mail.html).strip()) == ("plain", "<p>rich</p>")
    assert base64.b64decode(mail.raw or "") == raw.as_bytes()


def test_many_threads_lose_nothing(ses: SesStandIn, client: Any) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: client.send_email(**message(f"c{n}@example.com")), range(200)))
    assert {answer["MessageId"] for answer in answers} == {mail.message_id for mail in ses.mails}
    assert ses.summary()["distinct_recipients"] == len(ses.requests) == 200
    assert sorted(request.number for request in ses.requests) == list(range(1, 201))


# --- refusing what the real service refuses ----------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"Destination": {"ToAddresses": []}}, "at least one destination"),
        ({"Destination": {"ToAddresses": ["no-at-sign"]}}, "@domain"),
        ({"Destination": {"ToAddresses": ["jürgen@example.com"]}}, "non-ASCII"),
        ({"Destination": {"ToAddresses": ["a@exämple.com"]}}, "Punycode"),
        ({"Destination": {"ToAddresses": ["a b@example.com"]}}, "whitespace"),
        ({"Destination": {"ToAddresses": ["a@example.com\r\nBcc: b@example.com"]}}, "control characters"),
        ({"Destination": {"ToAddresses": [f"a{n}@example.com" for n in range(51)]}}, "exceeds 50"),
        ({"EmailTags": tags(key="a b")}, "tags must be"),
        ({"EmailTags": tags(key="x" * 257)}, "tags must be"),
        ({"EmailTags": [*tags(key="a"), *tags(key="b")]}, "more than once"),
        ({"Content": {}}, "exactly one"),
        ({"Content": {"Raw": {"Data": b""}, "Template": {}}}, "exactly one"),
        ({"Content": {"Simple": {"Subject": {"Data": "x"}, "Body": {}}}}, "text part or an HTML part"),
        ({"Content": {"Template": {}}}, "TemplateName"),
        (
            {"Content": {"Template": {"TemplateContent": {"Text": "x"}, "TemplateData": "["}}},
            "rendering data",
        ),
        (
            {"Content": {"Template": {"TemplateContent": {"Text": "{{#if a}}x{{/if}}"}}}},
            "simple variables only",
        ),
    ],
)
def test_a_malformed_mail_is_a_bad_request(ses: SesStandIn, client: Any, changes: Any, text: str) -> None:
    code, status, said = refusal(lambda: client.send_email(**message(**changes)))
    assert (code, status) == ("BadRequestException", 400)
    assert text in said
    assert not ses.mails
    assert (ses.requests[0].accepted, ses.requests[0].status) == (False, 400)


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ([{"Name": f"X-{n}", "Value": "v"} for n in range(16)], "more than 15"),
        ([{"Name": "X-A", "Value": "a\r\nBcc: b@example.com"}], "printable ASCII"),
        ([{"Name": "X A", "Value": "a"}], "malformed"),
    ],
)
def test_malformed_headers_are_a_bad_request(client: Any, headers: Any, text: str) -> None:
    arguments = message()
    arguments["Content"]["Simple"]["Headers"] = headers
    assert text in refusal(lambda: client.send_email(**arguments))[2]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b'{"Content": 5}', b'{"Destination": "x"}', b"[" * 100_000])
def test_malformed_json_is_a_bad_request_and_in_the_journal(ses: SesStandIn, body: bytes) -> None:
    status, _, headers = http_call(ses, "POST", "/v2/email/outbound-emails", body)
    assert (status, headers["x-amzn-ErrorType"]) == (400, "BadRequestException")
    assert [(request.accepted, request.recipient) for request in ses.requests] == [(False, "")]


def test_only_verified_senders_and_existing_sets_are_taken() -> None:
    with SesStandIn(verified_identities=["example.org", "ann@other.example"], configuration_sets=["here"]) as ses:
        client = client_of(ses.url)
        client.send_email(**message(ConfigurationSetName="here"))
        client.send_email(**message(FromEmailAddress="mail@sub.example.org"))
        client.send_email(**message(FromEmailAddress="Ann <ANN@other.example>"))
        code, status, text = refusal(lambda: client.send_email(**message(FromEmailAddress="ben@other.example")))
        assert (code, status) == ("MessageRejected", 400)
        assert text.startswith("Email address is not verified.")
        assert "EU-CENTRAL-1: ben@other.example" in text
        missing = refusal(lambda: client.send_email(**message(ConfigurationSetName="gone")))
        assert missing == ("NotFoundException", 404, "Configuration set <gone> does not exist.")
        assert len(ses.mails) == 3


# --- the other operations ----------------------------------------------------------------------------


def test_get_account_reports_limits_and_state() -> None:
    with SesStandIn(rate=14, max_24_hour_send=200) as ses:
        client = client_of(ses.url)
        client.send_email(**message())
        account = client.get_account()
        assert account["SendQuota"] == {"Max24HourSend": 200.0, "MaxSendRate": 14.0, "SentLast24Hours": 1.0}
        assert (account["SendingEnabled"], account["ProductionAccessEnabled"]) == (True, True)
        ses.settings.sending_enabled = False
        assert client.get_account()["SendingEnabled"] is False
        assert refusal(lambda: client.send_email(**message()))[0] == "SendingPausedException"


def test_identities(client: Any) -> None:
    assert client.get_email_identity(EmailIdentity=ANN)["VerifiedForSendingStatus"] is True
    with SesStandIn(verified_identities=["example.org"]) as ses:
        strict = client_of(ses.url)
        assert strict.get_email_identity(EmailIdentity="example.org")["IdentityType"] == "DOMAIN"
        assert refusal(lambda: strict.get_email_identity(EmailIdentity=ANN))[0] == "NotFoundException"
        assert strict.create_email_identity(EmailIdentity=ANN)["VerifiedForSendingStatus"] is False
        assert strict.get_email_identity(EmailIdentity=ANN)["VerificationStatus"] == "PENDING"
        assert refusal(lambda: strict.create_email_identity(EmailIdentity=ANN))[0] == "AlreadyExistsException"
        assert refusal(lambda: strict.send_email(**message(FromEmailAddress=ANN)))[0] == "MessageRejected"


def test_configuration_sets_and_their_destinations() -> None:
    with SesStandIn(configuration_sets=[], events=Collector()) as ses:
        client = client_of(ses.url)
        name = {"ConfigurationSetName": "statements"}
        assert refusal(lambda: client.get_configuration_set(**name))[0] == "NotFoundException"
        client.create_configuration_set(**name)
        assert refusal(lambda: client.create_configuration_set(**name))[0] == "AlreadyExistsException"
        assert client.get_configuration_set(**name)["SendingOptions"]["SendingEnabled"] is True
        assert client.get_configuration_set_event_destinations(**name)["EventDestinations"] == []
        client.create_configuration_set_event_destination(
            **name,
            EventDestinationName="queue",
            EventDestination={
                "Enabled": True,
                "MatchingEventTypes": ["SEND"],
                "SnsDestination": {"TopicArn": "arn:aws:sns:eu-central-1:123456789012:ses-events"},
            },
        )
        (destination,) = client.get_configuration_set_event_destinations(**name)["EventDestinations"]
        assert (destination["Name"], destination["MatchingEventTypes"]) == ("queue", ["SEND"])
        client.create_configuration_set(ConfigurationSetName="off", SendingOptions={"SendingEnabled": False})
        paused = refusal(lambda: client.send_email(**message(ConfigurationSetName="off")))
        assert paused[0] == "SendingPausedException"


def test_templates_are_stored_rendered_and_sent(ses: SesStandIn, client: Any) -> None:
    content = {"Subject": "Hello {{name}}", "Html": "<p>{{{ use.amount }}} kWh</p>"}
    client.create_email_template(TemplateName="monthly", TemplateContent=content)
    assert client.get_email_template(TemplateName="monthly")["TemplateContent"] == content
    assert [entry["TemplateName"] for entry in client.list_email_templates()["TemplatesMetadata"]] == ["monthly"]
    data = json.dumps({"name": "Ann", "use": {"amount": 12.5}})
    rendered = client.test_render_email_template(TemplateName="monthly", TemplateData=data)["RenderedTemplate"]
    assert "Subject: Hello Ann" in rendered
    assert "12.5 kWh" in rendered
    incomplete = refusal(lambda: client.test_render_email_template(TemplateName="monthly", TemplateData="{}"))
    assert incomplete == (
        "BadRequestException",
        400,
        "Attribute 'name' is not present in the rendering data.",
    )
    client.send_email(**message(Content={"Template": {"TemplateName": "monthly", "TemplateData": data}}))
    assert (ses.mails[0].subject, ses.mails[0].template_data) == ("Hello Ann", json.loads(data))
    client.send_email(**message(Content={"Template": {"TemplateName": "monthly", "TemplateData": "{}"}}))
    assert "'name'" in str(ses.mails[1].rendering_error)
    client.update_email_template(TemplateName="monthly", TemplateContent={"Text": "new"})
    assert client.get_email_template(TemplateName="monthly")["TemplateContent"] == {"Text": "new"}
    client.delete_email_template(TemplateName="monthly")
    gone = message(Content={"Template": {"TemplateName": "monthly", "TemplateData": "{}"}})
    assert refusal(lambda: client.send_email(**gone))[0] == "NotFoundException"


def test_the_suppression_list(client: Any) -> None:
    for number in range(3):
        client.put_suppressed_destination(EmailAddress=f"s+{number}@example.com", Reason="BOUNCE")
    client.put_suppressed_destination(EmailAddress="c@example.com", Reason="COMPLAINT")
    found = client.get_suppressed_destination(EmailAddress="s+1@example.com")["SuppressedDestination"]
    assert (found["EmailAddress"], found["Reason"]) == ("s+1@example.com", "BOUNCE")
    first = client.list_suppressed_destinations(Reasons=["BOUNCE"], PageSize=2)
    second = client.list_suppressed_destinations(Reasons=["BOUNCE"], PageSize=2, NextToken=first["NextToken"])
    assert [len(page["SuppressedDestinationSummaries"]) for page in (first, second)] == [2, 1]
    assert (
        len(client.list_suppressed_destinations(Reasons=["BOUNCE", "COMPLAINT"])["SuppressedDestinationSummaries"]) == 4
    )
    client.delete_suppressed_destination(EmailAddress="s+1@example.com")
    gone = refusal(lambda: client.get_suppressed_destination(EmailAddress="s+1@example.com"))
    assert gone[0] == "NotFoundException"


def test_an_operation_that_is_not_there_says_so(client: Any) -> None:
    code, status, text = refusal(client.list_contact_lists)
    assert (code, status) == ("UnknownOperationException", 404)
    assert "does not implement the operation GET /v2/email/contact-lists" in text


# --- behaviours --------------------------------------------------------------------------------------


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
                held.result(timeout=2)
        assert time.monotonic() - started < 2
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
    assert len(ses.mails) == 2


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


# --- limits and signatures ---------------------------------------------------------------------------


def test_the_rate_limit_throttles() -> None:
    with SesStandIn(rate=0.001, burst=2) as ses:
        client = client_of(ses.url)
        client.send_email(**message())
        client.send_email(**message())
        refused = refusal(lambda: client.send_email(**message()))
        assert refused == ("TooManyRequestsException", 429, "Maximum sending rate exceeded.")


def test_the_daily_quota_counts_accepted_mails_over_restarts(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    with SesStandIn(max_24_hour_send=2, journal=file) as ses:
        client = client_of(ses.url)
        ses.behave(ANN, [Behaviour.THROTTLE])
        refusal(lambda: client.send_email(**message()))
        client.send_email(**message())
    with SesStandIn(max_24_hour_send=2, journal=file) as ses:
        client = client_of(ses.url)
        assert client.get_account()["SendQuota"]["SentLast24Hours"] == 1
        client.send_email(**message())
        refused = refusal(lambda: client.send_email(**message()))
        assert refused == ("TooManyRequestsException", 429, "Daily message quota exceeded.")


def test_the_age_of_a_signature_is_checked() -> None:
    with SesStandIn(signature_max_age=300) as ses:
        client = client_of(ses.url)
        client.send_email(**message())
        old = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 310))

        def make_old(request: Any, **_: Any) -> None:
            request.headers["X-Amz-Date"] = old

        client.meta.events.register("before-send.sesv2", make_old)
        for call in (lambda: client.send_email(**message()), client.get_account):
            code, status, text = refusal(call)
            assert (code, status) == ("InvalidSignatureException", 403)
            assert text.startswith(f"Signature expired: {old} is now earlier than")
        status, _, headers = http_call(ses, "POST", "/v2/email/outbound-emails", message())
        assert (status, headers["x-amzn-ErrorType"]) == (403, "MissingAuthenticationTokenException")
        assert [request.status for request in ses.requests] == [200, 403, 403]
        assert len(ses.mails) == 1


# --- journal -----------------------------------------------------------------------------------------


def test_the_journal_survives_a_restart_and_a_line_that_was_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "journal.jsonl"
    with SesStandIn(journal=file, late_seconds=0.01) as ses:
        client = client_of(ses.url)
        ses.behave(ANN, ["throttle", "late_accept", "accept"])
        refusal(lambda: client.send_email(**message()))
        with pytest.raises(ConnectionClosedError):
            client.send_email(**message())
        ses.wait_for(lambda: len(ses.mails) == 1)
        client.send_email(**message(EmailTags=tags(mailonce_key="k")))
        before = ses.requests, ses.mails
    assert all(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    with file.open("ab") as stream:
        stream.write(b'{"event":"request","number":4,"arr')
    with SesStandIn(journal=file) as ses:
        assert (ses.requests, ses.mails) == before
        client_of(ses.url).send_email(**message())
        assert ses.requests[-1].number == 4
        ses.clear()
    with SesStandIn(journal=file) as ses:
        assert (ses.requests, ses.mails) == ([], [])


def test_a_file_that_is_no_journal_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("buy milk\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"notes.txt, line 1: not a line of this journal"):
        SesStandIn(journal=file)
    assert file.read_text(encoding="utf-8") == "buy milk\n"


def start_process(journal: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "sandbox.ses", "--port", "0", "--journal", str(journal)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found
    return process, found.group()


def test_a_killed_process_has_lost_nothing_and_a_stopped_one_ends_cleanly(tmp_path: Path) -> None:
    process, url = start_process(tmp_path / "journal.jsonl")
    client = client_of(url)
    ids = {client.send_email(**message(f"c{number}@example.com"))["MessageId"] for number in range(20)}
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=5)
    process, url = start_process(tmp_path / "journal.jsonl")
    with SesStandIn(journal=tmp_path / "journal.jsonl") as ses:
        assert {mail.message_id for mail in ses.mails} == ids
    client_of(url).send_email(**message())
    os.kill(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=5)
    assert process.returncode == 0
    assert "21 mails accepted" in said


# --- admin API ---------------------------------------------------------------------------------------


def test_the_admin_api(ses: SesStandIn, client: Any) -> None:
    assert admin(ses, "GET", "health") == {"status": "ok"}
    put = admin(ses, "PUT", "behaviours", {ANN: ["accept", "throttle"], "*": "accept"})
    assert put == {"behaviours": {ANN: ["accept", "throttle"], "*": "accept"}}
    one = client.send_email(**message(EmailTags=tags(mailonce_key="k1")))["MessageId"]
    assert admin(ses, "GET", "behaviours")["behaviours"][ANN] == ["throttle"]
    assert refusal(lambda: client.send_email(**message()))[1] == 429
    client.send_email(**message(EmailTags=tags(mailonce_key="k1")))
    client.send_email(**message("ben@example.com", EmailTags=tags(mailonce_key="k2")))
    assert [entry["status"] for entry in admin(ses, "GET", "requests")["requests"]] == [200, 429, 200, 200]
    assert len(admin(ses, "GET", "requests?recipient=ben@example.com")["requests"]) == 1
    assert len(admin(ses, "GET", "mails")["mails"]) == 3
    assert len(admin(ses, "GET", "mails?recipient=ann%40example.com")["mails"]) == 2
    assert admin(ses, "GET", f"mails/{one}")["subject"] == "Your statement"
    assert http_call(ses, "GET", "/_standin/mails/none")[0] == 404
    assert http_call(ses, "GET", "/_standin/nothing")[0] == 404
    summary = admin(ses, "GET", "summary")
    assert (summary["requests"], summary["accepted"], summary["distinct_recipients"]) == (4, 3, 2)
    assert (summary["keys"], summary["keys_with_more_than_one"]) == ({"k1": 2, "k2": 1}, ["k1"])
    assert summary["refused"] == {"TooManyRequestsException": 1}
    assert admin(ses, "DELETE", "behaviours") == {"behaviours": {}}
    assert admin(ses, "PUT", "fates", {ANN: "bounce"}) == {"fates": {ANN: "bounce"}}
    assert http_call(ses, "PUT", "/_standin/fates", {ANN: "glory"})[0] == 400
    assert admin(ses, "DELETE", "fates") == {"fates": {}}
    admin(ses, "DELETE", "mails")
    assert admin(ses, "GET", "summary")["requests"] == 0


def test_a_request_that_never_got_an_answer_says_so(ses: SesStandIn, client: Any) -> None:
    ses.behave(ANN, [Behaviour.DROP_BEFORE])
    with pytest.raises(ConnectionClosedError):
        client.send_email(**message())
    assert admin(ses, "GET", "requests")["requests"][0]["status"] == "no answer"
    assert admin(ses, "GET", "summary")["not_answered"] == 1


def test_wait_for_gives_up_in_time(ses: SesStandIn) -> None:
    with pytest.raises(TimeoutError, match="0 requests, 0 mails"):
        ses.wait_for(lambda: bool(ses.mails), timeout=0.05)


# --- pages -------------------------------------------------------------------------------------------


def test_nothing_in_a_mail_runs_on_the_pages(ses: SesStandIn, client: Any) -> None:
    script = "<script>alert(1)</script>"
    arguments = message(subject=script)
    arguments["Content"]["Simple"]["Body"] = {"Text": {"Data": f"</pre>{script}"}, "Html": {"Data": script}}
    arguments["Content"]["Simple"]["Headers"] = [{"Name": "X-Note", "Value": script}]
    arguments["FromEmailAddress"] = f"{script} <billing@example.org>"
    one = client.send_email(**arguments)["MessageId"]
    for path in ("/", f"/mail/{one}", "/requests", f"/?recipient={script}", f"/requests?recipient={script}"):
        status, page, headers = http_call(ses, "GET", path.replace("<", "%3C").replace(">", "%3E"))
        assert status == 200
        assert "<script" not in page
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "script-src" not in headers["Content-Security-Policy"]
    assert "&lt;script&gt;alert(1)" in http_call(ses, "GET", "/")[1]
    page = http_call(ses, "GET", f"/mail/{one}")[1]
    assert f'<iframe sandbox="" src="/mail/{one}/html"' in page
    assert "X-Note" in page
    _, html, headers = http_call(ses, "GET", f"/mail/{one}/html")
    assert html == script
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_the_mailbox_searches_and_pages(ses: SesStandIn, client: Any) -> None:
    for number in range(60):
        client.send_email(**message(f"c{number}@example.com", subject=f"Statement {number}"))
    first, second = (http_call(ses, "GET", f"/?page={page}")[1] for page in (1, 2))
    assert first.index("Statement 59<") < first.index("Statement 10<")
    assert "50 of 60, newest first" in first
    assert "Page 2 of 2" in second
    assert "Statement 9<" in second
    assert "Statement 59<" not in second
    found = http_call(ses, "GET", "/?recipient=C5%40example")[1]
    assert "1 of 1, newest first" in found
    assert "Statement 5<" in found
    assert http_call(ses, "GET", "/?page=999")[0] == http_call(ses, "GET", "/?page=-x")[0] == 200
    assert http_call(ses, "GET", "/mail/none")[0] == http_call(ses, "GET", "/none")[0] == 404


def test_the_page_of_requests_shows_refused_ones(ses: SesStandIn, client: Any) -> None:
    ses.behave(ANN, [Behaviour.THROTTLE])
    refusal(lambda: client.send_email(**message()))
    one = client.send_email(**message())["MessageId"]
    page = http_call(ses, "GET", "/requests?recipient=ann%40example.com")[1]
    assert "Maximum sending rate exceeded." in page
    assert f"/mail/{one}" in page
    assert 'href="/requests?recipient=ann%40example.com"' in http_call(ses, "GET", f"/mail/{one}")[1]


# --- events ------------------------------------------------------------------------------------------


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def publishing(collector: Collector) -> Iterator[SesStandIn]:
    with SesStandIn(events=collector) as standin:
        yield standin


def test_events_have_the_shape_of_the_service(publishing: SesStandIn, collector: Collector) -> None:
    arguments = message(EmailTags=tags(mailonce_key="k1"), ConfigurationSetName="statements")
    one = client_of(publishing.url).send_email(**arguments)["MessageId"]
    send, delivery = collector.events.get(timeout=3), collector.events.get(timeout=3)
    assert (send["eventType"], send["send"], delivery["eventType"]) == ("Send", {}, "Delivery")
    mail = send["mail"]
    assert (mail["messageId"], mail["destination"]) == (one, [ANN])
    assert (mail["source"], mail["timestamp"]) == (
        "Billing <billing@example.org>",
        publishing.mails[0].accepted_at,
    )
    assert mail["commonHeaders"]["subject"] == "Your statement"
    assert {"name": "To", "value": ANN} in mail["headers"]
    assert mail["tags"]["mailonce_key"] == ["k1"]
    assert mail["tags"]["ses:configuration-set"] == ["statements"]
    assert mail["tags"]["ses:from-domain"] == ["example.org"]
    assert delivery["delivery"]["recipients"] == [ANN]
    assert "ses:outgoing-ip" in delivery["mail"]["tags"]


def test_without_a_configuration_set_there_are_no_events(publishing: SesStandIn, collector: Collector) -> None:
    client = client_of(publishing.url)
    client.send_email(**message("nobody@example.com"))
    client.send_email(**message(ConfigurationSetName="statements"))
    assert collector.events.get(timeout=3)["mail"]["destination"] == [ANN]


@pytest.mark.parametrize(
    ("to", "types", "detail"),
    [
        ("bounce@simulator.amazonses.com", ["Send", "Bounce"], ("Permanent", "General")),
        ("suppressionlist+x@example.com", ["Send", "Bounce"], ("Permanent", "OnAccountSuppressionList")),
        ("complaint@example.com", ["Send", "Delivery", "Complaint"], None),
        ("success@example.com", ["Send", "Delivery"], None),
    ],
)
def test_the_local_part_decides_about_the_fate(
    publishing: SesStandIn, collector: Collector, to: str, types: list[str], detail: Any
) -> None:
    client_of(publishing.url).send_email(**message(to, ConfigurationSetName="statements"))
    events = [collector.events.get(timeout=3) for _ in types]
    assert [event["eventType"] for event in events] == types
    if detail:
        assert (events[-1]["bounce"]["bounceType"], events[-1]["bounce"]["bounceSubType"]) == detail
        assert events[-1]["bounce"]["bouncedRecipients"][0]["emailAddress"] == to


@pytest.mark.parametrize(
    ("fate", "types"),
    [
        (Fate.REJECT, ["Reject"]),
        (Fate.DELAYED, ["Send", "DeliveryDelay", "Delivery"]),
        (Fate.TRANSIENT_BOUNCE, ["Send", "Bounce"]),
        (Fate.RENDERING_FAILURE, ["Rendering Failure"]),
        (Fate.SEND_ONLY, ["Send"]),
        (Fate.NO_EVENTS, []),
        (Fate.REPEATED, ["Delivery", "Send", "Delivery", "Send"]),
    ],
)
def test_fates_can_be_set(publishing: SesStandIn, collector: Collector, fate: Fate, types: list[str]) -> None:
    admin(publishing, "PUT", "fates", {ANN: fate.value})
    client = client_of(publishing.url)
    client.send_email(**message(ConfigurationSetName="statements"))
    client.send_email(**message("last@example.com", ConfigurationSetName="statements"))
    assert collector.next_types(len(types) + 2) == [*types, "Send", "Delivery"]


def test_rendering_failures_and_suppressed_addresses(publishing: SesStandIn, collector: Collector) -> None:
    client = client_of(publishing.url)
    template = {"TemplateContent": {"Subject": "x", "Text": "{{name}}"}, "TemplateData": "{}"}
    client.send_email(**message(Content={"Template": template}, ConfigurationSetName="statements"))
    failed = collector.events.get(timeout=3)
    assert failed["eventType"] == "Rendering Failure"
    assert failed["failure"]["errorMessage"] == "Attribute 'name' is not present in the rendering data."
    client.put_suppressed_destination(EmailAddress=ANN, Reason="COMPLAINT")
    client.send_email(**message(ConfigurationSetName="statements"))
    assert collector.next_types(2) == ["Send", "Bounce"]


def test_only_events_that_a_destination_wants_are_published(collector: Collector) -> None:
    with SesStandIn(events=collector, configuration_sets=[]) as ses:
        client = client_of(ses.url)
        client.create_configuration_set(ConfigurationSetName="few")
        client.create_configuration_set_event_destination(
            ConfigurationSetName="few",
            EventDestinationName="queue",
            EventDestination={"Enabled": True, "MatchingEventTypes": ["DELIVERY"]},
        )
        client.send_email(**message(ConfigurationSetName="few"))
        client.send_email(**message(ConfigurationSetName="few"))
        assert collector.next_types(2) == ["Delivery", "Delivery"]


def test_a_failing_or_slow_publisher_delays_no_answer_and_is_tried_again() -> None:
    open_again, done = threading.Event(), threading.Event()
    attempts: list[str] = []

    class Failing:
        def publish(self, event: dict[str, Any]) -> None:
            attempts.append(event["eventType"])
            if len(attempts) == 1:
                open_again.wait(5)
                raise ConnectionError("queue is away")
            if event["eventType"] == "Delivery":
                done.set()

    with SesStandIn(events=Failing()) as ses:
        client_of(ses.url).send_email(**message(ConfigurationSetName="statements"))
        assert len(ses.mails) == 1
        open_again.set()
        assert done.wait(3)
    assert attempts == ["Send", "Send", "Delivery"]
    assert (ses.events.published, ses.events.given_up) == (2, 0)


def test_the_sns_envelope() -> None:
    event = {"eventType": "Send", "mail": {"messageId": "m"}, "send": {}}
    envelope = sns_envelope(event, "eu-central-1")
    assert envelope["Type"] == "Notification"
    assert envelope["TopicArn"].startswith("arn:aws:sns:eu-central-1:")
    assert envelope["Subject"] == "Amazon SES Email Event Notification"
    assert json.loads(envelope["Message"]) == event
    assert {
        "MessageId",
        "Timestamp",
        "SignatureVersion",
        "Signature",
        "SigningCertURL",
        "UnsubscribeURL",
    } < set(envelope)


@pytest.mark.parametrize("wrapped", [True, False])
def test_events_reach_an_sqs_queue(wrapped: bool) -> None:
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        sqs = boto3.client(
            "sqs",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        queue_url = sqs.create_queue(QueueName="ses-events")["QueueUrl"]
        with SesStandIn(events=SqsEvents(queue_url, endpoint, wrap_in_sns=wrapped)) as ses:
            client_of(ses.url).send_email(**message(ConfigurationSetName="statements"))
        found: list[str] = []
        for _ in range(5):
            answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
            for entry in answer.get("Messages", []):
                body = json.loads(entry["Body"])
                found.append((json.loads(body["Message"]) if wrapped else body)["eventType"])
            if len(found) == 2:
                break
        assert sorted(found) == ["Delivery", "Send"]
    finally:
        server.stop()
