"""The events' way: configuration set, destination, a real queue, the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from mailonce.doctor import events
from mailonce.doctor.examination import examine
from mailonce.events import EventKind
from mailonce.findings import Severity
from sandbox.aws import LocalAws
from sandbox.ses import SesStandIn
from tests.doctor.aws_stub import AwsStub, refusal
from tests.doctor.conftest import Install, bad, only
from tests.fake_ledger import MemoryLedger

ALL = ["SEND", "REJECT", "BOUNCE", "COMPLAINT", "DELIVERY", "RENDERING_FAILURE", "DELIVERY_DELAY"]
SNS = {"SnsDestination": {"TopicArn": "arn:aws:sns:eu-central-1:123456789012:ses-events"}}
FIREHOSE = {"KinesisFirehoseDestination": {"IamRoleArn": "arn:aws:iam::1:role/x", "DeliveryStreamArn": "arn:aws:x"}}
DESTINATIONS = {"destinations": events.destinations}
QUEUE = {"queue": events.queue}


def publish(installation: Any, *destinations: dict[str, Any]) -> Any:
    client = installation.client("sesv2")
    for number, destination in enumerate(destinations):
        client.create_configuration_set_event_destination(
            ConfigurationSetName="statements", EventDestinationName=f"d{number}", EventDestination=destination
        )
    return installation


def test_every_event_that_the_ledger_knows_is_asked_for() -> None:
    assert set(events._TYPES) == set(EventKind)
    assert set(events._TYPES.values()) == set(ALL)


@pytest.mark.parametrize(
    ("destinations", "said"),
    [
        ([], "it has no destination"),
        ([{"Enabled": False, "MatchingEventTypes": ALL, **SNS}], "its destinations are all disabled"),
        ([{"Enabled": True, "MatchingEventTypes": ALL, **FIREHOSE}], "lead neither to SNS nor to EventBridge"),
        (
            [{"Enabled": True, "MatchingEventTypes": ["SEND", "OPEN"], **SNS}],
            "does not publish DELIVERY_DELAY, DELIVERY,",
        ),
        (
            [
                {"Enabled": True, "MatchingEventTypes": ["BOUNCE", "COMPLAINT"], **SNS},
                {"Enabled": False, "MatchingEventTypes": ["SEND"], **SNS},
                {"Enabled": True, "MatchingEventTypes": ["SEND"], **FIREHOSE},
            ],
            "without SEND nothing proves that a mail was accepted",
        ),
    ],
)
def test_a_set_that_does_not_publish_what_counts(install: Install, destinations: list[Any], said: str) -> None:
    ((severity, text),) = bad(examine(publish(install(), *destinations), DESTINATIONS).findings)
    assert severity == "warning"
    assert said in text


@pytest.mark.parametrize("place", [SNS, {"EventBridgeDestination": {"EventBusArn": "arn:aws:events:x"}}])
def test_a_set_that_publishes_all_that_counts(install: Install, place: Any) -> None:
    some, others = ALL[:3], ALL[3:]
    installation = publish(
        install(),
        {"Enabled": True, "MatchingEventTypes": some, **place},
        {"Enabled": True, "MatchingEventTypes": others, **place},
    )
    assert bad(examine(installation, DESTINATIONS).findings) == []


def test_no_set_no_queue(install: Install) -> None:
    found = bad(examine(install(configuration_set=""), DESTINATIONS | QUEUE).findings)
    assert [severity for severity, _ in found] == ["warning", "warning"]
    assert "no configuration_set is set" in found[0][1]
    assert "no events_queue_url is set" in found[1][1]


def test_a_set_that_is_not_there_is_left_to_the_account_s_check(install: Install) -> None:
    with SesStandIn(configuration_sets=[]) as ses:
        assert examine(install(services={"sesv2": ses.url}), DESTINATIONS).findings == []


def test_a_set_that_may_not_be_looked_at_is_named(install: Install, stub: AwsStub) -> None:
    path = "GET /v2/email/configuration-sets/statements/event-destinations"
    stub.answers[path] = refusal("AccessDeniedException")
    finding = only(examine(install(services={"sesv2": stub.url}), DESTINATIONS).findings, events.DESTINATIONS)
    assert finding.severity is Severity.UNKNOWN
    assert "ses:GetConfigurationSetEventDestinations" in finding.remedy


@pytest.mark.dynamodb
class TestQueue:
    @pytest.fixture
    def queue(self, local_aws: LocalAws, install: Install, request: pytest.FixtureRequest) -> Callable[..., Any]:
        """Make a queue with these attributes, and an installation that reads it."""

        def make(**attributes: str) -> Any:
            client = local_aws.client("sqs")
            name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:60]
            dead = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
            arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            usual = {
                "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "5"}),
                "MessageRetentionPeriod": "1209600",
            }
            wanted = {key: value for key, value in {**usual, **attributes}.items() if value}
            url = client.create_queue(QueueName=name, Attributes=wanted)["QueueUrl"]
            client.purge_queue(QueueUrl=url)
            installation = install(services={"sqs": local_aws.url}, events_queue_url=url)
            installation.send = lambda: client.send_message(QueueUrl=url, MessageBody="{}")
            return installation

        return make

    def test_a_good_one(self, queue: Any) -> None:
        findings = examine(queue(), QUEUE).findings
        assert {finding.severity for finding in findings} == {Severity.OK}
        assert "keeps events for 14 days" in only(findings, events.QUEUE).found

    @pytest.mark.parametrize(
        ("attributes", "said"),
        [
            ({"RedrivePolicy": ""}, "it has no dead-letter queue"),
            ({"MessageRetentionPeriod": "345599"}, "it keeps messages for 4 days only"),
            ({"MessageRetentionPeriod": "3600"}, "it keeps messages for 60 minutes only"),
        ],
    )
    def test_one_that_loses_events(self, queue: Any, attributes: Any, said: str) -> None:
        ((severity, text),) = bad(examine(queue(**attributes), QUEUE).findings)
        assert severity == "warning"
        assert said in text

    @pytest.mark.parametrize(
        ("waiting", "drained", "bad_one"),
        [
            (1, None, True),
            (1, timedelta(hours=2), True),
            (1, timedelta(minutes=50), False),
            (0, None, False),
            (0, timedelta(days=9), False),
        ],
    )
    def test_events_that_wait_unread(
        self, queue: Any, ledger: MemoryLedger, waiting: int, drained: timedelta | None, bad_one: bool
    ) -> None:
        installation = queue()
        for _ in range(waiting):
            installation.send()
        if drained is not None:
            ledger.epoch.drained(datetime.now(timezone.utc) - drained)
        finding = only(examine(installation, QUEUE).findings, events.DRAINED)
        assert finding.severity is (Severity.WARNING if bad_one else Severity.OK)
        assert ("reconcile_usage_email unpaused" in finding.remedy) == bad_one

    def test_one_that_does_not_exist(self, local_aws: LocalAws, install: Install) -> None:
        installation = install(services={"sqs": local_aws.url}, events_queue_url=f"{local_aws.url}/000000000000/nosuch")
        ((severity, text),) = bad(examine(installation, QUEUE).findings)
        assert severity == "warning"
        assert "does not exist" in text


def test_a_queue_that_cannot_be_reached_stops_nobody(install: Install) -> None:
    with AwsStub() as gone:
        url = gone.url
    installation = install(services={"sqs": url}, events_queue_url=f"{url}/1/events")
    examination = examine(installation, QUEUE)
    ((severity, text),) = bad(examination.findings)
    assert severity == "warning"
    assert "cannot be looked at: SQS cannot be asked" in text
    assert examination.failures == []


def test_a_queue_that_may_not_be_looked_at_is_named(install: Install, stub: AwsStub) -> None:
    denied = refusal("AccessDenied")
    denied.body = json.dumps({"__type": "com.amazonaws.sqs#AccessDenied", "message": "no"})
    stub.answers["GetQueueAttributes"] = denied
    installation = install(services={"sqs": stub.url}, events_queue_url=f"{stub.url}/1/events")
    finding = only(examine(installation, QUEUE).findings, events.QUEUE)
    assert finding.severity is Severity.UNKNOWN
    assert "sqs:GetQueueAttributes" in finding.remedy


@pytest.mark.parametrize(
    ("url", "region"),
    [("https://sqs.eu-west-3.amazonaws.com/1/events", "eu-west-3"), ("http://127.0.0.1/1/events", "eu-central-1")],
)
def test_the_queue_is_asked_in_its_own_region(install: Install, url: str, region: str) -> None:
    assert install(events_queue_url=url).client("sqs").meta.region_name == region
