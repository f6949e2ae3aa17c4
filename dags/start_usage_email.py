"""Starts the month when somebody says that its usage is complete: an asset event, or a message in an SQS queue.

Safe to say twice, by both ways, late, or while a run goes on: the same month is the same run, and no mail goes out twice.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Asset, get_current_context, task

from mailonce import DeliveryRetryPolicy
from mailonce.compatibility import AssetOrTimeSchedule, CronTriggerTimetable
from mailonce.notifiers import DeliveryAlert

USAGE_COMPLETE = Asset("mailonce_usage_complete")

with DAG(
    dag_id="start_usage_email",
    # By the asset at once; every minute for the queue. Without a queue `schedule=[USAGE_COMPLETE]` is enough.
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("* * * * *", timezone="UTC"), assets=[USAGE_COMPLETE]),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    # Two at once would be safe; one after the other is easier to read.
    max_active_runs=1,
    default_args={"owner": "billing", "on_failure_callback": DeliveryAlert(), **DeliveryRetryPolicy().task_arguments},
    tags=["mailonce", "email"],
    doc_md=__doc__,
) as dag:

    @task(multiple_outputs=False, execution_timeout=timedelta(minutes=10))
    def start() -> dict[str, int]:
        """Start a run for each request, then delete its message; return the counts."""
        from mailonce.workflow.starting.start import start_months

        return start_months(get_current_context())

    start()
