"""Do the provider's events, which prove what no answer proved, reach the ledger?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from mailonce.doctor.account import not_told
from mailonce.doctor.installation import Installation
from mailonce.epoch import Epoch
from mailonce.errors import NotDelivered
from mailonce.events import EventKind
from mailonce.findings import Finding, Severity

DESTINATIONS = "event destinations"
QUEUE = "events queue"
DRAINED = "events read"

_TYPES = {
    EventKind.SEND: "SEND",
    EventKind.DELIVERY_DELAY: "DELIVERY_DELAY",
    EventKind.DELIVERY: "DELIVERY",
    EventKind.BOUNCE: "BOUNCE",
    EventKind.REJECT: "REJECT",
    EventKind.RENDERING_FAILURE: "RENDERING_FAILURE",
    EventKind.COMPLAINT: "COMPLAINT",
}
"""How a configuration set names what an event calls itself (``EventType`` in the SES v2 API reference)."""

_LEADS_TO_A_QUEUE = ("SnsDestination", "EventBridgeDestination")
_SHORTEST_RETENTION = timedelta(days=4)
"""SQS's own default: a long weekend during which nobody looks at a Dag that has stopped."""

_OVERDUE = timedelta(hours=1)
_RUNS_OF_ONE_MONTH = 2
"""A run is counted before its first mail and after its last."""


def destinations(installation: Installation) -> Iterator[Finding]:
    """Look at where SES publishes them."""
    name = installation.settings.configuration_set
    if name:
        yield from _destinations(installation, name)
        return
    yield Finding(
        severity=Severity.WARNING,
        check=DESTINATIONS,
        found="no configuration_set is set: a mail whose answer is lost can only be settled by a person, because no "
        "event of the provider will tell whether it was accepted.",
        remedy="Set AIRFLOW__MAILONCE__CONFIGURATION_SET to a set that publishes its events.",
    )


def queue(installation: Installation) -> Iterator[Finding]:
    """Look at the queue in which they wait, and at whether somebody reads it."""
    url = installation.settings.events_queue_url
    if url:
        yield from _queue(installation, url)
        return
    yield Finding(
        severity=Severity.WARNING,
        check=QUEUE,
        found="no events_queue_url is set: nobody reads the provider's events.",
        remedy="Set AIRFLOW__MAILONCE__EVENTS_QUEUE_URL to the SQS queue that they go to.",
    )


def _destinations(installation: Installation, name: str) -> Iterator[Finding]:
    answer = installation.ask("sesv2", "get_configuration_set_event_destinations", ConfigurationSetName=name)
    if answer.content is None:
        if not answer.missing:  # of one that does not exist the account's check tells
            yield not_told(DESTINATIONS, answer)
        return
    found = answer.content["EventDestinations"]
    readable = [place for place in found if any(place.get(kind) for kind in _LEADS_TO_A_QUEUE)]
    working = [place for place in readable if place.get("Enabled")]
    published = {kind for place in working for kind in place["MatchingEventTypes"]}
    missing = [kind for kind in _TYPES.values() if kind not in published]
    if not missing:
        names = ", ".join(place["Name"] for place in working)
        yield Finding(severity=Severity.OK, check=DESTINATIONS, found=f"{name} publishes all that counts, to {names}.")
    elif working:
        yield Finding(
            severity=Severity.WARNING,
            check=DESTINATIONS,
            found=f"{name} does not publish {', '.join(missing)}.",
            remedy="Add these event types to its destination"
            + (": without SEND nothing proves that a mail was accepted." if "SEND" in missing else "."),
        )
    else:
        why = "its destinations are all disabled" if readable else "it has no destination"
        if found and not readable:
            why = "its destinations lead neither to SNS nor to EventBridge, and so to no queue that can be read"
        yield Finding(
            severity=Severity.WARNING,
            check=DESTINATIONS,
            found=f"{name} publishes no events: {why}.",
            remedy="Enable, or add, a destination that leads to the queue in events_queue_url.",
        )


def _queue(installation: Installation, url: str) -> Iterator[Finding]:
    try:
        answer = installation.ask("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
    except NotDelivered as failure:
        # Nothing that is sent depends on it.
        yield Finding(
            severity=Severity.WARNING,
            check=QUEUE,
            found=f"{url} cannot be looked at: {failure.detail}",
            remedy="See to it that workers reach SQS: until then mails in doubt stay in doubt.",
        )
        return
    if answer.missing:
        yield Finding(
            severity=Severity.WARNING,
            check=QUEUE,
            found=f"{url} does not exist.",
            remedy="Correct [mailonce] events_queue_url (and the region): until then mails in doubt stay in doubt.",
        )
    elif answer.content is None:
        yield not_told(QUEUE, answer)
    else:
        attributes = answer.content["Attributes"]
        yield from _qualities(url, attributes)
        if epoch := installation.epoch:
            yield _drained(epoch, attributes)


def _qualities(url: str, attributes: Mapping[str, Any]) -> Iterator[Finding]:
    retention = timedelta(seconds=int(attributes["MessageRetentionPeriod"]))
    redriven = bool(json.loads(attributes.get("RedrivePolicy") or "{}").get("deadLetterTargetArn"))
    if not redriven:
        yield Finding(
            severity=Severity.WARNING,
            check=QUEUE,
            found="it has no dead-letter queue: a message that cannot be read comes back until it expires, and is lost.",
            remedy="Give it a redrive policy.",
        )
    if retention < _SHORTEST_RETENTION:
        yield Finding(
            severity=Severity.WARNING,
            check=QUEUE,
            found=f"it keeps messages for {_in_words(retention)} only: events are lost when nobody reads it that long.",
            remedy=f"Raise MessageRetentionPeriod to {_in_words(_SHORTEST_RETENTION)} or more (14 days at most).",
        )
    if redriven and retention >= _SHORTEST_RETENTION:
        yield Finding(severity=Severity.OK, check=QUEUE, found=f"{url} keeps events for {_in_words(retention)}.")


def _drained(epoch: Epoch, attributes: Mapping[str, Any]) -> Finding:
    waiting = int(attributes.get("ApproximateNumberOfMessages", 0))
    read_until = epoch.events_drained_at
    ago = f"{_in_words(epoch.read_at - read_until)} ago" if read_until else "never"
    if waiting and (read_until is None or epoch.read_at - read_until > _OVERDUE):
        return Finding(
            severity=Severity.WARNING,
            check=DRAINED,
            found=f"about {waiting} events wait in the queue, which was last read to its end {ago}.",
            remedy="Is the Dag reconcile_usage_email unpaused, and does it succeed?",
        )
    if read_until is None and epoch.runs > _RUNS_OF_ONE_MONTH:
        return Finding(
            severity=Severity.WARNING,
            check=DRAINED,
            found="mails were sent, and nobody has ever read the events of any.",
            remedy="Unpause the Dag reconcile_usage_email, and see whether events arrive in the queue.",
        )
    return Finding(severity=Severity.OK, check=DRAINED, found=f"about {waiting} wait; last read to the end {ago}.")


def _in_words(time: timedelta) -> str:
    for seconds, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if time.total_seconds() >= 2 * seconds:
            return f"{time.total_seconds() / seconds:.0f} {unit}"
    return f"{time.total_seconds():.0f} seconds"
