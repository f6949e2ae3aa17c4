"""Preflight, against a real HTTP server that speaks for Amazon SES. What the doctor finds is tested in tests/doctor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mailonce.doctor import installation
from mailonce.errors import InvalidInput, LedgerUnavailable, MailonceError, NeverLeft, RunBlocked
from mailonce.messages.message import Message, StoredTemplate
from mailonce.privacy.purges import Purge
from mailonce.workflow import account
from mailonce.workflow.account import check_stored_template
from mailonce.workflow.plan import Allowance
from mailonce.workflow.preflight import check_quota, preflight, refuse_unknown
from mailonce.workflow.settings import Settings
from sandbox.ses import SesStandIn
from tests.doctor.conftest import quickest
from tests.doctor.sample_dag import dag_of
from tests.fake_ledger import MemoryLedger

SENDER = "Billing <billing@mail.example.com>"
Run = Callable[..., Any]


def refuse_with(code: str, status: int = 403) -> Any:
    def call(**_: Any) -> Any:
        response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(response, "Any")

    return call


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


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> MemoryLedger:
    made = MemoryLedger()
    monkeypatch.setattr(installation, "open_ledger", lambda _: made)
    return made


@pytest.fixture
def run(ses_connection: None, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run preflight, for a campaign that is all right."""
    monkeypatch.setenv("AIRFLOW__MAILONCE__SNAPSHOT_URI", f"file://{tmp_path}/snapshots")
    (tmp_path / "usage").mkdir()
    (tmp_path / "usage" / "subject.txt.j2").write_text("Your month")
    (tmp_path / "usage" / "body.txt.j2").write_text("{{ units }}")
    (tmp_path / "usage.sql").write_text("SELECT 1")

    def check(
        conf: Any = None,
        period: str | None = "2026-10",
        campaign: str = "usage",
        sql: str = "usage.sql",
        dag: Any = None,
        **params: Any,
    ) -> Any:
        context: Any = {
            "dag_run": SimpleNamespace(conf=conf),
            "params": {"period": period, **(conf or {}), **params},
            **({"dag": dag} if dag else {}),
        }
        names = ["period", "recipients"]
        return preflight(context, campaign=campaign, statement=tmp_path / sql, template_root=tmp_path, parameters=names)

    return check


def test_a_lock_that_the_ledger_does_not_have_is_refused_before_anything_is_done(
    run: Run, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect("mailonce_ledger", conn_type="aws")
    monkeypatch.setenv("AIRFLOW__MAILONCE__ONE_RUN_AT_A_TIME", "true")
    with pytest.raises(InvalidInput, match=r"one_run_at_a_time: .* is not in PostgreSQL"):
        run()


@pytest.mark.parametrize("conf", [None, {}, {"period": "2026-10"}, {"recipients": ["C-1"]}])
def test_passes_on_what_it_found(run: Run, ses: SesStandIn, conf: Any) -> None:
    assert run(conf) == {"period": "2026-10", "left_today": None, "daily_quota": None, "max_send_rate": 10_000}
    assert ses.requests == []


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
def test_refuses_what_would_stop_everybody(run: Run, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(MailonceError, match=f"^{named}"):
        run(**arguments)


class TestWhatTheDoctorFinds:
    def test_a_sure_negative_blocks_the_run(self, run: Run, ses: SesStandIn) -> None:
        ses.settings.sending_enabled = False
        with pytest.raises(RunBlocked, match="sending is paused for this SES account") as caught:
            run()
        assert "See the SES console" in str(caught.value)
        assert str(caught.value).endswith(RunBlocked.safe_next)

    def test_all_of_them_are_listed(self, run: Run, ses: SesStandIn, ledger: MemoryLedger) -> None:
        ses.settings.sending_enabled = False
        ledger.epoch.here = "another place"
        with pytest.raises(RunBlocked) as caught:
            run()
        lines = str(caught.value).splitlines()
        assert [line.partition(":")[0] for line in lines] == ["ledger's memory", "account"]

    def test_what_one_exception_says_is_raised_as_it_is(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__MAILONCE__SENDER", "Billing")
        with pytest.raises(InvalidInput, match=r"^setting \[mailonce\] sender"):
            run()

    def test_what_is_only_away_is_tried_again(self, run: Run, ses: SesStandIn) -> None:
        ses.stop()
        with pytest.raises(NeverLeft, match="SESv2 cannot be asked"):
            run()

    def test_a_ledger_that_is_away_is_tried_again(self, run: Run, ledger: MemoryLedger) -> None:
        ledger.fail_next = "before"
        with pytest.raises(LedgerUnavailable):
            run()

    def test_what_must_be_mended_first_is_not_tried_again(
        self, run: Run, ses: SesStandIn, ledger: MemoryLedger
    ) -> None:
        ses.stop()
        ledger.epoch.here = "another place"
        with pytest.raises(RunBlocked, match=r"(?s)another place.*SESv2 cannot be asked"):
            run()

    def test_each_is_said_as_loudly_as_it_deserves(
        self, run: Run, ses: SesStandIn, caplog: pytest.LogCaptureFixture
    ) -> None:
        ses.settings.sending_enabled = False
        with caplog.at_level(logging.DEBUG, "mailonce.workflow.preflight"), pytest.raises(RunBlocked):
            run()
        said = {record.getMessage().partition(":")[0]: record.levelname for record in caplog.records}
        assert said["account"] == "ERROR"
        assert said["read time-out"] == "WARNING"  # the fixture's is 1 s
        assert said["permissions"] == "INFO"
        assert said["sender"] == "DEBUG"

    def test_before_a_dry_run_errors_only_warn(
        self, run: Run, ses: SesStandIn, ledger: MemoryLedger, caplog: pytest.LogCaptureFixture
    ) -> None:
        ses.settings.sending_enabled = False
        ledger.epoch.here = "another place"
        assert run(dry_run=True)["period"] == "2026-10"
        assert "sending is paused" in caplog.text
        assert {record.levelname for record in caplog.records} <= {"WARNING", "INFO"}

    def test_a_dry_run_goes_on_without_ses(self, run: Run, ses: SesStandIn) -> None:
        ses.stop()
        found = run(dry_run=True)
        assert found == {"period": "2026-10", "left_today": None, "daily_quota": None, "max_send_rate": None}

    def test_the_run_s_own_tasks_are_looked_at(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        run(dag=dag_of(execution_timeout=timedelta(seconds=1)))
        assert "mails.deliver is killed after 1 s (execution_timeout)" in caplog.text

    def test_it_is_quick(self, run: Run) -> None:
        assert quickest(run) < 1


class TestWitness:
    def test_a_run_counts_and_a_dry_run_does_not(self, run: Run, ledger: MemoryLedger) -> None:
        run(dry_run=True)
        assert ledger.epoch.read().runs == 0
        run()
        assert ledger.epoch.read().runs == 1

    def test_a_run_that_is_blocked_does_not_count(self, run: Run, ledger: MemoryLedger, ses: SesStandIn) -> None:
        ses.settings.sending_enabled = False
        with pytest.raises(RunBlocked):
            run()
        assert ledger.epoch.read().runs == 0

    def test_a_month_that_was_purged_is_mailed_to_nobody_but_in_another_edition(
        self, run: Run, ledger: MemoryLedger, caplog: pytest.LogCaptureFixture
    ) -> None:
        ledger.privacy.mark(Purge(campaign="usage", period="2026-10", edition="original", by="ann", reason="retention"))
        with pytest.raises(RunBlocked, match=r"was purged on 20.* by ann: retention"):
            run()
        run(dry_run=True)
        assert "was purged on 20" in caplog.text
        assert run(edition="corrected")["period"] == "2026-10"

    def test_a_ledger_that_forgot_this_month_mails_nobody(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        run()
        monkeypatch.setattr(installation, "open_ledger", lambda _: MemoryLedger())
        with pytest.raises(RunBlocked, match=r"it knows less than when it mailed usage\.2026-10"):
            run()
        run(period="2026-11")


def test_an_unknown_parameter_is_refused_with_those_there_are() -> None:
    refuse_unknown({"period": 1}, known=["period", "recipients"])
    with pytest.raises(InvalidInput, match=r"^parameter dryrun, recipient: ") as caught:
        refuse_unknown({"recipient": 1, "dryrun": 1, "period": 1}, known=["recipients", "period"])
    assert "period, recipients" in caught.value.remedy


class TestRate:
    def test_the_account_s_own_goes_into_the_ledger(self, ledger: MemoryLedger, run: Run, ses: SesStandIn) -> None:
        ses.limits.rate = 14
        assert run()["max_send_rate"] == 14
        assert {name: found.maximum for name, found in ledger.rate.timetables.items()} == {"aws_default": 14}

    def test_the_setting_wins(self, ledger: MemoryLedger, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__MAILONCE__MAX_SEND_RATE", "2.5")
        monkeypatch.setenv("AIRFLOW__MAILONCE__REGION_NAME", "eu-west-1")
        assert run()["max_send_rate"] == 2.5
        assert {name: found.maximum for name, found in ledger.rate.timetables.items()} == {"aws_default eu-west-1": 2.5}

    def test_a_dry_run_sets_none(self, ledger: MemoryLedger, run: Run) -> None:
        run(dry_run=True)
        assert ledger.rate.timetables == {}


@pytest.mark.parametrize(
    ("planned", "left", "quota", "spread", "said"),
    [
        (200, 200, 200, False, None),
        (201, 200, 200, False, "only 200 more in this 24-hour window. The rest will fail"),
        (1, 0, 0, True, "The rest will fail"),
        (9, None, None, True, None),
        (201, 200, 200, True, "The rest follows by itself as the window moves on: about 2 days in all."),
        (450, 50, 200, True, "about 3 days in all."),
        (1000, 0, 100, True, "about 11 days in all. Tasks are tried again for 6 days: clear those that fail then."),
    ],
)
def test_a_plan_beyond_the_quota_is_said(
    caplog: pytest.LogCaptureFixture, planned: int, left: int | None, quota: int | None, spread: bool, said: str | None
) -> None:
    with caplog.at_level(logging.WARNING):
        check_quota(planned, Allowance(left_today=left, daily_quota=quota, spread=spread))
    assert caplog.text == "" if said is None else f"{planned} mails are planned" in caplog.text and said in caplog.text
