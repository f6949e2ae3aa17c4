"""Rows 3 and 4: what a recipient costs under a real Airflow, in a batch and in a task of its own.

Of every run's processor time that of a run with one recipient (or one empty task) is taken off, so that what is left is
what each further recipient costs, whatever a run costs by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import psycopg

from benchmarks.measuring import ROOT, Comparison, Effort, median, processor_seconds, side_by_side
from sandbox.airflow_api import AirflowApi
from sandbox.airflow_stack import Component
from sandbox.sample_usage import months_before
from sandbox.soak import end_the_schedules_own_run, many_customers
from sandbox.stack import MONTHLY, Sandbox

ROWS = (3, 4)
EMPTY = "empty_mapped"
EMPTY_DAG = f"""
import pendulum
from airflow.sdk import DAG, Param, task

with DAG(
    dag_id="{EMPTY}",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    params={{"tasks": Param(1, type="integer")}},
):

    @task
    def numbers(params: dict) -> list[int]:
        return list(range(params["tasks"]))

    @task
    def nothing(number: int) -> None:
        pass

    nothing.expand(number=numbers())
"""
HOW = (
    "real scheduler, dag-processor, api-server and triggerer, LocalExecutor; processor time of all their processes, less "
    "that of a run of one, divided by the number of the others; PostgreSQL and the provider are not counted"
)


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    processor_seconds: float
    seconds: float


class Bench:
    """Runs Dags and measures them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._airflow = sandbox.airflow
        self._api: AirflowApi = sandbox.airflow.api()
        self._editions = count()
        for dag in (MONTHLY, EMPTY):
            self._api.wait_for_dag(dag)
            self._api.unpause(dag)
        end_the_schedules_own_run(self._api)
        self._month = f"{months_before(date.today(), 1)[0]:%Y-%m}"  # noqa: DTZ011 - the one that has sample usage

    def month(self, recipients: list[str], recipients_per_task: int) -> Cost:
        """Mail some recipients (none named: everybody) a new edition of the month."""
        parameters = {"recipients": recipients, "recipients_per_task": recipients_per_task}
        return self._run(MONTHLY, {**parameters, "period": self._month, "edition": f"bench-{next(self._editions)}"})

    def empty(self, tasks: int) -> Cost:
        """Run so many empty mapped tasks."""
        return self._run(EMPTY, {"tasks": tasks})

    def _run(self, dag: str, parameters: Mapping[str, object]) -> Cost:
        pids = [self._airflow.process(component).pid for component in get_args(Component)]
        began, spent = time.monotonic(), processor_seconds(*pids)
        state = self._api.wait_for_run(dag, self._api.trigger(dag, parameters), 900)
        if state != "success":
            raise RuntimeError(f"{dag} with {dict(parameters)} ended as {state}")
        return Cost(processor_seconds(*pids) - spent, time.monotonic() - began)


def compare(effort: Effort) -> Iterator[Comparison]:
    """Yield both lines."""
    customers, tasks, rounds = effort.of(5000, 20), effort.of(100, 4), effort.of(3, 1)
    with ExitStack() as exits:
        folder = Path(exits.enter_context(TemporaryDirectory(prefix="mailonce-bench-")))
        bench = exits.enter_context(_started(folder, customers))
        some = [f"C-{number:06}" for number in range(1, tasks + 1)]
        ways: dict[str, Callable[[], Cost]] = {
            "one": partial(bench.month, some[:1], 1),
            "one task each": partial(bench.month, some, 1),
            "batch": partial(bench.month, [], customers),
            "one empty": partial(bench.empty, 1),
            "empty tasks": partial(bench.empty, tasks),
        }
        for way in ways.values():
            way()  # once, so that everything is imported, compiled and made
        costs = side_by_side(ways, rounds)
    processor = {way: [cost.processor_seconds for cost in some_costs] for way, some_costs in costs.items()}
    base, base_empty = median(processor["one"]), median(processor["one empty"])
    batch = [(each - base) / (customers - 1) * 1000 for each in processor["batch"]]
    task_each = [(each - base) / (tasks - 1) * 1000 for each in processor["one task each"]]
    empty = [(each - base_empty) / (tasks - 1) * 1000 for each in processor["empty tasks"]]
    waits = {way: median([cost.seconds for cost in some_costs]) for way, some_costs in costs.items()}
    yield Comparison(
        row=3,
        what=f"processor time a recipient, {customers} recipients in one batch task, whole Dag run",
        against=f"one mapped task a recipient, {tasks} of them",
        unit="ms",
        ours=median(batch),
        peers=median(task_each),
        goal=1 / 50,
        at_most=True,
        how=HOW,
        remark=f"Query, snapshot and report are in it. The batch's run took {waits['batch']:.0f} s",
        runs={"batch": batch, "one task each": task_each},
    )
    yield Comparison(
        row=4,
        what=f"processor time of one task a recipient ({tasks} tasks)",
        against="an empty mapped task",
        unit="ms",
        ours=median(task_each),
        peers=median(empty),
        goal=1.2,
        at_most=True,
        how=HOW,
        remark=f"{tasks} tasks took {waits['one task each'] - waits['one']:.1f} s against "
        f"{waits['empty tasks'] - waits['one empty']:.1f} s, less a run of one. Of the difference about 50 ms are the delivery "
        "(PostgreSQL connection, AWS client, templates, two writes, one request); the rest is Airflow's own, for seven requests "
        "more to its API: two XComs read, result and links stored, the map's label, one more heartbeat",
        runs={"one task each": task_each, "empty": empty},
    )


@contextmanager
def _started(folder: Path, customers: int) -> Iterator[Bench]:
    """Start everything, with so many customers and the two Dags."""
    dags = folder / "dags"
    dags.mkdir()
    (dags / f"{MONTHLY}.py").symlink_to(ROOT / "dags" / f"{MONTHLY}.py")
    (dags / f"{EMPTY}.py").write_text(EMPTY_DAG)
    settings = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__MAILONCE__MAX_SEND_RATE": "100000",
        "AIRFLOW__MAILONCE__EVENTS_QUEUE_URL": "",
        "AIRFLOW__MAILONCE__CONFIGURATION_SET": "",
    }
    with Sandbox(folder / "sandbox", settings=settings) as sandbox:
        with psycopg.connect(sandbox.postgres.dsn("usage")) as connection:
            many_customers(connection, customers)
        yield Bench(sandbox)
