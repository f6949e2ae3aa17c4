"""What docs/scale.md tells of a million recipients, and of one task of 10,000, on the real Airflow scheduler.

``python -m benchmarks.million``: a million are planned, mapped, and mailed until a first task has ended; then 10,000 are
mailed by one task, and again by one that is killed half-way. Memory and processor time are those of the task's process.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import psutil
import psycopg

from benchmarks.measuring import machine
from mailonce.workflow.snapshot import Snapshot
from sandbox.demo import KEY_TAG
from sandbox.processes import exit_on_sigterm
from sandbox.sample_usage import months_before
from sandbox.soak import TASK, end_the_schedules_own_run, many_customers, wait
from sandbox.stack import MONTHLY, RECONCILE, Sandbox

SETTINGS = {"AIRFLOW__CORE__PARALLELISM": "2", "AIRFLOW__MAILONCE__CONCURRENCY": "16"}
SETTINGS["AIRFLOW__MAILONCE__MAX_SEND_RATE"] = "100000"
# Nobody waits for events, so none are published: the stand-in shares the machine with what is measured.
QUIET = {**SETTINGS, "AIRFLOW__MAILONCE__EVENTS_QUEUE_URL": "", "AIRFLOW__MAILONCE__CONFIGURATION_SET": ""}
SIZE = "SELECT pg_database_size(current_database())"
INSTANCES = (
    "SELECT id::text, state, extract(epoch FROM start_date)::float, extract(epoch FROM end_date)::float "
    "FROM task_instance WHERE run_id = %s AND task_id = %s AND coalesce(state, '') = coalesce(%s, state, '') AND map_index >= %s ORDER BY end_date"
)
XCOM = (
    "SELECT task_id, key, count(*), sum(pg_column_size(value))::int, sum(pg_column_size(xcom.*))::int FROM xcom "
    "WHERE run_id = %s GROUP BY 1, 2 ORDER BY 1, 2"
)


class Measurement:
    """A started sandbox with so many customers, whose task processes are looked at five times a second."""

    def __init__(self, sandbox: Sandbox, customers: int) -> None:
        self.ses, self.postgres, self.api = sandbox.ses, sandbox.postgres, sandbox.airflow.api()
        self.processes: dict[str, psutil.Process] = {}
        self.spent: dict[str, dict[str, float]] = {}
        self.ses.settings.latency = 0.02
        with psycopg.connect(self.postgres.dsn("usage")) as connection:
            many_customers(connection, customers)
            connection.execute("ANALYZE")
        for dag in (RECONCILE, MONTHLY):
            self.api.wait_for_dag(dag)
            self.api.unpause(dag)
        end_the_schedules_own_run(self.api)
        scheduler = psutil.Process(sandbox.airflow.process("scheduler").pid)
        threading.Thread(target=self._watch, args=[scheduler], daemon=True).start()

    def start(self, edition: str, recipients_per_task: int | None = None) -> str:
        """Start a run that mails everybody an edition of the one month that has usage. :return: its id."""
        month = f"{months_before(date.today(), 1)[0]:%Y-%m}"  # noqa: DTZ011
        chosen = {"period": month, "edition": edition, "recipients_per_task": recipients_per_task}
        return self.api.trigger(MONTHLY, chosen)

    def ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask Airflow's metadata database."""
        with psycopg.connect(self.postgres.dsn("airflow")) as connection:
            return connection.execute(question.encode(), values).fetchall()

    def instances(self, run: str, task: str, state: str | None = None) -> list[tuple[Any, ...]]:
        """Return id, state, start and end of a task's instances, in one state or in any."""
        return self.ask(INSTANCES, run, task, state, 0 if task == "deliver" else -1)

    def took(self, row: tuple[Any, ...]) -> dict[str, float]:
        """Return what an instance took."""
        return {"seconds": round(row[3] - row[2], 1), **self.spent.get(row[0], {})}

    def _watch(self, scheduler: psutil.Process) -> None:
        while scheduler.is_running():
            time.sleep(0.2)
            for process in scheduler.children(recursive=True):
                with suppress(psutil.Error, OSError, StopIteration):
                    title = " ".join(process.cmdline()).strip()
                    if TASK.fullmatch(title):
                        lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
                        peak = next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:"))
                        used = {"cpu_seconds": sum(process.cpu_times()[:2]), "peak_megabytes": peak}
                        self.processes[title[-36:]], self.spent[title[-36:]] = process, used


def plan(measured: Measurement) -> dict[str, Any]:
    """Plan and map everybody, and mail until a first task has ended."""
    before = measured.ask(SIZE)[0][0]
    run = measured.start("plan")
    wait(lambda: bool(measured.instances(run, "snapshot", "success")))
    (row,) = measured.instances(run, "snapshot")
    snapshot = Snapshot(measured.api.xcom(MONTHLY, run, "snapshot", "snapshot"))
    chunks = snapshot.manifest.chunks
    wait(lambda: len(measured.instances(run, "deliver")) == len(chunks))
    mapped = time.time() - row[3]
    wait(lambda: bool(measured.instances(run, "deliver", "success")))
    delivered = measured.instances(run, "deliver", "success")[0]  # before the end of the run, which changes all states
    began = min(each[2] for each in measured.instances(run, "deliver") if each[2])
    measured.api.request("PATCH", f"/api/v2/dags/{MONTHLY}/dagRuns/{quote(run)}", body={"state": "failed"})
    return {
        "snapshot": measured.took(row), "recipients": snapshot.manifest.recipients, "chunks": len(chunks),
        "files": {file.name: file.stat().st_size for file in Path(snapshot.uri.removeprefix("file://")).iterdir()},
        "rows_of_a_chunk": max(chunk.rows for chunk in chunks), "mapped_after": mapped, "first_task_after": began - row[3],
        "first_chunk": measured.took(delivered), "xcom": measured.ask(XCOM, run),
        "metadata_bytes": measured.ask(SIZE)[0][0] - before,
    }  # fmt: skip


def batch(measured: Measurement, mails: int, *, kill: bool) -> dict[str, Any]:
    """Mail so many by one task; if ``kill``, by one that is killed when half of them are out."""
    ses, known, asked = measured.ses, len(measured.ses.mails), len(measured.ses.requests)
    run = measured.start(f"kill-{kill}", mails)
    killed: dict[str, Any] = {}
    if kill:
        wait(lambda: len(ses.mails) - known >= mails // 2)
        ((instance, *_),) = measured.instances(run, "deliver")
        measured.processes[instance].send_signal(signal.SIGKILL)
        killed = measured.spent.pop(instance)
        wait(lambda: bool(measured.instances(run, "deliver", "up_for_retry")))
        killed["mails"] = len(ses.mails) - known
    state = measured.api.wait_for_run(MONTHLY, run, 1800)
    keys = Counter(mail.tags[KEY_TAG] for mail in ses.mails[known:])
    return {
        "state": state, "killed": killed, "task": measured.took(measured.instances(run, "deliver")[0]), "mails": keys.total(),
        "requests": len(ses.requests) - asked, "duplicates": keys.total() - len(keys), "lost": mails - len(keys),
        "outcome": measured.api.xcom(MONTHLY, run, "deliver", map_index=0), "xcom": measured.ask(XCOM, run),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print each part as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=999_999, help="to plan; their ids have six digits")
    parser.add_argument("--mails", type=int, default=10_000, help="of the one task")
    given = parser.parse_args(arguments)
    exit_on_sigterm()
    print(machine(), flush=True)
    with TemporaryDirectory(prefix="mailonce-million-") as folder:
        with Sandbox(Path(folder) / "plan", settings=QUIET) as sandbox:
            print(json.dumps({"plan": plan(Measurement(sandbox, given.recipients))}), flush=True)
        with Sandbox(Path(folder) / "batch", settings=SETTINGS) as sandbox:
            measured = Measurement(sandbox, given.mails)
            for kill in (False, True):
                print(json.dumps({f"kill={kill}": batch(measured, given.mails, kill=kill)}), flush=True)


if __name__ == "__main__":
    main()
