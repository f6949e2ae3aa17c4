"""The Dag ``reconcile_usage_email``: its shape, and real runs of it in a real Airflow database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from mailonce.workflow.events.draining import TIME_BUDGET
from sandbox.aws import LocalAws
from sandbox.postgres import EmbeddedPostgres
from tests.dags.run_dag import ANSWER
from tests.dags.test_dag_integrity import DAGS, dags_of
from tests.fakes import make_delivery
from tests.workflow.events.made_events import body

FILE = DAGS / "reconcile_usage_email.py"
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def dag() -> DAG:
    (found,) = dags_of(FILE)
    return found


def test_the_alarm_follows_the_drain(dag: DAG) -> None:
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {"drain": {"alarm"}, "alarm": set()}


def test_a_failed_drain_fails_the_run_and_a_skipped_one_does_not(dag: DAG) -> None:
    assert dag.get_task("alarm").trigger_rule == "all_success"


def test_it_runs_every_minute_and_never_beside_itself(dag: DAG) -> None:
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    assert (timetable.summary, dag.max_active_runs, dag.catchup) == ("* * * * *", 1, False)


def test_its_time_is_bounded_well_above_its_own_budget(dag: DAG) -> None:
    allowed = dag.get_task("drain").execution_timeout
    assert allowed is not None
    assert allowed >= TIME_BUDGET + timedelta(minutes=5)


@pytest.mark.postgres
def test_real_runs(postgres: EmbeddedPostgres, local_aws: LocalAws, tmp_path: Path) -> None:
    postgres.create_database("reconcile_dag")
    sqs: Any = local_aws.client("sqs")
    queue = sqs.create_queue(QueueName=f"events-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    ann = make_delivery("ann")
    for text in ("poison", body(ann, "Send", "m-1"), body(ann, "Delivery", "m-2")):
        sqs.send_message(QueueUrl=queue, MessageBody=text)
    connection = {"conn_type": "aws", "login": "local", "password": "local", "extra": {
        "region_name": "eu-central-1", "endpoint_url": local_aws.url}}  # fmt: skip
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__MAILONCE__LEDGER_TABLE": f"ledger_{uuid.uuid4().hex[:12]}",
        "AIRFLOW_CONN_MAILONCE_LEDGER": json.dumps(postgres.connection("reconcile_dag")),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "PYTHONPATH": str(DAGS.parent / "plugins"),
        "NO_PROXY": "127.0.0.1",
    }
    runs = [
        {},
        {"AIRFLOW__MAILONCE__EVENTS_QUEUE_URL": queue},
        {},
        {"AIRFLOW__MAILONCE__EVENTS_QUEUE_URL": f"{queue}-x"},
    ]
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, capture_output=True, check=True)
    answer = subprocess.run(
        [sys.executable, HERE / "run_dag.py", FILE, "reconcile_usage_email"],
        env=environment, input="\n".join(map(json.dumps, runs)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = answer.stdout + answer.stderr
    ends = [json.loads(line.removeprefix(ANSWER)) for line in said.splitlines() if line.startswith(ANSWER)]
    assert ends == [
        {"run": "success", "drain": "skipped", "alarm": "skipped"},  # no queue is set
        {"run": "failed", "drain": "success", "alarm": "failed"},
        {"run": "success", "drain": "success", "alarm": "success"},  # each find fails one run
        {"run": "failed", "drain": "failed", "alarm": "upstream_failed"},  # no such queue
    ], said[-5000:]
    assert "DuplicateMeasured: By the provider's own events, 1 recipients were sent more than one mail" in said
    assert "1 messages told nothing that the ledger can keep" in said
