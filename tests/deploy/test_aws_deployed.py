"""What the template made, used by the ledger and looked at by the doctor; and what the doctor says when it was changed by hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailonce.browsing import Search
from mailonce.delivery import Conclusion
from mailonce.doctor import account, events, events_way, ledger
from mailonce.doctor.examination import examine
from mailonce.doctor.installation import Installation
from mailonce.findings import Severity
from mailonce.states import State
from mailonce.workflow.settings import Settings
from sandbox.ses import SesStandIn
from tests.deploy.aws_stack import Stack
from tests.fakes import make_claim, make_delivery

pytestmark = pytest.mark.dynamodb

Look = Callable[[], Installation]
CHECKS = {
    "ledger": ledger.check,
    "account": account.check,
    "destinations": events.destinations,
    "queue": events.queue,
    "way": events_way.check,
}
OPEN = json.dumps({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]})
NOBODY = json.dumps({"Statement": []})
OTHER_SET = json.dumps(
    {
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "SNS:Publish",
            "Resource": "*",
            "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:ses:*:*:configuration-set/other"}},
        }
    }
)


@pytest.fixture
def look(stack: Stack, deployed_ses: SesStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Look]:
    """Return the installation whose environment is the output ``Settings``; each call looks at it anew."""
    for name, value in stack.environment(deployed_ses).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__MAILONCE__SNAPSHOT_URI", f"file://{tmp_path}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    opened: list[Installation] = []

    def anew() -> Installation:
        opened.append(Installation(Settings.load()))
        return opened[-1]

    yield anew
    for one in opened:
        one.close()


def bad(installation: Installation) -> list[tuple[str, str]]:
    found = examine(installation, CHECKS).findings
    return [(one.check, one.found) for one in found if one.severity is not Severity.OK]


def test_the_ledger_keeps_its_contract_on_the_table(look: Look) -> None:
    ledger = look().ledger
    assert not ledger.prepare()  # nothing is left to be made
    first, second = make_claim(make_delivery("ann")), make_claim(make_delivery("ann"))
    assert ledger.claim(first).token == first.token
    assert ledger.claim(second).token == first.token
    key, identity = first.delivery.key, first.delivery.identity
    ledger.conclude(key, first.token, Conclusion(state=State.SENT, message_id="m-1"))
    search = Search(campaign=identity.campaign, period=identity.period)
    deadline = time.monotonic() + 30
    while not (page := ledger.browser.search(search)).entries:
        assert time.monotonic() < deadline, "the index does not follow"
    assert [(one.key, one.state, one.message_id) for one in page.entries] == [(key, State.SENT, "m-1")]
    assert [one.key for one in ledger.of_address(first.delivery.message.to)] == [key]
    assert [one.key for one in ledger.browser.of_recipient("ann")] == [key]
    assert [month.states for month in ledger.browser.months()] == [{State.SENT: 1}]


def test_the_doctor_has_nothing_to_mend(look: Look) -> None:
    assert bad(look()) == []


def test_the_doctor_sees_a_table_without_recovery(look: Look, stack: Stack) -> None:
    def switch(*, on: bool) -> None:
        stack.aws.client("dynamodb").update_continuous_backups(
            TableName=stack.settings["AIRFLOW__MAILONCE__LEDGER_TABLE"],
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on},
        )

    switch(on=False)
    assert bad(look()) == [("backups", "Point-in-time recovery is off.")]
    switch(on=True)


@pytest.mark.parametrize(
    ("attribute", "value", "check", "said"),
    [
        ("MessageRetentionPeriod", "3600", events.QUEUE, "it keeps messages for 60 minutes only"),
        ("Policy", "", events_way.QUEUE_POLICY, "no event arrives"),
        ("Policy", OPEN, events_way.QUEUE_POLICY, "whoever may write there may say that a mail was sent"),
    ],
)
def test_the_doctor_sees_a_queue_that_was_changed(
    look: Look, stack: Stack, attribute: str, value: str, check: str, said: str
) -> None:
    sqs, url = stack.aws.client("sqs"), stack.made["EventsQueue"]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"][attribute]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={attribute: value})
    ((name, text),) = bad(look())
    assert name == check
    assert said in text
    sqs.set_queue_attributes(QueueUrl=url, Attributes={attribute: before})


def test_the_doctor_sees_a_dead_letter_queue_that_was_deleted(look: Look, stack: Stack) -> None:
    sqs, url = stack.aws.client("sqs"), stack.made["EventsQueue"]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["RedrivePolicy"]
    other = sqs.create_queue(QueueName="deployed-other")["QueueUrl"]
    redrive = before.replace("deployed-events-dead", "deployed-other")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": redrive})
    sqs.delete_queue(QueueUrl=other)
    ((name, text),) = bad(look())
    assert name == events_way.DEAD
    assert "deployed-other does not exist" in text
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": before})


@pytest.mark.parametrize(
    ("policy", "said"),
    [(NOBODY, "does not let SES publish"), (OPEN, "anybody may sns:Publish"), (OTHER_SET, "does not let SES publish")],
)
def test_the_doctor_sees_a_topic_whose_policy_was_changed(look: Look, stack: Stack, policy: str, said: str) -> None:
    sns, topic = stack.aws.client("sns"), stack.made["EventsTopic"]
    before = sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    ((name, text),) = bad(look())
    assert name == events_way.TOPIC
    assert said in text
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=before)


def test_the_doctor_sees_a_subscription_that_is_gone_and_a_message_that_nobody_can_read(
    look: Look, stack: Stack
) -> None:
    sns, sqs, topic = stack.aws.client("sns"), stack.aws.client("sqs"), stack.made["EventsTopic"]
    (old,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    sns.unsubscribe(SubscriptionArn=old["SubscriptionArn"])
    sqs.send_message(QueueUrl=stack.made["DeadEventsQueue"], MessageBody="poison")
    (gone, dead) = bad(look())
    assert gone[0] == events_way.SUBSCRIPTION
    assert "does not lead to" in gone[1]
    assert dead[0] == events_way.DEAD
    assert dead[1].startswith("about 1 events could not be read")
    sqs.purge_queue(QueueUrl=stack.made["DeadEventsQueue"])
    raw = {"RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=old["Endpoint"], Attributes=raw)
    assert bad(look()) == []


def test_the_doctor_sees_a_topic_that_does_not_exist(look: Look, stack: Stack) -> None:
    looked, missing = look(), f"{stack.made['EventsTopic']}-x"
    looked.client("sesv2").create_configuration_set_event_destination(
        ConfigurationSetName=stack.name,
        EventDestinationName="gone",
        EventDestination={
            "Enabled": True,
            "MatchingEventTypes": ["SEND"],
            "SnsDestination": {"TopicArn": missing},
        },
    )
    ((name, text),) = bad(looked)
    assert name == events_way.TOPIC
    assert f"{missing}, which the configuration set publishes to, does not exist" in text
