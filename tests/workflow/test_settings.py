from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailonce.doubt import InDoubtPolicy
from mailonce.errors import AwaitingProof, InvalidInput
from mailonce.workflow.retries import RETRIES
from mailonce.workflow.settings import LONGEST_PATIENCE, Settings

VALUES: dict[str, tuple[str, Any]] = {
    "ledger_conn_id": ("books", "books"),
    "ledger_table": ("mail.ledger", "mail.ledger"),
    "usage_conn_id": ("warehouse", "warehouse"),
    "provider": ("brevo", "brevo"),
    "aws_conn_id": ("mail", "mail"),
    "brevo_conn_id": ("letters", "letters"),
    "smtp_conn_id": ("relay", "relay"),
    "region_name": ("eu-west-1", "eu-west-1"),
    "sender": ("Billing <billing@example.com>", "Billing <billing@example.com>"),
    "reply_to": ("help@example.com, Desk <desk@example.com>", "help@example.com, Desk <desk@example.com>"),
    "configuration_set": ("statements", "statements"),
    "events_queue_url": ("https://sqs/1/events", "https://sqs/1/events"),
    "trigger_queue_url": ("https://sqs/1/usage-complete", "https://sqs/1/usage-complete"),
    "one_run_at_a_time": ("true", True),
    "events_patience": ("60", 60),
    "in_doubt": ("resend", "resend"),
    "account_suppressions": ("true", True),
    "timezone": ("Europe/Berlin", "Europe/Berlin"),
    "snapshot_uri": ("s3://bucket/mail", "s3://bucket/mail"),
    "template_root": ("/srv/templates", "/srv/templates"),
    "journal_dir": ("/var/lib/mailonce", "/var/lib/mailonce"),
    "message_url": ("https://mail/{message_id}", "https://mail/{message_id}"),
    "concurrency": ("3", 3),
    "max_send_rate": ("12.5", 12.5),
    "spread_over_days": ("true", True),
    "claim_window": ("30", 30),
    "settle_after": ("0", 0),
    "record_patience": ("0", 0),
    "retention_days": ("90, usage=400", "90, usage=400"),
    "erasure_conn_id": ("erasure_key", "erasure_key"),
    "tolerated_failures": ("5", 5),
    "alert_topic": ("arn:aws:sns:eu-central-1:1:alerts", "arn:aws:sns:eu-central-1:1:alerts"),
    "alert_channels": ("ours.channels", "ours.channels"),
    "most_complaints": ("0.002", 0.002),
    "most_bounces": ("0.1", 0.1),
}


VALID_ELSEWHERE = {"provider": "smtp", "in_doubt": "hold", "timezone": "UTC", "account_suppressions": "false", "retention_days": "7", "spread_over_days": "false",
                   "one_run_at_a_time": "false",                   "most_complaints": "0.5", "most_bounces": "0.5"}  # fmt: skip
"""Another valid value of those settings that do not take every text."""


def set_in_environment(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"AIRFLOW__MAILONCE__{name.upper()}", value)


def test_every_setting_is_in_the_table() -> None:
    assert set(VALUES) == {setting.name for setting in fields(Settings)}


@pytest.mark.parametrize("name", VALUES)
def test_the_environment_sets_each(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text, value = VALUES[name]
    assert getattr(Settings.load(), name) != value
    set_in_environment(monkeypatch, **{name: f" {text} "})
    assert getattr(Settings.load(), name) == value


def test_a_patience_beyond_the_retries_is_refused() -> None:
    assert Settings(events_patience=LONGEST_PATIENCE)
    with pytest.raises(InvalidInput, match="events_patience"):
        Settings(events_patience=LONGEST_PATIENCE + 1)
    row = RETRIES[AwaitingProof]
    shortest = sum(row.before_retry(number, chance=0).total_seconds() for number in range(1, row.count + 1))
    assert shortest >= LONGEST_PATIENCE


@pytest.mark.parametrize("share", ["1.5", "-0.1", "nan", "5 %"])
def test_a_limit_is_a_share(monkeypatch: pytest.MonkeyPatch, share: str) -> None:
    set_in_environment(monkeypatch, most_bounces=share)
    with pytest.raises(InvalidInput, match="most_bounces"):
        Settings.load()


def test_each_ledger_has_journals_of_its_own() -> None:
    folders = {Settings(journal_dir="/j", ledger_table=table).journal_folder for table in ("a", "b")}
    assert len(folders) == 2
    assert Settings(journal_dir="none").journal_folder is None


@pytest.mark.parametrize("name", VALUES)
def test_an_override_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text, value = VALUES[name]
    set_in_environment(monkeypatch, **{name: VALID_ELSEWHERE.get(name, "77")})
    assert getattr(Settings.load({name: value}), name) == value
    assert getattr(Settings.load({name: text}), name) == value, "as text, as a template renders it"


@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("name", ["sender", "in_doubt", "concurrency", "timezone"])
def test_an_empty_override_or_variable_does_not_count(monkeypatch: pytest.MonkeyPatch, name: str, nothing: Any) -> None:
    text, value = VALUES[name]
    set_in_environment(monkeypatch, **{name: text})
    assert getattr(Settings.load({name: nothing}), name) == value
    set_in_environment(monkeypatch, **{name: "  "})
    assert getattr(Settings.load(), name) == getattr(Settings(), name)


def test_zero_is_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    set_in_environment(monkeypatch, tolerated_failures="5")
    assert Settings.load({"tolerated_failures": 0}).tolerated_failures == 0


def test_folders_have_a_place_even_when_nobody_sets_them() -> None:
    from airflow.configuration import AIRFLOW_HOME, conf

    settings = Settings.load()
    assert settings.snapshot_uri == f"file://{AIRFLOW_HOME}/mailonce/snapshots"
    assert Path(settings.template_root) == Path(conf.get("core", "dags_folder")).parent / "include" / "templates"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("in_doubt", "guess", "neither hold nor resend"),
        ("in_doubt", "HOLD", "neither hold nor resend"),
        ("timezone", "Mars/Olympus", "is not a time zone"),
        ("concurrency", "0", "0 is less than 1"),
        ("concurrency", "many", "'many' is not a whole number"),
        ("concurrency", "1.5", "is not a whole number"),
        ("claim_window", "4", "4 is less than 5"),
        ("settle_after", "-1", "-1 is less than 0"),
        ("record_patience", "-1", "-1 is less than 0"),
        ("retention_days", "-1", "'-1' is neither a number of days nor campaign=days"),
        ("retention_days", "usage=", "'usage=' is neither"),
        ("retention_days", "=3", "'=3' is neither"),
        ("retention_days", "usage=1.5", "'usage=1.5' is neither"),
        ("retention_days", "1, 2", "the number for all others stands in it twice"),
        ("retention_days", "usage=1, usage=2", "usage stands in it twice"),
        ("retention_days", "36501", "36501 days are more than 36500"),
        ("tolerated_failures", "all", "is not a whole number"),
        ("max_send_rate", "fast", "'fast' is not a number"),
        ("max_send_rate", "0", "0.0 is no rate"),
        ("max_send_rate", "-14", "-14.0 is no rate"),
        ("max_send_rate", "nan", "nan is no rate"),
        ("max_send_rate", "inf", "inf is no rate"),
        ("spread_over_days", "maybe", "neither true nor false"),
    ],
)
@pytest.mark.parametrize("where", ["environment", "override"])
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, where: str, name: str, value: str, reason: str) -> None:
    overrides = {name: value} if where == "override" else {}
    if not overrides:
        set_in_environment(monkeypatch, **{name: value})
    with pytest.raises(InvalidInput, match=reason) as caught:
        Settings.load(overrides)
    assert name in caught.value.field


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", 2.5),
        ("concurrency", [8]),
        ("reply_to", ["a@example.com"]),
        ("sender", 7),
        ("max_send_rate", [14]),
    ],
)
def test_an_override_of_another_type_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match="is not of type") as caught:
        Settings.load({name: value})
    assert caught.value.field == f"setting [mailonce] {name}"


def test_a_path_is_a_text(tmp_path: Path) -> None:
    assert Settings.load({"template_root": tmp_path}).template_root == str(tmp_path)


@pytest.mark.parametrize("sender", ["", "  ", "Billing", "billing@", "a@b.co\r\nBcc: c@d.co", "Billing <billing>"])
def test_a_sender_that_would_have_every_mail_refused(sender: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Settings(sender=sender).required_sender()
    assert caught.value.field == "setting [mailonce] sender"


@pytest.mark.parametrize(
    ("reply_to", "addresses"),
    [
        ("", ()),
        (" , ", ()),
        ("help@example.com", ("help@example.com",)),
        ("help@example.com,, Desk <desk@example.com> ", ("help@example.com", "Desk <desk@example.com>")),
    ],
)
def test_reply_addresses(reply_to: str, addresses: tuple[str, ...]) -> None:
    assert Settings(reply_to=reply_to).reply_addresses == addresses


@pytest.mark.parametrize("reply_to", ["help", "help@example.com, desk", "help@example.com;desk@example.com"])
def test_a_reply_address_that_would_have_every_mail_refused(reply_to: str) -> None:
    with pytest.raises(InvalidInput, match=r"reply_to: .* holds no usable address"):
        _ = Settings(reply_to=reply_to).reply_addresses


def test_what_the_protocol_is_given() -> None:
    settings = Settings(claim_window=30, settle_after=600, record_patience=60, retention_days="2", in_doubt="resend")
    timing = settings.timing
    assert (timing.window, timing.settle) == (timedelta(seconds=30), timedelta(minutes=10))
    assert (timing.record_patience, timing.retention) == (timedelta(minutes=1), timedelta(days=2))
    assert settings.doubt.policy is InDoubtPolicy.RESEND
    assert Settings().timing.retention is None
    assert Settings().doubt.policy is InDoubtPolicy.HOLD


@pytest.mark.parametrize(
    ("settings", "account"),
    [
        (Settings(), "aws_default"),
        (Settings(region_name="eu-west-1"), "aws_default eu-west-1"),
        (Settings(aws_conn_id="mail", max_send_rate=3), "mail"),
    ],
)
def test_who_shares_a_rate(settings: Settings, account: str) -> None:
    assert settings.account == account


def test_each_campaign_is_remembered_as_long_as_it_should_be() -> None:
    settings = Settings(retention_days="90, usage=400 ,welcome=0")
    days = {campaign: settings.timing_of(campaign).retention for campaign in ("usage", "welcome", "other")}
    assert days == {"usage": timedelta(days=400), "welcome": None, "other": timedelta(days=90)}
    assert Settings(retention_days="usage=400").timing_of("other").retention is None
    assert Settings(claim_window=30).timing_of("usage").window == timedelta(seconds=30)
