"""What the account says of itself, against real HTTP servers: the stand-in, and one that refuses."""

from __future__ import annotations

from typing import Any

import pytest

from mailonce import __version__
from mailonce.doctor import account
from mailonce.doctor.examination import Examination, examine
from mailonce.errors import InvalidInput, NeverLeft, RunBlocked
from mailonce.findings import Severity
from mailonce.workflow.account import Account
from sandbox.ses import SesStandIn
from tests.doctor.aws_stub import AwsStub, refusal
from tests.doctor.conftest import Install, bad, only

SENDER, DOMAIN = "billing@mail.example.com", "mail.example.com"
QUESTIONS = {
    "ses:GetEmailIdentity": f"GET /v2/email/identities/{SENDER.replace('@', '%40')}",
    "ses:GetConfigurationSet": "GET /v2/email/configuration-sets/statements",
    "ses:GetAccount": "GET /v2/email/account",
}


def tagged(version: str) -> dict[str, Any]:
    return {"Tags": [{"Key": account.TEMPLATE_TAG, "Value": version}]}


def look(installation: Any) -> Examination:
    return examine(installation, {"account": account.check})


def test_a_healthy_account_has_nothing_to_mend(install: Install, ses: SesStandIn) -> None:
    findings = look(install()).findings
    assert {finding.severity for finding in findings} == {Severity.OK}
    assert only(findings, "quota").found == "no daily quota is told, 10000 a second."
    assert only(findings, "account's suppression list").found == "addresses are added for bounce and complaint."
    assert ses.requests == []


@pytest.mark.parametrize(
    ("qualities", "found"),
    [
        ({}, Account(max_send_rate=10_000, left_today=None)),
        ({"rate": 14, "max_24_hour_send": 200}, Account(max_send_rate=14, daily_quota=200, left_today=200)),
        ({"max_24_hour_send": 0}, Account(max_send_rate=10_000, daily_quota=0, left_today=0)),
    ],
)
def test_what_the_account_may_send(install: Install, qualities: dict[str, Any], found: Account) -> None:
    with SesStandIn(**qualities) as ses:
        answer = install(services={"sesv2": ses.url}).ask("sesv2", "get_account")
        assert Account.told_by(answer.content) == found
    assert Account.told_by(None) == Account()


@pytest.mark.parametrize(
    ("qualities", "severity", "text"),
    [
        ({"sending_enabled": False}, "error", "sending is paused for this SES account"),
        ({"configuration_sets": ["other"]}, "error", "has no configuration set 'statements'"),
        ({"production_access": False}, "warning", "the SES account is in the sandbox"),
        ({"max_24_hour_send": 0}, "warning", "the quota of mails in 24 hours is used up"),
        ({"verified_identities": []}, "warning", f"knows neither {SENDER} nor {DOMAIN}"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(
    install: Install, qualities: dict[str, Any], severity: str, text: str
) -> None:
    with SesStandIn(**qualities) as ses:
        findings = look(install(services={"sesv2": ses.url})).findings
    ((how_bad, said),) = bad(findings)
    assert how_bad == severity
    assert text in said
    assert next(finding.remedy for finding in findings if text in finding.found)


def test_a_configuration_set_whose_sending_is_paused(install: Install, ses: SesStandIn) -> None:
    installation = install(configuration_set="paused")
    installation.client("sesv2").create_configuration_set(
        ConfigurationSetName="paused", SendingOptions={"SendingEnabled": False}
    )
    ((severity, text),) = bad(look(installation).findings)
    assert severity == "error"
    assert "sending is paused for the configuration set 'paused'" in text


@pytest.mark.parametrize("identity", [SENDER, DOMAIN, "example.com", "EXAMPLE.com"])
def test_a_verified_address_domain_or_parent_domain_will_do(install: Install, identity: str) -> None:
    with SesStandIn(verified_identities=[identity]) as ses:
        findings = look(install(services={"sesv2": ses.url})).findings
    assert only(findings, account.SENDER).severity is Severity.OK


def test_an_identity_that_waits_for_verification_is_not_verified(install: Install) -> None:
    with SesStandIn(verified_identities=[]) as ses:
        installation = install(services={"sesv2": ses.url})
        installation.client("sesv2").create_email_identity(EmailIdentity=DOMAIN)
        finding = only(look(installation).findings, account.SENDER)
    assert finding.severity is Severity.ERROR
    assert finding.found == f"neither {SENDER} nor {DOMAIN} is verified for sending in SES."


@pytest.mark.parametrize("sender", ["", "Billing"])
def test_a_sender_without_an_address(install: Install, sender: str) -> None:
    examination = look(install(sender=sender))
    assert "setting [mailonce] sender" in bad(examination.findings)[0][1]
    assert isinstance(examination.failures[0], InvalidInput)


def test_an_account_that_cannot_be_reached_is_one_trouble(install: Install) -> None:
    with SesStandIn() as ses:
        pass  # gone again
    installation = install(services={"sesv2": ses.url})
    examination = examine(installation, {"account": account.check, "once more": account.check})
    assert len(bad(examination.findings)) == 1
    (failure,) = examination.failures
    assert isinstance(failure, NeverLeft)
    assert "SESv2 cannot be asked" in str(failure)


@pytest.mark.parametrize("action", QUESTIONS)
def test_what_the_role_may_not_ask_is_named_and_left_open(
    install: Install, ses: SesStandIn, stub: AwsStub, action: str
) -> None:
    for question in QUESTIONS.values():
        stub.answers[question] = refusal("AccessDeniedException")
    findings = look(install(services={"sesv2": stub.url})).findings
    assert bad(findings) == []
    (about,) = (finding for finding in findings if action in finding.found)
    assert about.severity is Severity.UNKNOWN
    assert about.found == f"not checked: the role lacks the permission {action}."
    assert about.remedy == f"Permit {action} to the role, to have it checked."


@pytest.mark.parametrize(("status", "code"), [(404, "404"), (503, "ServiceUnavailable"), (400, "BadRequestException")])
def test_an_answer_that_says_nothing_blocks_nobody(install: Install, stub: AwsStub, status: int, code: str) -> None:
    """A relay that speaks only SendEmail, or a service in trouble: the first mail will tell."""
    for question in QUESTIONS.values():
        stub.answers[question] = refusal(code, status)
    findings = look(install(services={"sesv2": stub.url})).findings
    assert {finding.severity for finding in findings} == {Severity.UNKNOWN}
    said = " ".join(finding.found for finding in findings)
    assert all(f"{action} answered {status} {code}" in said for action in QUESTIONS)


def test_refused_credentials_are_one_error(install: Install, stub: AwsStub) -> None:
    stub.answers[QUESTIONS["ses:GetEmailIdentity"]] = refusal("InvalidClientTokenId")
    examination = look(install(services={"sesv2": stub.url}))
    ((severity, text),) = bad(examination.findings)
    assert severity == "error"
    assert "refuses the credentials (InvalidClientTokenId" in text
    assert isinstance(examination.failures[0], RunBlocked)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ""),
        ({"SuppressionOptions": {"SuppressedReasons": ["COMPLAINT", "BOUNCE"]}}, ""),
        ({"SuppressionOptions": {"SuppressedReasons": []}}, "addresses are added for no reason"),
        ({"SuppressionOptions": {"SuppressedReasons": ["BOUNCE"]}}, "addresses are added for bounce. SES goes on"),
    ],
)
def test_a_configuration_set_s_own_suppression_takes_the_account_s_place(
    install: Install, options: dict[str, Any], said: str
) -> None:
    installation = install(configuration_set="own")
    installation.client("sesv2").create_configuration_set(ConfigurationSetName="own", **options)
    found = only(look(installation).findings, account.SUPPRESSION)
    assert found.severity is (Severity.WARNING if said else Severity.OK)
    assert said in found.found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "own."),
        (tagged(__version__), f"own, made by the template of mailonce {__version__}."),
        (
            tagged("0.0.1"),
            f"own, made by the template of mailonce 0.0.1; this is {__version__}, whose template may have",
        ),
    ],
)
def test_a_configuration_set_that_the_template_made_is_recognised(
    install: Install, options: dict[str, Any], said: str
) -> None:
    installation = install(configuration_set="own")
    installation.client("sesv2").create_configuration_set(ConfigurationSetName="own", **options)
    assert only(look(installation).findings, account.CONFIGURATION_SET).found.startswith(said)
