"""What IAM says of the role, spoken in IAM's own protocol by a server of our own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mailonce.doctor import permissions
from mailonce.doctor.examination import examine
from mailonce.findings import Severity
from tests.doctor.aws_stub import AwsStub, Reply, query_refusal, refusal
from tests.doctor.conftest import Install, bad

CHECK = {"permissions": permissions.check}
SESSION = "arn:aws:sts::123456789012:assumed-role/mailer/worker-1"
ROLE = "arn:aws:iam::123456789012:role/mailer"
SES = "arn:aws:ses:eu-central-1:123456789012"


def who(arn: str) -> Reply:
    inner = f"<Arn>{arn}</Arn><UserId>u</UserId><Account>123456789012</Account>"
    result = f"<GetCallerIdentityResult>{inner}</GetCallerIdentityResult>"
    return Reply(f"<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>")


def verdict(*decisions: tuple[str, str], missing: str = "") -> Reply:
    """IAM's answer: action and decision of each."""
    lacks = f"<MissingContextValues><member>{missing}</member></MissingContextValues>" if missing else ""
    members = "".join(
        f"<member><EvalActionName>{action}</EvalActionName><EvalResourceName>x</EvalResourceName>"
        f"<EvalDecision>{decision}</EvalDecision>{lacks}</member>"
        for action, decision in decisions
    )
    result = f"<EvaluationResults>{members}</EvaluationResults><IsTruncated>false</IsTruncated>"
    name = "SimulatePrincipalPolicy"
    return Reply(f"<{name}Response><{name}Result>{result}</{name}Result></{name}Response>")


ALLOWED = verdict(("ses:SendEmail", "allowed"))


@pytest.fixture
def account(install: Install, stub: AwsStub) -> Any:
    """An account whose every service the stub speaks for."""
    stub.answers["GetCallerIdentity"] = who(SESSION)

    def make(**settings: Any) -> Any:
        services = dict.fromkeys(("sesv2", "sqs", "sts", "iam"), stub.url)
        return install(services=services, **settings)

    return make


def simulated(stub: AwsStub) -> list[dict[str, Any]]:
    return [fields for name, fields in stub.asked if name == "SimulatePrincipalPolicy"]


def test_a_role_that_may_send(account: Any, stub: AwsStub) -> None:
    stub.answers["SimulatePrincipalPolicy"] = ALLOWED
    findings = examine(account(), CHECK).findings
    assert {finding.severity for finding in findings} == {Severity.OK}
    first, second = simulated(stub)
    assert first["PolicySourceArn"] == ROLE
    assert first["ResourceArns.member.1"] == f"{SES}:identity/mail.example.com"
    assert second["ResourceArns.member.1"] == f"{SES}:configuration-set/statements"
    assert first["ActionNames.member.1"] == "ses:SendEmail"
    assert first["ContextEntries.member.1.ContextKeyValues.member.1"] == "billing@mail.example.com"


def test_a_verified_address_is_the_identity_that_is_sent_from(account: Any, stub: AwsStub) -> None:
    stub.answers["GET /v2/email/identities/billing%40mail.example.com"] = Reply('{"VerifiedForSendingStatus": true}')
    stub.answers["SimulatePrincipalPolicy"] = ALLOWED
    examine(account(), CHECK)
    assert simulated(stub)[0]["ResourceArns.member.1"] == f"{SES}:identity/billing@mail.example.com"


@pytest.mark.parametrize(("decision", "severity"), [("explicitDeny", "error"), ("implicitDeny", "warning")])
def test_a_role_that_may_not_send(account: Any, stub: AwsStub, decision: str, severity: str) -> None:
    stub.answers["SimulatePrincipalPolicy"] = [verdict(("ses:SendEmail", decision)), ALLOWED]
    ((how_bad, text),) = bad(examine(account(), CHECK).findings)
    assert how_bad == severity
    assert f"the role may not ses:SendEmail on {SES}:identity/mail.example.com ({decision}" in text
    assert "Permit ses:SendEmail to the role" in text


def test_a_role_that_may_send_but_not_read_the_events(account: Any, stub: AwsStub) -> None:
    queue = "arn:aws:sqs:eu-central-1:123456789012:events"
    stub.answers["GetQueueAttributes"] = Reply(json.dumps({"Attributes": {"QueueArn": queue}}))
    denied = verdict(("sqs:ReceiveMessage", "allowed"), ("sqs:DeleteMessage", "explicitDeny"))
    stub.answers["SimulatePrincipalPolicy"] = [ALLOWED, ALLOWED, denied]
    ((severity, text),) = bad(examine(account(events_queue_url=f"{stub.url}/1/events"), CHECK).findings)
    assert severity == "warning"
    assert f"may not sqs:DeleteMessage on {queue}" in text


def test_a_policy_that_depends_on_what_is_not_known_is_left_open(account: Any, stub: AwsStub) -> None:
    stub.answers["SimulatePrincipalPolicy"] = verdict(("ses:SendEmail", "implicitDeny"), missing="aws:SourceVpce")
    findings = examine(account(), CHECK).findings
    assert {finding.severity for finding in findings} == {Severity.UNKNOWN}
    assert "depends on aws:SourceVpce" in findings[0].found


def test_a_role_with_a_path_is_looked_up(account: Any, stub: AwsStub) -> None:
    real = "arn:aws:iam::123456789012:role/teams/billing/mailer"
    stub.answers["SimulatePrincipalPolicy"] = [query_refusal("NoSuchEntity", 404), ALLOWED] * 2
    role = f"<Role><Path>/</Path><RoleName>mailer</RoleName><RoleId>r</RoleId><Arn>{real}</Arn></Role>"
    stub.answers["GetRole"] = Reply(f"<GetRoleResponse><GetRoleResult>{role}</GetRoleResult></GetRoleResponse>")
    findings = examine(account(), CHECK).findings
    assert {finding.severity for finding in findings} == {Severity.OK}
    assert [asked["PolicySourceArn"] for asked in simulated(stub)] == [ROLE, real, ROLE, real]


@pytest.mark.parametrize("asked", ["SimulatePrincipalPolicy", "GetRole", "GetCallerIdentity"])
def test_a_role_that_may_not_ask_is_left_open(account: Any, stub: AwsStub, asked: str) -> None:
    stub.answers["SimulatePrincipalPolicy"] = query_refusal("NoSuchEntity", 404)
    stub.answers[asked] = query_refusal("AccessDenied")
    findings = examine(account(), CHECK).findings
    assert {finding.severity for finding in findings} == {Severity.UNKNOWN}
    assert (
        f"the role lacks the permission {'sts' if asked == 'GetCallerIdentity' else 'iam'}:{asked}" in findings[0].found
    )
    assert "permit iam:SimulatePrincipalPolicy" in findings[0].remedy


def test_a_user_is_asked_about_by_its_own_name(account: Any, stub: AwsStub) -> None:
    stub.answers["GetCallerIdentity"] = who("arn:aws:iam::123456789012:user/mailer")
    stub.answers["SimulatePrincipalPolicy"] = ALLOWED
    examine(account(), CHECK)
    assert simulated(stub)[0]["PolicySourceArn"] == "arn:aws:iam::123456789012:user/mailer"


def test_the_root_user_may_do_everything(account: Any, stub: AwsStub) -> None:
    stub.answers["GetCallerIdentity"] = who("arn:aws:iam::123456789012:root")
    (finding,) = examine(account(), CHECK).findings
    assert finding.severity is Severity.OK
    assert simulated(stub) == []


def test_services_that_are_not_reachable_stop_nobody(install: Install) -> None:
    with AwsStub() as gone:
        url = gone.url
    examination = examine(install(services={"sts": url, "iam": url}), CHECK)
    assert [finding.severity for finding in examination.findings] == [Severity.UNKNOWN]
    assert examination.failures == []


def test_beside_a_stand_in_for_ses_amazon_is_not_asked(install: Install) -> None:
    (finding,) = examine(install(), CHECK).findings
    assert finding.severity is Severity.UNKNOWN
    assert "SES is not Amazon's own here" in finding.found


def test_an_answer_in_another_language_is_left_open(install: Install, stub: AwsStub) -> None:
    stub.answers["GetCallerIdentity"] = refusal("Strange", 400)
    services = dict.fromkeys(("sts", "iam"), stub.url)
    (finding,) = examine(install(services=services), CHECK).findings
    assert finding.severity is Severity.UNKNOWN
