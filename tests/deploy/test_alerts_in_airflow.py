"""Metrics and alerts of real tasks in a real Airflow: to a StatsD server, and through SNS to a queue."""

from __future__ import annotations

import json
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mailonce.workflow.connections import open_ledger
from mailonce.workflow.settings import Settings
from sandbox.airflow_stack import AirflowStack
from sandbox.aws import LocalAws
from sandbox.postgres import EmbeddedPostgres
from sandbox.ses import SesStandIn
from tests.deploy.statsd import StatsdExporter
from tests.deploy.test_monitoring_files import MAPPING

pytestmark = pytest.mark.airflow

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
DAGS = """
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference, task

from mailonce import IdempotentSesOperator
from mailonce.notifiers import DeliveryAlert, deadline_missed

with DAG("mails", schedule=None):
    IdempotentSesOperator(
        task_id="mail", campaign="usage", period="2026-10", subject="Usage", text="{{ units }} units",
        recipients=[{"recipient_id": "C-1", "email": "ann@example.com", "units": 3},
                    {"recipient_id": "C-2", "email": "nobody", "units": 4}],
        retries=0, on_failure_callback=DeliveryAlert(),
    )

with DAG("late", schedule=None, deadline=DeadlineAlert(
    DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds=1), AsyncCallback(deadline_missed)
)):
    @task
    def wait():
        import time

        flag = Path(__file__).with_name("told")
        for _ in range(1200):
            if flag.exists():
                return
            time.sleep(0.1)
        raise TimeoutError

    wait()
"""


@pytest.fixture(scope="module")
def exporter() -> Iterator[StatsdExporter]:
    with StatsdExporter(MAPPING) as started:
        yield started


@pytest.fixture(scope="module")
def alerts(local_aws: LocalAws) -> tuple[str, Any]:
    """A topic, and what waits for its next message."""
    sns, sqs = local_aws.client("sns"), local_aws.client("sqs")
    topic = sns.create_topic(Name="alerts-in-airflow")["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts-in-airflow")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def next_one() -> dict[str, Any]:
        for _ in range(12):
            answer = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)
            for message in answer.get("Messages", []):
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                return json.loads(message["Body"])
        raise AssertionError("no alert came")

    return topic, next_one


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, local_aws: LocalAws, exporter: StatsdExporter, alerts: tuple[str, Any]
) -> Iterator[AirflowStack]:
    folder = tmp_path_factory.mktemp("airflow")
    (folder / "dags").mkdir()
    (folder / "dags" / "watched.py").write_text(textwrap.dedent(DAGS))
    with EmbeddedPostgres(folder / "postgres") as postgres, SesStandIn() as ses:
        postgres.create_database("ledger")

        def aws(url: str) -> str:
            extra = {"region_name": "eu-central-1", "endpoint_url": url}
            return json.dumps({"conn_type": "aws", "login": "local", "password": "local", "extra": extra})

        environment = {
            **exporter.airflow,
            # The tests' mails go to one server and their alerts to another, so alerts have a channel of their own.
            "AIRFLOW_CONN_AWS_DEFAULT": aws(ses.url),
            "AIRFLOW_CONN_AWS_ALERTS": aws(local_aws.url),
            "AIRFLOW_CONN_MAILONCE_LEDGER": json.dumps(postgres.connection("ledger")),
            "AIRFLOW__MAILONCE__SENDER": "billing@example.com",
            "AIRFLOW__MAILONCE__ALERT_CHANNELS": "our_alerts.channels",
            "PYTHONPATH": f"{PLUGINS}:{folder}",
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW_CONN_MAILONCE_LEDGER", environment["AIRFLOW_CONN_MAILONCE_LEDGER"])
            with closing(open_ledger(Settings.load())) as ledger:
                ledger.prepare()
        (folder / "our_alerts.py").write_text(
            "def channels():\n"
            "    from airflow.providers.amazon.aws.notifications.sns import SnsNotifier\n"
            f"    return [SnsNotifier(aws_conn_id='aws_alerts', target_arn={alerts[0]!r},\n"
            "                        subject='{{ alert.subject }}', message='{{ alert.text }}')]\n"
        )
        (folder / "no_plugins").mkdir()
        with AirflowStack(
            folder / "home", postgres, folder / "dags", folder / "no_plugins", environment, paused_at_creation=False
        ) as started:
            yield started


def test_a_failed_task_is_told_and_counted(stack: AirflowStack, exporter: StatsdExporter, alerts: Any) -> None:
    with stack.api() as api:
        api.wait_for_dag("mails")
        run = api.trigger("mails")
        message = alerts[1]()
        assert message["Subject"] == f"mailonce: not everybody has their mail (mails {run} mail)"[:99]
        assert message["Message"].startswith("1 of 2 recipients are unresolved, the others are done")
        assert "C-2" in message["Message"]
        assert f"{stack.url}/dags/mails/runs/" in message["Message"]
    for _ in range(100):
        with urllib.request.urlopen(exporter.url) as answer:
            page = answer.read().decode()
        if "mailonce_alerts_total" in page:
            break
        time.sleep(0.1)
    for line in ('mailonce_mails_total{result="sent"} 1.0', 'mailonce_mails_total{result="invalid"} 1.0',
                 'mailonce_alerts_total{about="failed"} 1.0', "mailonce_send_seconds_count 1.0"):  # fmt: skip
        assert line in page


def test_a_missed_deadline_is_told(stack: AirflowStack, alerts: Any) -> None:
    with stack.api() as api:
        api.wait_for_dag("late")
        run = api.trigger("late")
        message = alerts[1]()
        (stack._dags / "told").touch()
        assert message["Subject"] == f"mailonce: the month is not out in time (late {run})"[:99]
        assert message["Message"].endswith(f"{stack.url}/dags/late/runs/{run}")
