from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseNotifier

from mailonce import errors
from mailonce.notifiers import DeliveryAlert
from mailonce.notifiers.alert import LONGEST_SUBJECT, LONGEST_TEXT, About, Alert, about_error, alert_of_failure
from mailonce.workflow.alerts import channels_of_settings, tell

INSTANCE = SimpleNamespace(task_id="report", log_url="http://localhost:8080/log")
RUN = SimpleNamespace(dag_id="monthly_usage_email", run_id="manual__1")


class Channel(BaseNotifier):
    """Keeps what its template became."""

    template_fields = ("text",)
    told: list[str]

    def __init__(self, text: str = "{{ alert.about.value }}|{{ alert.subject }}|{{ alert.text }}") -> None:
        super().__init__()
        self.text = text
        self.told = []

    def notify(self, context: Any) -> None:
        self.told.append(self.text)


class Broken(Channel):
    def notify(self, context: Any) -> None:
        raise OSError("the line is dead")


def failure(error: Any) -> dict[str, Any]:
    return {"exception": error, "ti": INSTANCE, "dag_run": RUN}


@pytest.mark.parametrize(
    ("error", "about"),
    [
        (errors.RecipientsUnresolved("2 of 5"), About.FAILED),
        (errors.RecipientsUnresolved("2 of 5", held=1), About.HELD),
        (errors.InDoubt("lost", recipient_id="C-1"), About.HELD),
        (errors.DailyQuotaExceeded("used up"), About.QUOTA),
        (errors.BatchIncomplete([errors.Rejected("no"), errors.InDoubt("lost")], total=3), About.HELD),
        (errors.BatchIncomplete([errors.Rejected("no"), errors.AwaitingQuota("up")], total=3), About.QUOTA),
        (errors.BatchIncomplete([errors.Rejected("no")], total=3), About.FAILED),
        (errors.DuplicateMeasured("two"), About.DUPLICATE),
        (errors.EventsSetAside("three"), About.SET_ASIDE),
        (errors.RequestsUnmet("paused"), About.NOT_STARTED),
        (ValueError("odd"), About.FAILED),
        (None, About.FAILED),
    ],
)
def test_what_an_error_is_about(error: Any, about: About) -> None:
    assert about_error(error) is about


def test_an_alert_says_who_what_next_and_where() -> None:
    alert = alert_of_failure(failure(errors.InDoubt("no answer came", recipient_id="C-1", key="abc")))
    assert alert.subject == "mailonce: mails are held in doubt (monthly_usage_email manual__1 report)"
    assert alert.text.startswith("C-1: no answer came [key abc] Held: it is not sent again by itself")
    assert alert.text.endswith("monthly_usage_email manual__1 report\n\nhttp://localhost:8080/log")


@pytest.mark.parametrize(
    ("context", "said"),
    [
        (failure(ValueError("odd")), "ValueError: odd. Safe next"),
        ({"exception": "Task was killed externally"}, "The run failed: Task was killed externally. Safe next"),
        ({"reason": "timed_out", "dag_run": RUN}, "timed_out: see the log. Safe next"),
        ({}, "It failed: see the log. Safe next"),
    ],
)
def test_whatever_failed_something_is_said(context: Any, said: str) -> None:
    assert alert_of_failure(context).text.startswith(said)


def test_a_subject_is_what_sns_takes() -> None:
    alert = Alert(about=About.FAILED, what="x" * 9999, where="ünï ☂\r\nBcc: all" + "y" * 200)
    assert len(alert.subject) == LONGEST_SUBJECT
    assert alert.subject.isascii()
    assert alert.subject.isprintable()
    assert len(alert.text) < LONGEST_TEXT + 300


def test_every_channel_gets_every_alert(caplog: pytest.LogCaptureFixture) -> None:
    one, other = Channel(), Channel("{{ alert.link }}")
    notifier = DeliveryAlert([one, Broken(), other])
    for number in (1, 2):
        notifier(failure(errors.DuplicateMeasured(f"number {number}")))
    assert [text.split("\n")[0] for text in one.told] == [
        f"duplicate|mailonce: somebody got two mails (monthly_usage_email manual__1 report)|number {number}"
        for number in (1, 2)
    ]
    assert other.told == ["http://localhost:8080/log"] * 2
    assert caplog.text.count("could not be told through Broken") == 2
    assert [record.levelno for record in caplog.records if "two mails" in record.getMessage()] == [logging.ERROR] * 2


def test_what_an_error_says_is_no_template() -> None:
    channel = Channel()
    tell(Alert(about=About.FAILED, what="{{ 6 * 7 }} {% raw"), {}, channels=[channel])
    assert "{{ 6 * 7 }} {% raw" in channel.told[0]


CHANNEL = Channel("{{ alert.subject }}")


def our_channels() -> list[BaseNotifier]:
    return [CHANNEL]


def test_settings_name_the_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert channels_of_settings() == []
    monkeypatch.setenv("AIRFLOW__MAILONCE__ALERT_CHANNELS", f"{__name__}.our_channels")
    monkeypatch.setenv("AIRFLOW__MAILONCE__ALERT_TOPIC", "arn:aws:sns:eu-central-1:000000000000:alerts")
    sns, ours = channels_of_settings()
    assert type(sns).__name__ == "SnsNotifier"
    assert ours is CHANNEL


@pytest.mark.parametrize("channels", ["nosuch_module.channels", "tests.notifiers.nosuch", "nodots"])
def test_channels_that_are_not_there_break_nothing(
    channels: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__MAILONCE__ALERT_CHANNELS", channels)
    DeliveryAlert()(failure(errors.DuplicateMeasured("two")))
    assert "the channels of the settings could not be had" in caplog.text
    assert "somebody got two mails" in caplog.text
