"""A Dag with one task that sends, and one that does not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG, task

from mailonce import DeliveryRetryPolicy, IdempotentSesOperator

START = pendulum.datetime(2026, 1, 1, tz="UTC")


def dag_of(*, mapped: bool = False, dag: Any = None, **arguments: Any) -> DAG:
    common = {"task_id": "deliver", "campaign": "usage", "period": "{{ ds }}", "subject": "s", "text": "t", **arguments}
    with DAG("mails", schedule=None, start_date=START, **(dag or {})) as made:
        if mapped:
            policy = {} if "retry_policy" in common else DeliveryRetryPolicy().task_arguments
            IdempotentSesOperator.partial(**{**policy, **common}).expand(chunk=[0, 1])
        else:
            IdempotentSesOperator(recipient={"recipient_id": "C-1"}, **common)

        @task(execution_timeout=timedelta(seconds=1), retries=0)
        def another() -> None:
            """Sends nothing, and may be as it likes."""

        another()
    return made
