"""The operator as a Dag author uses it, with real connections to a real ledger and a real HTTP server for SES."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any

import boto3
import pytest

from mailonce import IdempotentSesOperator
from mailonce.batch import TRIES
from mailonce.errors import (
    AwaitingQuota,
    BatchIncomplete,
    DailyQuotaExceeded,
    InDoubt,
    InFlight,
    InvalidInput,
    LedgerForgot,
    Rejected,
    RunBlocked,
    Throttled,
)
from mailonce.pace import Pace
from mailonce.privacy.purges import Purge
from mailonce.states import State
from mailonce.workflow.connections import open_ledger
from mailonce.workflow.settings import Settings
from sandbox.aws import LocalAws
from sandbox.postgres import EmbeddedPostgres
from sandbox.ses import Behaviour, SesStandIn

Run = Callable[..., dict[str, Any]]


def connect_postgres(postgres: EmbeddedPostgres, connect: Any) -> None:
    postgres.create_database("operator")
    connect("mailonce_ledger", **postgres.connection("operator"))


def connect_dynamodb(local_aws: LocalAws, connect: Any) -> None:
    extra = {"region_name": "eu-central-1", "endpoint_url": local_aws.url}
    connect("mailonce_ledger", conn_type="aws", login="local", password="local", extra=extra)


@pytest.fixture(
    params=[
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("dynamodb", marks=pytest.mark.dynamodb),
    ]
)
def ledger(request: pytest.FixtureRequest, connect: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fresh table, in each kind of ledger."""
    if request.param == "postgres":
        connect_postgres(request.getfixturevalue("postgres"), connect)
    else:
        pytest.importorskip("mailonce.ledgers.dynamodb", reason="there is no DynamoDB ledger yet")
        connect_dynamodb(request.getfixturevalue("local_aws"), connect)
    monkeypatch.setenv("AIRFLOW__MAILONCE__LEDGER_TABLE", f"operator_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def run(ledger: None, ses_connection: None) -> Run:
    return run_operator


def run_operator(**arguments: Any) -> dict[str, Any]:
    facts = {"campaign": "usage", "period": "2026-10", "subject": "Your month", "text": "{{ units }} units"}
    given = {**facts, **arguments}
    if given.get("ses_template") or given.get("template_root"):
        del given["subject"], given["text"]
    return IdempotentSesOperator(task_id="mail", **given).execute({})


def row(recipient_id: Any = "C-1", **columns: Any) -> dict[str, Any]:
    return {"recipient_id": recipient_id, "email": f"{recipient_id}@example.com".lower(), "units": 3, **columns}


def entries() -> dict[str, Any]:
    ledger = open_ledger(Settings.load())
    try:
        return {entry.identity.recipient_id: entry for entry in ledger.of_month("usage", "2026-10")}
    finally:
        ledger.close()


class TestOneRecipient:
    def test_is_mailed_and_written_down(self, run: Run, ses: SesStandIn) -> None:
        result = run(recipient=row())
        (mail,) = ses.mails
        assert result == {"sent": 1, "recipient": "C-1", "message_id": mail.message_id}
        assert (mail.to, mail.subject, mail.text) == (["c-1@example.com"], "Your month", "3 units")
        entry = entries()["C-1"]
        assert (entry.state, entry.message_id, entry.email) == (State.SENT, mail.message_id, "c-1@example.com")
        assert mail.tags == {
            "mailonce_key": entry.key,
            "mailonce_campaign": "usage",
            "mailonce_period": "2026-10",
            "mailonce_edition": "original",
            "mailonce_recipient": "C-1",
        }

    def test_a_second_run_sends_nothing_and_says_so(self, run: Run, ses: SesStandIn, caplog: Any) -> None:
        first = run(recipient=row())
        with caplog.at_level("INFO"):
            second = run(recipient=row())
        assert second == {"already sent": 1, "recipient": "C-1", "message_id": first["message_id"]}
        assert f"already sent on {entries()['C-1'].sent_at:%Y-%m-%d}" in caplog.text
        assert f"as message {first['message_id']}" in caplog.text
        assert "c-1@example.com" not in caplog.text
        assert len(ses.requests) == 1

    def test_a_month_that_was_purged_is_not_mailed_again_by_clearing_an_old_task(
        self, run: Run, ses: SesStandIn
    ) -> None:
        run(recipient=row())
        with closing(open_ledger(Settings.load())) as ledger:
            ledger.privacy.mark(
                Purge(campaign="usage", period="2026-10", edition="original", by="ann", reason="retention")
            )
            assert ledger.privacy.purge("usage", "2026-10") == 1
            with pytest.raises(LedgerForgot, match=r"purged on .* by ann: retention"):
                run(recipient=row())
            assert len(ses.mails) == 1
            ledger.privacy.reopen("usage", "2026-10", "original", by="ann", reason="to be mailed anew")
        assert run(recipient=row())["sent"] == 1

    def test_changed_content_is_reported_and_not_sent(self, run: Run, ses: SesStandIn) -> None:
        run(recipient=row())
        assert run(recipient=row(units=4))["content changed since it was sent"] == 1
        assert len(ses.requests) == 1

    @pytest.mark.parametrize(
        ("change", "mails"),
        [({"edition": "corrected"}, 2), ({"period": "2026-11"}, 2), ({"campaign": "other"}, 2), ({"text": "x"}, 1)],
    )
    def test_what_makes_another_mail(self, run: Run, ses: SesStandIn, change: dict[str, Any], mails: int) -> None:
        run(recipient=row())
        run(recipient=row(), **change)
        assert len(ses.mails) == mails

    @pytest.mark.parametrize(
        ("behaviour", "error", "state"),
        [
            (Behaviour.THROTTLE, Throttled, State.RELEASED),
            (Behaviour.REJECT, Rejected, State.REJECTED),
            (Behaviour.PAUSED, RunBlocked, State.RELEASED),
            (Behaviour.ACCEPT_THEN_DROP, InDoubt, State.IN_DOUBT),
        ],
    )
    def test_a_failure_is_its_own_error_and_repeated_safely(
        self, run: Run, ses: SesStandIn, behaviour: Behaviour, error: type[Exception], state: State
    ) -> None:
        ses.behave("c-1@example.com", [behaviour])
        with pytest.raises(error, match=r"^C-1: .*\[key [0-9a-f]{12}"):
            run(recipient=row())
        assert entries()["C-1"].state is state
        if state is State.RELEASED:
            assert run(recipient=row())["sent"] == 1
        else:
            with pytest.raises(error):
                run(recipient=row())
            assert len(ses.requests) == 1

    @pytest.mark.parametrize("given_as", ['{"recipient_id": "C-1", "email": "c-1@example.com", "units": 3}', row()])
    def test_as_a_row_or_as_json(self, run: Run, ses: SesStandIn, given_as: Any) -> None:
        assert run(recipient=given_as)["sent"] == 1


class TestBatch:
    def test_everybody_is_mailed_once(self, run: Run, ses: SesStandIn) -> None:
        rows = [row(f"C-{number}") for number in range(20)]
        assert run(recipients=rows) == {"sent": 20}
        assert run(recipients=rows[5:] + rows[:5]) == {"already sent": 20}
        assert Counter(mail.recipients[0] for mail in ses.mails) == {each["email"]: 1 for each in rows}

    def test_one_recipient_s_trouble_stops_no_other(
        self, run: Run, ses: SesStandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__MAILONCE__MAX_SEND_RATE", "500")
        rows = [row(name) for name in ("good", "slow", "refused", "lost", "last")]
        rows[1:1] = [row("invalid", email="nobody"), row("null", units=None), {"email": "a@b.co"}]
        ses.behave("slow@example.com", [Behaviour.THROTTLE] * TRIES)
        ses.behave("refused@example.com", [Behaviour.REJECT])
        ses.behave("lost@example.com", [Behaviour.ACCEPT_THEN_RESET])
        with pytest.raises(BatchIncomplete, match=r"^6 of 8 recipients are unresolved") as caught:
            run(recipients=rows)
        kinds = {getattr(each, "recipient_id", None) or each.row: type(each) for each in caught.value.errors}
        assert kinds == {
            "slow": Throttled, "refused": Rejected, "lost": InDoubt,
            "invalid": InvalidInput, "null": InvalidInput, "number 4": InvalidInput,
        }  # fmt: skip
        assert {mail.recipients[0] for mail in ses.mails} == {
            f"{name}@example.com" for name in ("good", "last", "lost")
        }

        # Another try sends what is missing and can be sent, and only that.
        rows[1], rows[2] = row("invalid"), row("null")
        with pytest.raises(BatchIncomplete, match=r"^3 of 8 recipients are unresolved"):
            run(recipients=rows)
        assert Counter(request.recipient.partition("@")[0] for request in ses.requests) == {
            "good": 1, "last": 1, "slow": TRIES + 1, "refused": 1, "lost": 1, "invalid": 1, "null": 1,
        }  # fmt: skip

    def test_a_blocked_run_stops_claiming(self, run: Run, ses: SesStandIn) -> None:
        ses.behave("*", Behaviour.PAUSED)
        with pytest.raises(BatchIncomplete):
            run(recipients=[row(f"C-{number}") for number in range(50)], concurrency=2)
        assert len(ses.requests) <= 4
        assert len(entries()) <= 4

    def test_throttled_mails_are_tried_again_in_the_same_task(self, run: Run, ses: SesStandIn) -> None:
        ses.behave("*", [Behaviour.THROTTLE] * 2)
        rows = [row(f"C-{number}") for number in range(10)]
        assert run(recipients=rows) == {"sent": 10}

    @pytest.mark.parametrize(("spread", "kind"), [("false", DailyQuotaExceeded), ("true", AwaitingQuota)])
    def test_a_used_up_quota_ends_the_task_or_is_waited_for(
        self, run: Run, ses: SesStandIn, monkeypatch: pytest.MonkeyPatch, spread: str, kind: type[Exception]
    ) -> None:
        monkeypatch.setenv("AIRFLOW__MAILONCE__SPREAD_OVER_DAYS", spread)
        ses.limits.max_24_hour_send = 5
        rows = [row(f"C-{number}") for number in range(9)]
        with pytest.raises(BatchIncomplete) as caught:
            run(recipients=[*rows, row("null", units=None)], concurrency=1)
        assert [type(each) for each in caught.value.errors] == [kind]
        assert caught.value.total == 10
        with pytest.raises(kind, match="C-8: the daily quota is used up"):
            run(recipient=rows[8])
        ses.limits.max_24_hour_send = -1
        assert run(recipients=rows) == {"already sent": 5, "sent": 4}

    def test_the_setting_governs_the_pace(self, run: Run, ses: SesStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__MAILONCE__MAX_SEND_RATE", "20")
        rows = [row(f"C-{number}") for number in range(21)]
        begun = time.monotonic()
        assert run(recipients=rows) == {"sent": 21}
        assert time.monotonic() - begun >= 1
        monkeypatch.setattr(Pace, "wait", lambda _: pytest.fail("what need not be sent is not paced"))
        assert run(recipients=rows) == {"already sent": 21}
        assert run(recipient=rows[0])["already sent"] == 1

    def test_nobody_is_no_error(self, run: Run, ses: SesStandIn) -> None:
        assert run(recipients=[]) == {}

    def test_the_same_recipients_at_the_same_time_from_eight_tasks(self, run: Run, ses: SesStandIn) -> None:
        rows = [row(f"C-{number}") for number in range(10)]
        together = Barrier(8)

        def work(number: int) -> Any:
            together.wait()
            try:
                return run(recipients=rows[number:] + rows[:number], concurrency=2)
            except BatchIncomplete as incomplete:
                return incomplete

        with ThreadPoolExecutor(8) as pool:
            ends = list(pool.map(work, range(8)))
        # Whoever comes second sees the first one's mail, or that it is being sent at this moment.
        met = {type(error) for end in ends if isinstance(end, BatchIncomplete) for error in end.errors}
        assert met <= {InFlight}
        assert Counter(request.recipient for request in ses.requests) == {each["email"]: 1 for each in rows}
        assert run(recipients=rows) == {"already sent": 10}


class TestContent:
    def test_inline(self, run: Run, ses: SesStandIn) -> None:
        run(
            recipient=row(name="<Ann>"),
            subject="{{ name }} in {{ period.label }}",
            html="<p>{{ name }}</p>",
            headers="X-Units: {{ units }}",
            reply_to="help@example.com",
            configuration_set="statements",
        )
        (mail,) = ses.mails
        assert (mail.subject, mail.html) == ("<Ann> in October 2026", "<p>&lt;Ann&gt;</p>")
        assert mail.headers == [{"name": "X-Units", "value": "3"}]
        assert (mail.reply_to, mail.configuration_set) == (["help@example.com"], "statements")
        assert mail.from_address == "Billing <billing@example.com>"

    def test_from_the_campaign_s_folder(self, run: Run, ses: SesStandIn, tmp_path: Path) -> None:
        (tmp_path / "usage").mkdir()
        (tmp_path / "usage" / "subject.txt.j2").write_text("{{ edition }}")
        (tmp_path / "usage" / "body.txt.j2").write_text("from a file")
        run(recipient=row(), template_root=str(tmp_path))
        assert (ses.mails[0].subject, ses.mails[0].text) == ("original", "from a file")

    def test_stored_at_ses(self, run: Run, ses: SesStandIn) -> None:
        client = boto3.client(
            "sesv2", endpoint_url=ses.url, region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="s"
        )
        content = {"Subject": "{{period}}", "Text": "{{units}} units"}
        client.create_email_template(TemplateName="usage-v1", TemplateContent=content)
        # A row that cannot be made at all does not keep the template from being tried with the next.
        with pytest.raises(BatchIncomplete, match="1 of 2"):
            run(recipients=[row("bad", email="nobody"), row()], ses_template="usage-v1")
        assert (ses.mails[0].subject, ses.mails[0].text) == ("October 2026", "3 units")
        with pytest.raises(InvalidInput, match="SES template usage-v1: Attribute 'units' is not present"):
            run(recipient={"recipient_id": "C-2", "email": "c-2@example.com"}, ses_template="usage-v1")
        assert len(ses.requests) == 1
        assert "C-2" not in entries()


class TestPreview:
    @pytest.mark.parametrize("preview", [True, "True", "true"])
    def test_neither_claims_nor_sends(self, run: Run, ses: SesStandIn, preview: Any) -> None:
        run(recipient=row("old"))
        rows = [row("old"), row("new"), row("bad", email="nobody")]
        assert run(recipients=rows, preview=preview) == {"already sent": 1, "new": 1, "invalid": 1}
        assert len(ses.requests) == 1
        assert set(entries()) == {"old"}

    @pytest.mark.parametrize("preview", [False, "False"])
    def test_is_off_when_rendered_as_false(self, run: Run, ses: SesStandIn, preview: Any) -> None:
        assert run(recipient=row(), preview=preview)["sent"] == 1
