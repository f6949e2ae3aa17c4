"""Do the provider's events get from the configuration set through its topic into the queue, and can none get lost there?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mailonce.doctor.account import not_told
from mailonce.doctor.installation import Installation
from mailonce.doctor.resource_policies import admits, open_to_all
from mailonce.errors import NotDelivered
from mailonce.findings import Finding, Severity

TOPIC = "events topic"
SUBSCRIPTION = "events subscription"
QUEUE_POLICY = "events queue's policy"
DEAD = "dead-letter queue"

_FORGERY = "whoever may write there may say that a mail was sent"


def check(installation: Installation) -> Iterator[Finding]:
    """Follow the events. What the other checks tell, a set, destination or queue that is not there, is not told again."""
    url = installation.settings.events_queue_url
    attributes = _of_queue(installation, url) if url else None
    try:
        for topic in _topics(installation):
            yield from _topic(installation, topic)
            yield from _subscription(installation, topic, attributes)
    except NotDelivered as failure:
        # Many networks let workers reach SES and SQS, and not SNS.
        found = f"not checked: {failure.detail}"
        yield Finding(severity=Severity.UNKNOWN, check=TOPIC, found=found)
    if attributes:
        yield from _dead(installation, url, attributes)


def _topics(installation: Installation) -> list[str]:
    """Return the topics that the set publishes to; none, if it publishes otherwise, or SNS is not to be asked."""
    name = installation.settings.configuration_set
    if not name:
        return []
    told = (
        installation.ask("sesv2", "get_configuration_set_event_destinations", ConfigurationSetName=name).content or {}
    )
    found = [place for place in told.get("EventDestinations", ()) if place.get("Enabled")]
    topics = [place["SnsDestination"]["TopicArn"] for place in found if place.get("SnsDestination")]
    # Whoever has put a stand-in in the place of SES does not want the real SNS to be asked about it.
    strange = topics and installation.is_amazons("sns") and not installation.is_amazons("sesv2")
    return [] if strange else list(dict.fromkeys(topics))


def _topic(installation: Installation, topic: str) -> Iterator[Finding]:
    answer = installation.ask("sns", "get_topic_attributes", TopicArn=topic)
    if answer.missing:
        yield Finding(
            # A stand-in for SES names a topic and needs none.
            severity=Severity.WARNING if installation.is_amazons("sesv2") else Severity.UNKNOWN,
            check=TOPIC,
            found=f"{topic}, which the configuration set publishes to, does not exist.",
            remedy="Make it, or name another in the event destination: until then mails in doubt stay in doubt.",
        )
        return
    if answer.content is None:
        yield not_told(TOPIC, answer)
        return
    policy = answer.content["Attributes"].get("Policy", "")
    _, partition, _, region, account, _ = topic.split(":", 5)
    source = f"arn:{partition}:ses:{region}:{account}:configuration-set/{installation.settings.configuration_set}"
    yield _door(
        TOPIC, topic, policy, service="ses.amazonaws.com", action="sns:Publish", source=source,
        closed=f"the policy of {topic} does not let SES publish for this configuration set",
        right=f"SES may publish to {topic}.",
    )  # fmt: skip


def _subscription(installation: Installation, topic: str, queue: Mapping[str, str] | None) -> Iterator[Finding]:
    if queue is None:
        return
    arn = queue["QueueArn"]
    answer = installation.ask("sns", "list_subscriptions_by_topic", TopicArn=topic)
    if answer.content is None:
        if not answer.missing:
            yield not_told(SUBSCRIPTION, answer)
        return
    if any(one["Protocol"] == "sqs" and one["Endpoint"] == arn for one in answer.content["Subscriptions"]):
        yield Finding(severity=Severity.OK, check=SUBSCRIPTION, found=f"{topic} leads to {arn}.")
    elif not answer.content.get("NextToken"):  # of a topic with over a hundred subscriptions we have not seen all
        yield Finding(
            severity=Severity.WARNING,
            check=SUBSCRIPTION,
            found=f"{topic} does not lead to {arn}, the queue in events_queue_url.",
            remedy="Subscribe the queue to the topic, or correct events_queue_url.",
        )
    policy = queue.get("Policy", "")
    yield _door(
        QUEUE_POLICY, arn, policy, service="sns.amazonaws.com", action="sqs:SendMessage", source=topic,
        closed=f"it does not let {topic} write into the queue",
        right="the topic may write into the queue.",
    )  # fmt: skip


def _dead(installation: Installation, url: str, attributes: Mapping[str, str]) -> Iterator[Finding]:
    arn = json.loads(attributes.get("RedrivePolicy") or "{}").get("deadLetterTargetArn")
    if not arn:
        return
    # SQS demands that it is in the same account and region as its source.
    place = f"{url.rpartition('/')[0]}/{arn.rpartition(':')[2]}"
    answer = installation.ask("sqs", "get_queue_attributes", QueueUrl=place, AttributeNames=["All"])
    if answer.missing:
        found, remedy = f"{arn} does not exist: what cannot be read is lost.", "Make it, or name another."
        yield Finding(severity=Severity.WARNING, check=DEAD, found=found, remedy=remedy)
    elif answer.content is None:
        yield not_told(DEAD, answer)
    elif waiting := int(answer.content["Attributes"].get("ApproximateNumberOfMessages", 0)):
        yield Finding(
            severity=Severity.WARNING,
            check=DEAD,
            found=f"about {waiting} events could not be read, and lie in {place}.",
            remedy="Look at one, mend the cause, and have SQS move them back (StartMessageMoveTask).",
        )
    else:
        yield Finding(severity=Severity.OK, check=DEAD, found=f"{place} is empty.")


def _of_queue(installation: Installation, url: str) -> Mapping[str, str] | None:
    try:
        answer = installation.ask("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
    except NotDelivered:  # which the queue's own check tells
        return None
    told: Mapping[str, Any] = answer.content or {}
    return told.get("Attributes")


def _door(
    check: str, what: str, policy: str, *, service: str, action: str, source: str, closed: str, right: str
) -> Finding:
    """Say whether a policy lets in whom it should, and nobody else. :param closed: :param right: what to say of it."""
    if not admits(policy, service=service, action=action, source=source):
        return Finding(
            severity=Severity.WARNING,
            check=check,
            found=f"{closed}: no event arrives.",
            remedy=f"Permit {action} to {service} in it, as deploy/aws does.",
        )
    if open_to_all(policy, action):
        return Finding(
            severity=Severity.WARNING,
            check=check,
            found=f"anybody may {action} to {what}: {_FORGERY}.",
            remedy=f"Permit {action} to {service} only, as deploy/aws does.",
        )
    return Finding(severity=Severity.OK, check=check, found=right)
