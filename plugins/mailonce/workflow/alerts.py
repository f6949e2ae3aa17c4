"""Alerts go out: into the log, the metric, and through the notifiers that the settings name."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier, Context

    from mailonce.notifiers.alert import Alert
    from mailonce.workflow.settings import Settings

log = logging.getLogger(__name__)


def tell(
    alert: Alert, context: Context | Mapping[str, Any] | None = None, *, channels: Sequence[BaseNotifier] | None = None
) -> None:
    """Tell an alert. Never raises: what goes wrong is in the log, and the other channels still get it.

    :param context: Airflow's, for the channels' templates. :param channels: None: those of the settings.
    """
    from mailonce.metrics.catalogue import ALERTS
    from mailonce.workflow.metrics import AirflowMetrics

    log.error("%s\n%s", alert.subject, alert.text)
    AirflowMetrics().count(ALERTS, part=alert.about.value)
    try:
        chosen = channels_of_settings() if channels is None else channels
    except Exception:
        log.exception("the channels of the settings could not be had: this alert is in the log only")
        return
    for channel in chosen:
        try:
            # A notifier renders its templates in place, once: the next alert needs them as they were.
            copy.copy(channel)({**(context or {}), "alert": alert})
        except Exception:
            log.exception("the alert could not be told through %s", type(channel).__name__)


def channels_of_settings() -> list[BaseNotifier]:
    """Return the notifiers that the settings name.

    :raises mailonce.errors.InvalidInput: a setting is wrong. :raises ImportError: ``alert_channels`` is not there.
    """
    from mailonce.workflow.settings import Settings

    settings = Settings.load()
    channels: list[BaseNotifier] = []
    if settings.alert_topic:
        channels.append(sns_channel(settings))
    if settings.alert_channels:
        from importlib import import_module

        module, _, name = settings.alert_channels.rpartition(".")
        channels.extend(getattr(import_module(module), name)())
    return channels


def sns_channel(settings: Settings) -> BaseNotifier:
    """Return the notifier for the topic of the settings, through the connection and region that mails are sent from."""
    from airflow.providers.amazon.aws.notifications.sns import SnsNotifier

    return SnsNotifier(
        aws_conn_id=settings.aws_conn_id,
        region_name=settings.region_name or None,
        target_arn=settings.alert_topic,
        subject="{{ alert.subject }}",
        message="{{ alert.text }}",
        message_attributes={"about": "{{ alert.about.value }}"},
    )


def tell_deadline(context: Mapping[str, Any]) -> None:
    """Tell that a run is not done in time. :param context: see :func:`mailonce.notifiers.deadline_missed`."""
    from mailonce.compatibility import conf
    from mailonce.notifiers.alert import About, Alert, where

    run = context.get("dag_run") or {}
    due = (context.get("deadline") or {}).get("deadline_time", "its deadline")
    what = (
        f"The run is not done, and {due} has passed. Nothing was stopped: it goes on. Look at what it does (the log of a "
        "batch says how far it is; mailonce status counts the month). Clearing failed tasks is safe: only the missing "
        "mails go out."
    )
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    link = f"{base}/dags/{run['dag_id']}/runs/{run['dag_run_id']}" if base and run.get("dag_run_id") else ""
    names = {"dag_id": run.get("dag_id"), "run_id": run.get("dag_run_id") or run.get("run_id")}
    tell(Alert(about=About.DEADLINE, what=what, where=where({"dag_run": names}), link=link), context)
