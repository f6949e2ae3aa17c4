"""Preflight and the account's questions, against a real HTTP server that speaks for Amazon SES."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mailonce.errors import InvalidInput, MailonceError, NeverLeft, RunBlocked
from mailonce.messages.message import Message, StoredTemplate
from mailonce.workflow import account
from mailonce.workflow import preflight as preflight_module
from mailonce.workflow.account import Account, check_account, check_stored_template
from mailonce.workflow.preflight import check_quota, preflight, refuse_unknown
from mailonce.workflow.settings import Settings
from sandbox.ses import SesStandIn
from tests.fakes import MemoryLedger

SENDER = "Billing <billing@mail.example.com>"
AskAccount = Callable[..., Account]


@pytest.fixture
def ask(connect: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run check_account against an account of these qualities."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def check(ses: SesStandIn, **settings: Any) -> Account:
        extra = {"region_name": "eu-central-1", "endpoint_url": ses.url}
        connect("aws_default", conn_type="aws", login="a", password="s", extra=extra)
        return check_account(Settings(**{"sender": SENDER, "configuration_set": "statements", **settings}))

    return check


@pytest.mark.parametrize(
    ("qualities", "found"),
    [
        ({}, Account(max_send_rate=10_000, left_today=None)),
        ({"rate": 14, "max_24_hour_send": 200}, Account(max_send_rate=14, left_today=200)),
        ({"max_24_hour_send": 0}, Account(max_send_rate=10_000, left_today=0)),
    ],
)
def test_what_the_account_may_send(ask: AskAccount, qualities: dict[str, Any], found: Account) -> None:
    with SesStandIn(**qualities) as ses:
        assert ask(ses) == found
        assert ses.requests == []


@pytest.mark.parametrize(
    ("qualities", "settings", "reason"),
    [
        ({"sending_enabled": False}, {}, "sending is paused"),
        ({"configuration_sets": ["other"]}, {}, "has no configuration set 'statements'"),
    ],
)
def test_what_blocks_the_run(ask: AskAccount, qualities: dict[str, Any], settings: dict[str, Any], reason: str) -> None:
    with SesStandIn(**qualities) as ses, pytest.raises(RunBlocked, match=reason):
        ask(ses, **settings)


@pytest.mark.parametrize("identity", ["billing@mail.example.com", "mail.example.com", "example.com", "EXAMPLE.com"])
def test_a_verified_address_domain_or_parent_domain_will_do(ask: AskAccount, identity: str) -> None:
    with SesStandIn(verified_identities=[identity]) as ses:
        assert ask(ses).left_today is None


def test_an_identity_that_waits_for_verification_is_not_verified(
    ask: AskAccount, caplog: pytest.LogCaptureFixture
) -> None:
    with SesStandIn(verified_identities=[]) as ses:
        ask_client = account.ses_account_client
        ask(ses)
        assert "knows neither billing@mail.example.com nor mail.example.com" in caplog.text
        ask_client(Settings()).create_email_identity(EmailIdentity="mail.example.com")
        with pytest.raises(RunBlocked, match=r"neither .* is verified for sending"):
            ask(ses)


@pytest.mark.parametrize("sender", ["", "Billing"])
def test_a_sender_without_an_address(ask: AskAccount, ses: SesStandIn, sender: str) -> None:
    with pytest.raises(InvalidInput, match=r"setting \[mailonce\] sender"):
        ask(ses, sender=sender)


def test_an_account_that_cannot_be_reached_is_asked_again_by_a_retry(ask: AskAccount) -> None:
    with SesStandIn() as ses:
        pass  # gone again
    with pytest.raises(NeverLeft, match="SES cannot be asked"):
        ask(ses)


@pytest.mark.parametrize(("status", "code"), [(404, "404"), (503, "ServiceUnavailable"), (400, "BadRequestException")])
def test_an_answer_that_says_nothing_blocks_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int, code: str
) -> None:
    """A relay that speaks only SendEmail, or a service in trouble: the first mail will tell."""
    operations = ("get_email_identity", "get_configuration_set", "get_account")
    service = SimpleNamespace(**{name: refuse_with(code, status) for name in operations})
    monkeypatch.setattr(account, "ses_account_client", lambda _: service)
    assert check_account(Settings(sender=SENDER, configuration_set="statements")) == Account()
    for name in operations:
        assert f"ses:{name} could not be asked (the answer was {status} {code})" in caplog.text


def test_refused_credentials_block_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    service = SimpleNamespace(get_email_identity=refuse_with("InvalidClientTokenId"))
    monkeypatch.setattr(account, "ses_account_client", lambda _: service)
    with pytest.raises(RunBlocked, match="InvalidClientTokenId"):
        check_account(Settings(sender=SENDER))


def test_what_is_worth_knowing_is_said(ask: AskAccount, caplog: pytest.LogCaptureFixture) -> None:
    with SesStandIn(production_access=False) as ses:
        ask(ses, configuration_set="")
    assert "the SES account is in the sandbox" in caplog.text
    assert "no configuration_set is set" in caplog.text


def refuse_with(code: str, status: int = 403) -> Any:
    def call(**_: Any) -> Any:
        response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(response, "Any")

    return call


def test_a_role_without_permission_is_told_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    operations = ("get_email_identity", "get_configuration_set", "get_account")
    role = SimpleNamespace(**{name: refuse_with("AccessDeniedException") for name in operations})
    monkeypatch.setattr(account, "ses_account_client", lambda _: role)
    assert check_account(Settings(sender=SENDER, configuration_set="statements")) == Account()
    for name in operations:
        assert f"ses:{name} could not be asked (the role may not call it), so this is not checked" in caplog.text


class TestStoredTemplate:
    def mail(self, **data: Any) -> Message:
        return Message(sender=SENDER, to="a@b.co", stored_template=StoredTemplate(name="usage-v1", data=data))

    @pytest.fixture(autouse=True)
    def template(self, ses_connection: None) -> None:
        account.ses_account_client(Settings()).create_email_template(
            TemplateName="usage-v1", TemplateContent={"Subject": "{{name}}", "Text": "{{units}}"}
        )

    def test_one_that_renders(self, ses: SesStandIn) -> None:
        check_stored_template(Settings(), self.mail(name="Ann", units=3))
        assert ses.requests == []

    def test_a_missing_variable_is_named(self) -> None:
        with pytest.raises(InvalidInput, match="SES template usage-v1: Attribute 'units' is not present"):
            check_stored_template(Settings(), self.mail(name="Ann"))

    def test_a_missing_template_is_named(self) -> None:
        missing = Message(sender=SENDER, to="a@b.co", stored_template=StoredTemplate(name="nosuch", data={}))
        with pytest.raises(InvalidInput, match=r"SES template nosuch: .*does not exist"):
            check_stored_template(Settings(), missing)

    @pytest.mark.parametrize("code", ["AccessDeniedException", "TooManyRequestsException"])
    def test_one_that_may_not_be_tried_is_told_and_goes_on(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: str
    ) -> None:
        role = SimpleNamespace(test_render_email_template=refuse_with(code))
        monkeypatch.setattr(account, "ses_account_client", lambda _: role)
        check_stored_template(Settings(), self.mail(name="Ann"))
        assert f"usage-v1 could not be tried ({code})" in caplog.text

    def test_content_of_our_own_needs_no_question(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(account, "ses_account_client", lambda _: pytest.fail("asked"))
        check_stored_template(Settings(), Message(sender=SENDER, to="a@b.co", subject="s", text="t"))


class TestTask:
    @pytest.fixture
    def run(self, ses_connection: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
        monkeypatch.setattr(preflight_module, "open_ledger", lambda _: MemoryLedger())
        (tmp_path / "usage").mkdir()
        (tmp_path / "usage" / "subject.txt.j2").write_text("Your month")
        (tmp_path / "usage" / "body.txt.j2").write_text("{{ units }}")
        (tmp_path / "usage.sql").write_text("SELECT 1")

        def check(
            conf: Any = None, period: str | None = "2026-10", campaign: str = "usage", sql: str = "usage.sql"
        ) -> Any:
            context: Any = {"dag_run": SimpleNamespace(conf=conf), "params": {"period": period, **(conf or {})}}
            return preflight(
                context,
                campaign=campaign,
                statement=tmp_path / sql,
                template_root=tmp_path,
                parameters=["period", "recipients"],
            )

        return check

    @pytest.mark.parametrize("conf", [None, {}, {"period": "2026-10"}, {"recipients": ["C-1"]}])
    def test_passes_on_what_it_found(self, run: Any, conf: Any) -> None:
        assert run(conf) == {"period": "2026-10", "left_today": None, "max_send_rate": 10_000}

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"conf": {"recipient": ["C-1"]}}, "parameter recipient: this Dag has no such parameter"),
            ({"period": "2026-13"}, "period: "),
            ({"campaign": "nosuch"}, "template nosuch/subject.txt.j2: "),
            ({"campaign": "../usage"}, "campaign: "),
            ({"sql": "nosuch.sql"}, r"usage query nosuch\.sql: "),
        ],
    )
    def test_refuses_what_would_stop_everybody(self, run: Any, arguments: dict[str, Any], named: str) -> None:
        with pytest.raises(MailonceError, match=f"^{named}"):
            run(**arguments)


def test_an_unknown_parameter_is_refused_with_those_there_are() -> None:
    refuse_unknown({"period": 1}, known=["period", "recipients"])
    with pytest.raises(InvalidInput, match=r"^parameter dryrun, recipient: ") as caught:
        refuse_unknown({"recipient": 1, "dryrun": 1, "period": 1}, known=["recipients", "period"])
    assert "period, recipients" in caught.value.remedy


@pytest.mark.parametrize(
    ("planned", "left", "said"), [(200, 200, False), (201, 200, True), (1, 0, True), (9, None, False)]
)
def test_a_plan_beyond_the_quota_is_said(
    caplog: pytest.LogCaptureFixture, planned: int, left: int | None, said: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        check_quota(planned, left)
    assert (f"{planned} mails are planned" in caplog.text) == said
