"""What the SES stand-in accepts, and what it refuses as the real service does."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from typing import Any

import pytest

from sandbox.ses import SesStandIn
from tests.sandbox.ses.tools import ANN, client_of, http_call, message, refusal, tags


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
