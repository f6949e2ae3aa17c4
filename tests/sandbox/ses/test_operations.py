"""The operations beside SendEmail."""

from __future__ import annotations

import json
from typing import Any

from sandbox.ses import SesStandIn
from tests.sandbox.ses.tools import ANN, Collector, client_of, message, refusal


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
