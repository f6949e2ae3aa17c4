"""Has the role the permissions that sending and reconciling need?

What only reads is tried. What would change something is asked of IAM, as far as the role may ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import parseaddr

from mailonce.doctor.installation import Installation
from mailonce.errors import NotDelivered
from mailonce.findings import Finding, Severity
from mailonce.workflow.questions import Answer

CHECK = "permissions"
_ASSUMED_ROLE = re.compile(r"arn:(?P<partition>[^:]+):sts::(?P<account>\d+):assumed-role/(?P<role>[^/]+)/.+")


def check(installation: Installation) -> Iterator[Finding]:
    """Ask who we are, and whether that may send, and read and delete events."""
    try:
        yield from _simulated(installation)
    except NotDelivered as failure:
        # Many networks let workers reach SES, and neither STS nor IAM.
        yield _unknown(failure.detail)


def _simulated(installation: Installation) -> Iterator[Finding]:
    for service in ("sts", "iam"):
        # Whoever has put a stand-in in the place of SES does not want the real ones to be asked about it.
        if installation.is_amazons(service) and not installation.is_amazons("sesv2"):
            yield _unknown("SES is not Amazon's own here.")
            return
    caller = installation.ask("sts", "get_caller_identity")
    if caller.content is None:
        yield _unknown(caller.why_not, forbidden=caller.forbidden)
        return
    arn = str(caller.content["Arn"])
    if arn.endswith(":root"):
        yield Finding(severity=Severity.OK, check=CHECK, found="the account's root user may do everything.")
        return
    for resource, actions in _needs(installation, arn):
        yield from _judged(_simulate(installation, arn, actions, resource), resource)


def _needs(installation: Installation, arn: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each resource, with the actions on it that would change something."""
    settings = installation.settings
    _, partition, _, _, account, _ = arn.split(":", 5)
    region = installation.client("sesv2").meta.region_name
    sender = parseaddr(settings.required_sender())[1]
    home = f"arn:{partition}:ses:{region}:{account}"
    identity = installation.ask("sesv2", "get_email_identity", EmailIdentity=sender)
    yield f"{home}:identity/{sender if identity.content else sender.rpartition('@')[2]}", ["ses:SendEmail"]
    if settings.configuration_set:
        yield f"{home}:configuration-set/{settings.configuration_set}", ["ses:SendEmail"]
    if settings.events_queue_url:
        queue = installation.ask(
            "sqs", "get_queue_attributes", QueueUrl=settings.events_queue_url, AttributeNames=["All"]
        )
        if queue.content is not None:
            yield queue.content["Attributes"]["QueueArn"], ["sqs:ReceiveMessage", "sqs:DeleteMessage"]


def _simulate(installation: Installation, arn: str, actions: list[str], resource: str) -> Answer:
    """Ask IAM what it would say. It knows roles and users; who we are is a session of a role."""
    sender = parseaddr(installation.settings.required_sender())[1]
    # Policies often permit certain senders only; without the sender, IAM would say no.
    context = [{"ContextKeyName": "ses:FromAddress", "ContextKeyValues": [sender], "ContextKeyType": "string"}]

    def asked(principal: str) -> Answer:
        return installation.ask(
            "iam", "simulate_principal_policy",
            PolicySourceArn=principal, ActionNames=actions, ResourceArns=[resource], ContextEntries=context,
        )  # fmt: skip

    role = _ASSUMED_ROLE.fullmatch(arn)
    if role is None:
        return asked(arn)
    answer = asked(f"arn:{role['partition']}:iam::{role['account']}:role/{role['role']}")
    if answer.missing:  # its path is not part of the session's name
        known = installation.ask("iam", "get_role", RoleName=role["role"])
        return asked(known.content["Role"]["Arn"]) if known.content else known
    return answer


def _judged(answer: Answer, resource: str) -> Iterator[Finding]:
    if answer.content is None:
        yield _unknown(answer.why_not, forbidden=answer.forbidden)
        return
    for result in answer.content["EvaluationResults"]:
        action, decision = result["EvalActionName"], result["EvalDecision"]
        if decision == "allowed":
            yield Finding(severity=Severity.OK, check=CHECK, found=f"{action} on {resource}.")
        elif missing := result.get("MissingContextValues"):
            yield _unknown(f"{action} on {resource} depends on {', '.join(missing)}")
        else:
            explicit = decision == "explicitDeny" and action == "ses:SendEmail"
            yield Finding(
                # What no policy of the role permits, the sender's or the queue's own policy still may.
                severity=Severity.ERROR if explicit else Severity.WARNING,
                check=CHECK,
                found=f"the role may not {action} on {resource} ({decision}, says IAM).",
                remedy=f"Permit {action} to the role.",
            )


def _unknown(why: str, *, forbidden: bool = False) -> Finding:
    tell = "The first mail will tell; a refusal stops the run, and nothing is lost."
    return Finding(
        severity=Severity.UNKNOWN,
        check=CHECK,
        found=f"whether the role may send cannot be told beforehand: {why.rstrip('.')}.",
        remedy=f"{tell} To have it checked, permit iam:SimulatePrincipalPolicy to the role." if forbidden else tell,
    )
