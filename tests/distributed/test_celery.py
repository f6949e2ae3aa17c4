"""The monthly Dag on Celery workers with a broker, while a whole worker and the scheduler are killed.

What is checked in the end is the stand-in's own log of the mails it accepted.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import psycopg
import pytest

from sandbox.airflow_api import AirflowApi
from sandbox.demo import KEY_TAG
from sandbox.soak import end_the_schedules_own_run, many_customers, states
from sandbox.stack import MONTHLY, RECONCILE, Sandbox

pytestmark = pytest.mark.distributed

CUSTOMERS = 200
SINGLES = 40
"""So many of them are also in a second run at the same time, where each has a task of its own."""

SETTINGS = {
    # Whoever is killed is to be missed in seconds, not in minutes; docs/executors.md says what for each of them is.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "30",
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("distributed"), settings=SETTINGS, celery_workers=3) as running:
        # So long that a worker that is killed has mails on the wire.
        running.ses.settings.latency = 1.0
        with psycopg.connect(running.postgres.dsn("usage")) as connection:
            many_customers(connection, CUSTOMERS)
        yield running


def test_a_killed_worker_and_a_killed_scheduler_cost_nobody_a_mail_and_nobody_gets_two(sandbox: Sandbox) -> None:
    with sandbox.airflow.api() as api:
        batches, singles = start_both_runs(api)

        wait("mails on the wire of a worker", lambda: len(sandbox.ses.mails) > 20 and workers_on_the_wire(sandbox))
        killed = workers_on_the_wire(sandbox).most_common(1)[0][0]
        sandbox.workers.kill(killed)
        assert sandbox.workers.process(killed).members() == []

        left = CUSTOMERS - len(sandbox.ses.mails)
        wait("more mails by the others", lambda: CUSTOMERS - len(sandbox.ses.mails) < left / 2)
        sandbox.airflow.kill("scheduler")
        sandbox.airflow.restart("scheduler")
        sandbox.workers.restart(killed)

        ended = {run: api.wait_for_run(MONTHLY, run, timeout=300) for run in (batches, singles)}
        tries = Counter(task.try_number for task in api.task_instances(MONTHLY, batches) if task.task_id == "deliver")

    mails = Counter(mail.tags[KEY_TAG] for mail in sandbox.ses.mails)
    assert len(mails) == CUSTOMERS, "somebody got none"
    assert set(mails.values()) == {1}, "somebody got two"
    assert states(sandbox) == {"SENT": CUSTOMERS}
    assert message_ids(sandbox) == {mail.tags[KEY_TAG]: mail.message_id for mail in sandbox.ses.mails}
    assert set(ended.values()) == {"success"}, "without anybody's help"
    # That it was what it claims to be: tasks were lost with their worker, and all workers had work.
    assert max(tries) > 1
    assert all("Workload finished" in sandbox.workers.process(name).log.read_text() for name in sandbox.workers.names)


def test_broker_and_workers_listen_on_loopback_only(sandbox: Sandbox) -> None:
    addresses = set()
    for child in psutil.Process().children(recursive=True):
        # Airflow's task supervisors hide their descriptors from everybody but root; they do not listen.
        with contextlib.suppress(psutil.AccessDenied, psutil.NoSuchProcess):
            connections = child.net_connections(kind="tcp")
            addresses |= {each.laddr for each in connections if each.status == psutil.CONN_LISTEN}
    assert ("127.0.0.1", sandbox.broker.port) in addresses
    assert {address.ip for address in addresses} == {"127.0.0.1"}


def start_both_runs(api: AirflowApi) -> tuple[str, str]:
    """Start a run of everybody in batches and one of some of them, a task each; both compete for those."""
    for dag in (MONTHLY, RECONCILE):
        api.wait_for_dag(dag)
    for dag in (RECONCILE, MONTHLY):
        api.unpause(dag)
    end_the_schedules_own_run(api)
    some = [f"C-{number:06}" for number in range(1, SINGLES + 1)]
    singles = api.trigger(MONTHLY, {"recipients": some, "recipients_per_task": 1}, run_id="singles")
    return api.trigger(MONTHLY, {"recipients_per_task": 10}, run_id="batches"), singles


def workers_on_the_wire(sandbox: Sandbox) -> Counter[str]:
    """Return which workers' processes hold a claim of the ledger, and how many."""
    with psycopg.connect(sandbox.postgres.dsn("ledger")) as connection:
        rows = connection.execute("SELECT claimed_by FROM mailonce_ledger WHERE state = 'SENDING'").fetchall()
    processes = {int(match.group(1)) for (by,) in rows if (match := re.search(r"process (\d+)$", by))}
    members = {name: {each.pid for each in sandbox.workers.process(name).members()} for name in sandbox.workers.names}
    return Counter(name for name, pids in members.items() for pid in pids & processes)


def message_ids(sandbox: Sandbox) -> dict[str, str]:
    """Return the ledger's message id for each key."""
    with psycopg.connect(sandbox.postgres.dsn("ledger")) as connection:
        return dict(connection.execute("SELECT key, message_id FROM mailonce_ledger").fetchall())


def wait(what: str, done: Callable[[], object], timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, f"{what}: not within {timeout:g} s"
        time.sleep(0.1)
