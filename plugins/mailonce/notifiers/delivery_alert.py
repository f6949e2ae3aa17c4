"""What a Dag file names: an Airflow notifier that says what happened to mails through any others, and a deadline's callback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context


class DeliveryAlert(BaseNotifier):
    """For ``on_failure_callback``, of a task rather than a Dag: a task's has the error, and runs where the task ran.

    :param channels: notifiers that carry the alert. In their templated arguments ``alert`` is it: ``{{ alert.subject }}``,
        ``{{ alert.text }}``, ``{{ alert.about.value }}``, ``{{ alert.link }}``. None: those that the settings
        ``alert_topic`` and ``alert_channels`` name.
    """

    def __init__(self, channels: Sequence[BaseNotifier] | None = None) -> None:
        super().__init__()
        self.channels = channels

    def notify(self, context: Context) -> None:
        """Tell what failed. Whatever goes wrong with that is in the log, and nowhere else."""
        # Not at the top: Dag files are parsed every few seconds, and parsing needs none of it.
        from mailonce.notifiers.alert import alert_of_failure
        from mailonce.workflow.alerts import tell

        tell(alert_of_failure(context), context, channels=self.channels)


async def deadline_missed(context: Mapping[str, Any] | None = None) -> None:
    """Tell that a run is not done in time: the callback of a Dag's deadline, for the triggerer.

    Not for an executor (``SyncCallback``): of those only the local one and Celery's run callbacks, and the others stop
    the scheduler with an error instead (``BaseExecutor.queue_workload``, Airflow 3.3.2).

    :param context: what Airflow knows then: ``dag_run`` and ``deadline``, as plain values.
    """
    from asgiref.sync import sync_to_async

    from mailonce.workflow.alerts import tell_deadline

    # Channels that are not written for an event loop must not stop everybody else's triggers.
    await sync_to_async(tell_deadline)(context or {})
