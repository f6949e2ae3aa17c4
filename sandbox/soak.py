"""`make soak`: thousands of mails while task processes, their supervisors, the scheduler and PostgreSQL are killed.

The real Dags under the real scheduler; what is checked is the stand-in's own log of what it accepted. Whoever is
killed is started again, as an init system would do; failed tasks are cleared, as somebody on call would.
Exit code 0 only if nobody got two, nobody got none, and nobody is held in the end.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import psutil
import psycopg
from typing_extensions import Self

from sandbox.airflow_api import AirflowApi, AirflowApiError
from sandbox.airflow_stack import Component
from sandbox.demo import KEY_TAG, Claims
from sandbox.processes import ProcessFailedError, exit_on_sigterm
from sandbox.sample_usage import create_schema, months_before
from sandbox.stack import MONTHLY, RECONCILE, Sandbox

MAILS = int(os.environ.get("SOAK_MAILS", "5000"))
RECIPIENTS_PER_TASK = int(os.environ.get("SOAK_RECIPIENTS_PER_TASK", "25"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
LATENCY = 0.2
"""Seconds that the provider takes: so long that most kills find mails on the wire."""

SECONDS_BETWEEN_KILLS = (0.5, 4.0)
PATIENCE = 3600.0
# How Airflow's LocalExecutor calls its processes: the supervisor of a task, and its child that runs it.
SUPERVISOR = re.compile(r"airflow worker -- LocalExecutor: [0-9a-f-]{36}")
TASK = re.compile(r"airflow worker -- [0-9a-f-]{36}")
KEPT_ALIVE: tuple[Component, ...] = ("scheduler", "dag-processor", "api-server")

SETTINGS = {
    # Whoever is killed is to be missed in seconds, not in minutes.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "8",
    "AIRFLOW__MAILONCE__EVENTS_PATIENCE": "600",
}


class Chaos:
    """Kills something every few seconds, and starts again what does not start by itself."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._random = random.Random(SEED)  # noqa: S311
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos")
        self.killed: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._keep_alive()

    def _run(self) -> None:
        acts: list[tuple[Callable[[], str], int]] = [
            (self._kill_task, 8), (self._kill_supervisor, 2), (self._kill_scheduler, 1), (self._kill_postgres, 1),
        ]  # fmt: skip
        choices, weights = zip(*acts, strict=True)
        while not self._stopping.wait(self._random.uniform(*SECONDS_BETWEEN_KILLS)):
            self._keep_alive()
            with suppress(psutil.Error, ProcessFailedError):
                (act,) = self._random.choices(choices, weights)
                if victim := act():
                    self.killed[victim] += 1

    def _kill_one(self, title: re.Pattern[str], name: str) -> str:
        scheduler = psutil.Process(self._sandbox.airflow.process("scheduler").pid)
        found = []
        for process in scheduler.children(recursive=True):
            with suppress(psutil.Error):
                if title.fullmatch(" ".join(process.cmdline()).strip()):
                    found.append(process)
        # One that is alone is planning or reporting, and would never end if it were killed each time.
        if len(found) < 3 and self._random.random() > len(found) / 10:
            return ""
        self._random.choice(found).send_signal(signal.SIGKILL)
        return name

    def _kill_task(self) -> str:
        return self._kill_one(TASK, "task")

    def _kill_supervisor(self) -> str:
        return self._kill_one(SUPERVISOR, "supervisor")

    def _kill_scheduler(self) -> str:
        self._sandbox.airflow.kill("scheduler")
        return "scheduler"

    def _kill_postgres(self) -> str:
        self._sandbox.postgres.stop("immediate")
        time.sleep(self._random.uniform(0.5, 4))
        self._sandbox.postgres.start()
        return "postgres"

    def _keep_alive(self) -> None:
        for component in KEPT_ALIVE:
            try:
                self._sandbox.airflow.process(component).check()
            except ProcessFailedError:
                with suppress(ProcessFailedError):
                    self._sandbox.airflow.restart(component)


def main() -> int:
    """Run the soak. :return: the exit code."""
    exit_on_sigterm()
    started = time.monotonic()
    print(f"{MAILS} mails, {RECIPIENTS_PER_TASK} a task; seed {SEED} (SOAK_SEED repeats its choices) …", flush=True)
    with TemporaryDirectory(prefix="mailonce-soak-") as folder, Sandbox(Path(folder), settings=SETTINGS) as sandbox:
        sandbox.ses.settings.latency = LATENCY
        with psycopg.connect(sandbox.postgres.dsn("usage")) as connection:
            many_customers(connection, MAILS)
        api = sandbox.airflow.api()
        for dag in (MONTHLY, RECONCILE):
            api.wait_for_dag(dag)
        for dag in (RECONCILE, MONTHLY):
            api.unpause(dag)
        end_the_schedules_own_run(api)
        period = f"{months_before(date.today(), 1)[0]:%Y-%m}"  # noqa: DTZ011 - the reader's day
        run = api.trigger(MONTHLY, {"period": period, "recipients_per_task": RECIPIENTS_PER_TASK})
        with Chaos(sandbox) as chaos:
            wait(lambda: len(sandbox.ses.mails) >= MAILS * 0.97 or finished(api, run))
        print(f"  killed: {dict(chaos.killed)}; {len(sandbox.ses.mails)} mails accepted so far", flush=True)
        finish(sandbox, run, started)
        claims = Claims()
        check(claims, sandbox)
    print(f"\n{claims.failed or 'No'} claim{'s' * (claims.failed != 1)} failed; {time.monotonic() - started:.0f} s.")
    return 1 if claims.failed else 0


def end_the_schedules_own_run(api: AirflowApi) -> None:
    """End the run that unpausing starts: it is the same month, but not in batches of the size wanted here."""
    wait(lambda: bool(api.runs(MONTHLY)))
    for run in api.runs(MONTHLY):
        api.request("PATCH", f"/api/v2/dags/{MONTHLY}/dagRuns/{quote(run['dag_run_id'])}", body={"state": "failed"})


def finish(sandbox: Sandbox, run: str, started: float) -> None:
    """Let the run end, clearing what failed, until the ledger has everybody as sent."""
    api = sandbox.airflow.api()
    while states(sandbox).get("SENT", 0) < MAILS:
        if time.monotonic() - started > PATIENCE:
            print(f"  gave up waiting: {states(sandbox)}")
            return
        with suppress(AirflowApiError):
            if finished(api, run) and states(sandbox).get("SENT", 0) < MAILS:
                print(f"  the run has ended with {states(sandbox)}: clearing what failed …", flush=True)
                api.clear(MONTHLY, run, only_failed=True)
        time.sleep(2)


def finished(api: AirflowApi, run: str) -> bool:
    """Tell whether the run has ended; not if nobody answers."""
    with suppress(AirflowApiError):
        return api.run(MONTHLY, run)["state"] in ("success", "failed")
    return False


def check(claims: Claims, sandbox: Sandbox) -> None:
    """Compare the ledger with the stand-in's own log."""
    mails = Counter(mail.tags[KEY_TAG] for mail in sandbox.ses.mails)
    claims.check("customers who got their statement", found=len(mails), expected=MAILS)
    claims.check("customers who got two", found=sum(count > 1 for count in mails.values()), expected=0)
    claims.check("the ledger's states", found=dict(states(sandbox)), expected={"SENT": MAILS})
    with psycopg.connect(sandbox.postgres.dsn("ledger")) as connection:
        ids: dict[str, str] = dict(connection.execute("SELECT key, message_id FROM mailonce_ledger").fetchall())
    wrong = sum(ids.get(mail.tags[KEY_TAG]) != mail.message_id for mail in sandbox.ses.mails)
    claims.check("message ids in the ledger that are not the provider's", found=wrong, expected=0)


def states(sandbox: Sandbox) -> Counter[str]:
    """Return how many deliveries the ledger has in each state."""
    with psycopg.connect(sandbox.postgres.dsn("ledger")) as connection:
        with suppress(psycopg.errors.UndefinedTable):
            rows = connection.execute("SELECT state, count(*) FROM mailonce_ledger GROUP BY state").fetchall()
            return Counter(dict(rows))
        return Counter()


def many_customers(connection: psycopg.Connection, number: int) -> None:
    """Replace the sample customers by so many made-up ones, each with a little usage in last month."""
    create_schema(connection)
    month = months_before(date.today(), 1)[0]  # noqa: DTZ011
    connection.execute(
        "INSERT INTO customers (customer_id, name, email, plan, currency) "
        "SELECT 'C-' || lpad(n::text, greatest(6, length(n::text)), '0'), 'Customer ' || n, 'c' || n || '@example.com', 'Team', 'EUR' FROM generate_series(1, %s) AS n",
        [number],
    )
    connection.execute("INSERT INTO prices VALUES ('Team', 'EUR', 'compute_hours', 0.05, 2)")
    connection.execute(
        "INSERT INTO usage_daily SELECT customer_id, %s::timestamptz + interval '12 hours', 'compute_hours', 24 FROM customers",
        [month],
    )
    connection.commit()


def wait(done: Callable[[], bool]) -> None:
    """Wait until something is so, or patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not done() and time.monotonic() < deadline:
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
