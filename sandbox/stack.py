"""Everything at once: PostgreSQL with sample usage, the SES stand-in with a queue of its events, and Airflow.

Airflow runs its tasks itself (LocalExecutor), or has Celery workers and a broker for them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from types import TracebackType

import psycopg
from typing_extensions import Self

from sandbox.airflow_stack import AirflowStack, User
from sandbox.aws import ACCESS_KEY, REGION, SECRET_KEY, LocalAws
from sandbox.broker import EmbeddedBroker
from sandbox.celery_workers import CeleryWorkers, celery_settings
from sandbox.events_queue import create_events_queue
from sandbox.postgres import EmbeddedPostgres
from sandbox.sample_usage import create_sample_usage
from sandbox.ses import SesStandIn, SqsEvents

ROOT = Path(__file__).resolve().parent.parent
MONTHLY = "monthly_usage_email"
RECONCILE = "reconcile_usage_email"
START = "start_usage_email"


class Sandbox:
    """The whole product on one machine. Entered it runs and is healthy; left it has stopped.

    :param directory: keeps the databases, the mails and Airflow's home; used again, it goes on where it stopped.
    :param airflow_port: :param mailbox_port: 0 takes a free one.
    :param settings: environment variables that win over those made here.
    :param celery_workers: so many workers behind a broker run the tasks, each two at once; 0: the scheduler runs them.
    :param dags: folder of the Dag files, with ``include`` beside it. :param plugins: Airflow's folder of plugins.
    :param python: the interpreter whose Airflow runs, if it is not this one.
    :param users: who may sign in to Airflow; nobody named: it asks for no password, as it listens to this machine only.
    """

    def __init__(
        self,
        directory: Path,
        *,
        airflow_port: int | None = None,
        mailbox_port: int = 0,
        settings: Mapping[str, str] | None = None,
        celery_workers: int = 0,
        dags: Path = ROOT / "dags",
        plugins: Path = ROOT / "plugins",
        python: str | Path = sys.executable,
        users: Sequence[User] = (),
    ) -> None:
        self.directory = directory
        self._dags = dags
        self._plugins = plugins
        self._python = python
        self._users = users
        self._airflow_port = airflow_port
        self._mailbox_port = mailbox_port
        self._added_settings = dict(settings or {})
        self._exits = ExitStack()
        self.postgres = EmbeddedPostgres(directory / "postgres")
        self.aws = LocalAws()
        self.queue_url = ""
        self.trigger_queue_url = ""
        self.ses: SesStandIn
        self.airflow: AirflowStack
        self._number_of_workers = celery_workers
        self.broker = EmbeddedBroker(directory / "broker")
        self.workers: CeleryWorkers

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as exits:
            exits.enter_context(self.postgres)
            exits.enter_context(self.aws)
            self.queue_url = create_events_queue(self.aws.client("sqs"))
            self.trigger_queue_url = self._create_trigger_queue()
            self.ses = exits.enter_context(
                SesStandIn(
                    port=self._mailbox_port,
                    journal=self.directory / "ses-journal.jsonl",
                    configuration_sets=["statements"],
                    events=SqsEvents(self.queue_url, endpoint_url=self.aws.url, region_name=REGION),
                )
            )
            for name in ("ledger", "usage"):
                self.postgres.create_database(name)
            with psycopg.connect(self.postgres.dsn("usage")) as connection:
                create_sample_usage(connection, date.today(), psycopg.paramstyle)  # noqa: DTZ011 - the reader's day
            distributed = celery_settings(self.broker, self.postgres) if self._number_of_workers else {}
            self.airflow = AirflowStack(
                self.directory / "airflow",
                self.postgres,
                self._dags,
                self._plugins,
                distributed | self.environment(),
                self._airflow_port,
                users=self._users,
                python=self._python,
            )
            if distributed:
                exits.enter_context(self.broker)
            exits.enter_context(self.airflow)
            if distributed:
                self.workers = CeleryWorkers(self.airflow, self.broker, self._number_of_workers)
                exits.enter_context(self.workers)
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def _create_trigger_queue(self) -> str:
        """Make the queue whose messages start a month."""
        attributes = {"FifoQueue": "true"}
        created = self.aws.client("sqs").create_queue(QueueName="usage-complete.fifo", Attributes=attributes)
        return str(created["QueueUrl"])

    def environment(self) -> dict[str, str]:
        """Return the package's settings and connections, as environment variables."""
        return {
            "AIRFLOW_CONN_MAILONCE_LEDGER": json.dumps(self.postgres.connection("ledger")),
            "AIRFLOW_CONN_MAILONCE_USAGE": json.dumps(self.postgres.connection("usage")),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
                {
                    "conn_type": "aws",
                    "login": ACCESS_KEY,
                    "password": SECRET_KEY,
                    "extra": {
                        "region_name": REGION,
                        "endpoint_url": self.aws.url,
                        "service_config": {"sesv2": {"endpoint_url": self.ses.url}},
                    },
                }
            ),
            # Where airflow_local_settings.py stands.
            "PYTHONPATH": str(ROOT / "config"),
            "AIRFLOW__MAILONCE__SENDER": "Tidewater Cloud <statements@tidewater-cloud.example>",
            "AIRFLOW__MAILONCE__REPLY_TO": "billing@tidewater-cloud.example",
            "AIRFLOW__MAILONCE__CONFIGURATION_SET": "statements",
            "AIRFLOW__MAILONCE__EVENTS_QUEUE_URL": self.queue_url,
            "AIRFLOW__MAILONCE__TRIGGER_QUEUE_URL": self.trigger_queue_url,
            # Events come within a second here; an hour, as in production, would only keep everybody waiting.
            "AIRFLOW__MAILONCE__EVENTS_PATIENCE": "60",
            "AIRFLOW__MAILONCE__MESSAGE_URL": f"{self.ses.url}/mail/{{message_id}}",
            "AIRFLOW__MAILONCE__SNAPSHOT_URI": f"file://{self.directory / 'snapshots'}",
            **self._added_settings,
        }
