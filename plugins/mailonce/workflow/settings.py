"""The settings: section ``[mailonce]`` of Airflow's configuration, ``AIRFLOW__MAILONCE__<NAME>`` in the environment."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from email.utils import parseaddr
from os import PathLike
from pathlib import Path
from typing import Any

from mailonce.delivery import Timing
from mailonce.doubt import DoubtRules, InDoubtPolicy
from mailonce.errors import InvalidInput
from mailonce.messages.addresses import recipient_address
from mailonce.messages.message import refuse_control_characters
from mailonce.period import time_zone
from mailonce.workflow.retention import days_of, retention_of

SECTION = "mailonce"
PROVIDERS = ("ses", "brevo", "smtp")
LONGEST_PATIENCE = 4500
"""Seconds: the row of :class:`mailonce.errors.AwaitingProof` in the table of retries covers this, whatever chance does to it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What may be configured; some can be overridden by an operator's argument of the same name.

    :param ledger_conn_id: connection of type ``postgres`` or ``aws``: which also chooses the kind of ledger.
    :param ledger_table: the ledger's table.
    :param usage_conn_id: connection that the usage query runs through; any type with a DB-API hook.
    :param provider: who carries the mail: ``ses``, ``brevo`` or ``smtp``. An operator says it by its name; this is for what
        has no operator at hand, such as the doctor.
    :param aws_conn_id: connection that mails are sent through, if by SES.
    :param brevo_conn_id: the same for Brevo. :param smtp_conn_id: the same for a relay.
    :param region_name: AWS region of SES; empty: the connection's.
    :param sender: the From address, with or without a display name. :param reply_to: addresses, comma-separated.
    :param configuration_set: SES configuration set, whose events prove what no answer proved.
    :param events_queue_url: SQS queue in which those events arrive; empty: nobody waits for any.
    :param trigger_queue_url: SQS queue whose messages start a month; empty: none is read.
    :param one_run_at_a_time: whether two runs of a campaign and month keep out of each other's way; PostgreSQL only.
    :param events_patience: seconds after a claim for which a mail in doubt waits for the provider's event.
    :param in_doubt: ``hold`` or ``resend``.
    :param account_suppressions: whether the SES account's own suppression list is asked too, before a month is planned.
    :param timezone: IANA time zone whose midnights bound a month.
    :param snapshot_uri: folder of the snapshots: a path, ``file://…``, ``s3://…``; empty: under ``AIRFLOW_HOME``.
    :param template_root: folder with one folder of templates a campaign; empty: ``include/templates`` beside the
        Dags folder.
    :param journal_dir: folder on each worker's own disk for :mod:`mailonce.journal`; empty: under ``AIRFLOW_HOME``;
        ``none``: no journal.
    :param message_url: link shown for a sent mail, with ``{message_id}`` in it; empty: none.
    :param concurrency: how many recipients of a batch are served at once.
    :param max_send_rate: mails a second of all workers together; empty: what the SES account itself says.
    :param spread_over_days: whether a run that meets the daily quota goes on by itself when the quota is free again.
    :param claim_window: seconds from a claim until its owner refuses to sign a request.
    :param settle_after: seconds from then until nothing of the claim can be accepted any more.
    :param record_patience: seconds to keep trying to write a receipt while the ledger is away.
    :param retention_days: days that a finished delivery is remembered, 0: for ever; of all campaigns, or of each: see
        :mod:`mailonce.workflow.retention`.
    :param erasure_conn_id: connection whose password is the key with which erased addresses are hashed; empty: none.
    :param tolerated_failures: so many recipients may be unresolved without the report failing the run.
    :param alert_topic: ARN of the SNS topic that alerts go to; empty: none.
    :param alert_channels: dotted path of a function that returns the Airflow notifiers that alerts go to; empty: none.
    :param most_complaints: share of a month's accepted mails called spam, above which there is an alert.
    :param most_bounces: share of a month's accepted mails that bounced, above which there is an alert.
    """

    ledger_conn_id: str = "mailonce_ledger"
    ledger_table: str = "mailonce_ledger"
    usage_conn_id: str = "mailonce_usage"
    provider: str = "ses"
    aws_conn_id: str = "aws_default"
    brevo_conn_id: str = "brevo_default"
    smtp_conn_id: str = "smtp_default"
    region_name: str = ""
    sender: str = ""
    reply_to: str = ""
    configuration_set: str = ""
    events_queue_url: str = ""
    trigger_queue_url: str = ""
    one_run_at_a_time: bool = False
    events_patience: int = 3600
    in_doubt: str = "hold"
    account_suppressions: bool = False
    timezone: str = "UTC"
    snapshot_uri: str = ""
    template_root: str = ""
    journal_dir: str = ""
    message_url: str = ""
    concurrency: int = 8
    max_send_rate: float | None = None
    spread_over_days: bool = False
    claim_window: int = 60
    settle_after: int = 1200
    record_patience: int = 180
    retention_days: str = "0"
    erasure_conn_id: str = ""
    tolerated_failures: int = 0
    alert_topic: str = ""
    alert_channels: str = ""
    most_complaints: float = 0.001
    most_bounces: float = 0.05

    def __post_init__(self) -> None:
        time_zone(self.timezone)
        if self.provider not in PROVIDERS:
            raise _wrong("provider", f"{self.provider!r} is no provider", f"Choose one of: {', '.join(PROVIDERS)}")
        if self.in_doubt not in {policy.value for policy in InDoubtPolicy}:
            raise _wrong("in_doubt", f"{self.in_doubt!r} is neither hold nor resend", "Choose hold (default) or resend")
        try:
            days_of(self.retention_days)
        except ValueError as error:
            raise _wrong("retention_days", str(error), "Write 400, or monthly_usage=400, welcome=30") from error
        if self.max_send_rate is not None and not 0 < self.max_send_rate < math.inf:
            raise _wrong("max_send_rate", f"{self.max_send_rate} is no rate", "Use a number above 0, or leave it empty")
        for name in ("most_complaints", "most_bounces"):
            if not 0 <= getattr(self, name) <= 1:
                raise _wrong(name, f"{getattr(self, name)} is no share", "Use a number from 0 to 1, such as 0.001")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise _wrong(name, f"{getattr(self, name)} is less than {least}", f"Use {least} or more")
        if self.events_patience > LONGEST_PATIENCE:
            raise _wrong(
                "events_patience",
                f"{self.events_patience} is more than {LONGEST_PATIENCE}, after which a task's retries are used up",
                f"Use {LONGEST_PATIENCE} or less; an event that comes later still settles the mail",
            )

    @property
    def account(self) -> str:
        """The name under which the ledger paces mails: whoever sends through one connection (and region) shares a rate."""
        if self.provider == "ses":
            return f"{self.aws_conn_id} {self.region_name}".rstrip()
        return f"{self.provider} {getattr(self, f'{self.provider}_conn_id')}"

    @property
    def timing(self) -> Timing:
        """How long each stage of a claim lasts; the retention is that of campaigns without one of their own."""
        return Timing(
            window=timedelta(seconds=self.claim_window),
            settle=timedelta(seconds=self.settle_after),
            record_patience=timedelta(seconds=self.record_patience),
            retention=self.retention(""),
        )

    def timing_of(self, campaign: str) -> Timing:
        """Return how long each stage of a claim lasts, for one campaign's mails."""
        return replace(self.timing, retention=self.retention(campaign))

    def retention(self, campaign: str) -> timedelta | None:
        """Return how long a campaign's finished deliveries are remembered; None: for ever."""
        return retention_of(self.retention_days, campaign)

    @property
    def doubt(self) -> DoubtRules:
        """What becomes of a mail in doubt."""
        # Only SES's events are read: nobody need wait for those of others.
        told = self.events_queue_url and self.provider == "ses"
        patience = timedelta(seconds=self.events_patience) if told else None
        return DoubtRules(policy=InDoubtPolicy(self.in_doubt), patience=patience)

    @property
    def journal_folder(self) -> Path | None:
        """Where this machine's processes keep the journals of this ledger; None: nowhere."""
        return None if self.journal_dir == "none" else Path(self.journal_dir) / self.ledger_id

    @property
    def ledger_id(self) -> str:
        """What tells the files about this ledger from those about another."""
        return hashlib.sha256(f"{self.ledger_conn_id}\n{self.ledger_table}".encode()).hexdigest()[:20]

    @property
    def reply_addresses(self) -> tuple[str, ...]:
        """The addresses that answers go to.

        :raises mailonce.errors.InvalidInput: one of them is none.
        """
        return tuple(_address("reply_to", text.strip()) for text in self.reply_to.split(",") if text.strip())

    def required_sender(self) -> str:
        """Return the sender.

        :raises mailonce.errors.InvalidInput: it is not set, or holds no address.
        """
        if not self.sender.strip():
            raise _wrong("sender", "it is not set", "Set AIRFLOW__MAILONCE__SENDER to an address verified in SES")
        return _address("sender", self.sender.strip())

    @classmethod
    def load(cls, overrides: Mapping[str, Any] | None = None) -> Settings:
        """Read the settings; to be called when a task runs, never while a Dag file is parsed.

        :param overrides: values that win; those that are None or empty do not count.
        :raises mailonce.errors.InvalidInput: a value is not what it should be.
        """
        from mailonce.compatibility import conf

        own: dict[str, Any] = {}
        for setting in fields(cls):
            text = conf.get(SECTION, setting.name, fallback=None)
            if text is not None and text.strip():
                own[setting.name] = _READERS[str(setting.type)](setting.name, text.strip())
        settings = cls(**own)
        kinds = {setting.name: str(setting.type) for setting in fields(cls)}
        given = {name: value for name, value in (overrides or {}).items() if value not in (None, "")}
        settings = replace(settings, **{name: _override(name, value, kinds[name]) for name, value in given.items()})
        home = Path(conf.get("core", "dags_folder"))
        return replace(
            settings,
            template_root=settings.template_root or str(home.parent / "include" / "templates"),
            snapshot_uri=settings.snapshot_uri or f"file://{_airflow_home()}/mailonce/snapshots",
            journal_dir=settings.journal_dir or f"{_airflow_home()}/mailonce/journal",
        )


def _airflow_home() -> str:
    from airflow.configuration import AIRFLOW_HOME

    return str(AIRFLOW_HOME)


def _whole_number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise _wrong(name, f"{text!r} is not a whole number", "Write digits only") from error


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise _wrong(name, f"{text!r} is not a number", "Write it as 14 or 0.5") from error


def _yes_or_no(name: str, text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError as error:
        raise _wrong(name, f"{text!r} is neither true nor false", "Write true or false") from error


def _override(name: str, value: Any, kind: str) -> Any:
    if isinstance(value, (str, PathLike)):
        return _READERS[kind](name, str(value))
    if type(value).__name__ not in kind.split(" | "):
        raise _wrong(name, f"{value!r} is not of type {kind}", "Give the operator a value of this type")
    return value


def _address(name: str, text: str) -> str:
    """Return the text if it holds one address. A wrong one would have every mail refused, for good."""
    try:
        refuse_control_characters(name, text)
        address = parseaddr(text)[1]
        recipient_address(address if text.endswith((address, f"<{address}>")) else text)
    except InvalidInput as error:
        raise _wrong(
            name, f"{text!r} holds no usable address: {error.reason}", "Write it as Name <a@example.com>"
        ) from error
    return text


def _wrong(name: str, reason: str, remedy: str) -> InvalidInput:
    return InvalidInput(field=f"setting [{SECTION}] {name}", reason=reason, remedy=remedy)


_READERS: Mapping[str, Callable[[str, str], Any]] = {
    "int": _whole_number,
    "float | None": _number,
    "float": _number,
    "bool": _yes_or_no,
    "str": lambda _name, text: text,
}
_LEAST = {
    "concurrency": 1,
    "claim_window": 5,
    "settle_after": 0,
    "events_patience": 0,
    "record_patience": 0,
    "tolerated_failures": 0,
}
