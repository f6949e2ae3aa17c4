"""Turns the provider's events into facts in the ledger: accepted, delivered, bounced, complained of; and measures duplicates.

drain ─▶ alarm

Safe to trigger again, to clear, to run late: an event counts once, in whatever order it comes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG, task

from mailonce import DeliveryRetryPolicy
from mailonce.compatibility import CronTriggerTimetable  # Airflow's own, wherever this version has it
from mailonce.notifiers import DeliveryAlert

with DAG(
    dag_id="reconcile_usage_email",
    # Every minute, because a mail in doubt waits for its event: that is how long the answer takes. An empty run takes
    # about a second and two requests to SQS. Where one worker slot a minute is too much, write "*/5 * * * *" here;
    # a rarer schedule is as safe, only later. SQS keeps messages for 4 days unless the queue is told otherwise.
    schedule=CronTriggerTimetable("* * * * *", timezone="UTC"),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    # Two at once would be safe, but neither could tell that the queue is empty while the other holds messages.
    max_active_runs=1,
    default_args={"owner": "billing", "on_failure_callback": DeliveryAlert(), **DeliveryRetryPolicy().task_arguments},
    tags=["mailonce", "email"],
    doc_md=__doc__,
) as dag:

    @task(multiple_outputs=False, execution_timeout=timedelta(minutes=20))
    def drain() -> dict[str, Any]:
        """Write the events in the queue into the ledger, then delete them; return the counts."""
        from mailonce.workflow.events.reconciling import reconcile

        return reconcile()

    # Not all_done: a failed drain fails the run as it is, and one that found something before it failed ends well.
    @task
    def alarm(result: dict[str, Any]) -> None:
        """Fail, so that Airflow notifies, if somebody got two mails or messages had to be set aside."""
        from mailonce.workflow.events.reconciling import raise_alarm

        raise_alarm(result)

    alarm(drain())
