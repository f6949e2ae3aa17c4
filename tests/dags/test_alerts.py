"""Who is told what of the Dags: by their tasks' callbacks, and by the deadline."""

from __future__ import annotations

import inspect
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from airflow.sdk import AsyncCallback, DeadlineReference
from airflow.serialization.serialized_objects import DagSerialization

from mailonce.notifiers import DeliveryAlert
from tests.dags.test_dag_integrity import EVERY_DAG, EVERY_TASK

DAGS = {dag.dag_id: dag for dag in EVERY_DAG}


@pytest.mark.parametrize("task", EVERY_TASK, ids=lambda task: f"{task.dag_id}.{task.task_id}")
def test_a_task_tells_its_failure_once(task: Any) -> None:
    callbacks = task.partial_kwargs.get("on_failure_callback") if task.is_mapped else task.on_failure_callback
    told = [each for each in callbacks or [] if isinstance(each, DeliveryAlert)]
    # Of the mapped tasks the report tells: one alert, and not a thousand.
    assert len(told) == (0 if task.is_mapped else 1)


def test_the_month_has_a_deadline_that_the_triggerer_tells() -> None:
    (deadline,) = DAGS["monthly_usage_email"].deadline
    assert deadline.interval == timedelta(hours=12)
    assert deadline.reference == DeadlineReference.DAGRUN_LOGICAL_DATE
    assert isinstance(deadline.callback, AsyncCallback)
    module, _, name = deadline.callback.path.rpartition(".")
    assert inspect.iscoroutinefunction(getattr(import_module(module), name))
    assert DagSerialization.from_dict(DagSerialization.to_dict(DAGS["monthly_usage_email"])).deadline
