"""The Dag ``start_usage_email``: its shape."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from mailonce.workflow.starting.start import TIME_BUDGET
from tests.dags.test_dag_integrity import DAGS, dags_of


@pytest.fixture(scope="module")
def dag() -> DAG:
    (found,) = dags_of(DAGS / "start_usage_email.py")
    return found


def test_it_runs_for_the_asset_and_every_minute_and_never_beside_itself(dag: DAG) -> None:
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    assert timetable.timetable.summary == "* * * * *"
    assert [asset.name for _, asset in timetable.asset_condition.iter_assets()] == ["mailonce_usage_complete"]
    assert (dag.max_active_runs, dag.catchup) == (1, False)


def test_its_time_is_bounded_well_above_its_own_budget(dag: DAG) -> None:
    allowed = dag.get_task("start").execution_timeout
    assert allowed is not None
    assert allowed >= TIME_BUDGET + timedelta(minutes=2)
