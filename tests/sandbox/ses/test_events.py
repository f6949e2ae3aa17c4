"""Events as the service publishes them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from sandbox.ses import Fate, SesStandIn, SqsEvents, sns_envelope
from tests.sandbox.ses.tools import ANN, Collector, admin, client_of, message, tags


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
