"""An alert: what a person must hear of, and what to do. Made from what went wrong; knows no channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mailonce.errors import (
    BatchIncomplete,
    DailyQuotaExceeded,
    DuplicateMeasured,
    EventsSetAside,
    InDoubt,
    MailonceError,
    RecipientsUnresolved,
    RequestsUnmet,
)

LONGEST_TEXT = 4000
"""Characters: names are in the report, and no channel likes a book. An SMS, the least of SNS's protocols, is cut by SNS."""

LONGEST_SUBJECT = 99
"""Characters: SNS takes a subject of less than 100, of printable ASCII in one line (SNS API Reference, "Publish")."""


class About(str, Enum):
    """What an alert is about, as the metric ``mailonce.alerts`` counts it."""

    FAILED = "failed"
    HELD = "held"
    DUPLICATE = "duplicate"
    QUOTA = "quota"
    COMPLAINTS = "complaints"
    BOUNCES = "bounces"
    DEADLINE = "deadline"
    SET_ASIDE = "set_aside"
    NOT_STARTED = "not_started"


_HEADLINES = {
    About.FAILED: "not everybody has their mail",
    About.HELD: "mails are held in doubt",
    About.DUPLICATE: "somebody got two mails",
    About.QUOTA: "the daily quota is too small",
    About.COMPLAINTS: "too many complaints",
    About.BOUNCES: "too many bounces",
    About.DEADLINE: "the month is not out in time",
    About.SET_ASIDE: "events were set aside",
    About.NOT_STARTED: "a month was asked for, and not started",
}
_UNKNOWN_NEXT = "Safe next: mend the cause and clear the failed tasks: only the missing mails go out."


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What people are told. Names recipients by id: never an address.

    :param where: Dag and run. :param link: where to look; empty: nowhere in particular.
    """

    about: About
    what: str
    where: str = ""
    link: str = ""

    @property
    def subject(self) -> str:
        """One line: what every channel can show, SNS included."""
        said = f"mailonce: {_HEADLINES[self.about]}" + (f" ({self.where})" if self.where else "")
        plain = "".join(letter if " " <= letter <= "~" else "?" for letter in said)
        return plain[:LONGEST_SUBJECT]

    @property
    def text(self) -> str:
        """All of it, as plain text."""
        what = self.what if len(self.what) <= LONGEST_TEXT else self.what[: LONGEST_TEXT - 1] + "…"
        return "\n\n".join(filter(None, (what, self.where, self.link)))


def alert_of_failure(context: Mapping[str, Any]) -> Alert:
    """Return what a failed task has to tell.

    :param context: Airflow's, of the callback of a task or of a Dag.
    """
    error = context.get("exception")
    if isinstance(cause := getattr(error, "__cause__", None), MailonceError) and not isinstance(error, MailonceError):
        error = cause  # where Airflow asks no retry policy, its own "failed for good" stands round it
    instance = context.get("ti")
    if isinstance(error, MailonceError):
        what = str(error)
    elif error is not None and str(error):
        what = f"{type(error).__name__ if isinstance(error, BaseException) else 'The run failed'}: {error}. {_UNKNOWN_NEXT}"
    else:
        what = f"{context.get('reason') or 'It failed'}: see the log. {_UNKNOWN_NEXT}"
    task = f" {instance.task_id}" if instance is not None else ""
    return Alert(
        about=about_error(error), what=what, where=where(context) + task, link=getattr(instance, "log_url", None) or ""
    )


def about_error(error: Any) -> About:
    """Return what a failure is about."""
    errors = error.errors if isinstance(error, BatchIncomplete) else (error,)
    if isinstance(error, DuplicateMeasured):
        return About.DUPLICATE
    if isinstance(error, EventsSetAside):
        return About.SET_ASIDE
    if isinstance(error, RequestsUnmet):
        return About.NOT_STARTED
    if any(isinstance(each, DailyQuotaExceeded) for each in errors):
        return About.QUOTA
    if any(isinstance(each, InDoubt) for each in errors) or (isinstance(error, RecipientsUnresolved) and error.held):
        return About.HELD
    return About.FAILED


def where(context: Mapping[str, Any]) -> str:
    """Return Dag and run, as far as Airflow's context tells."""
    run = context.get("dag_run")
    names = run if isinstance(run, Mapping) else {name: getattr(run, name, None) for name in ("dag_id", "run_id")}
    return " ".join(str(names[name]) for name in ("dag_id", "run_id") if names.get(name))
