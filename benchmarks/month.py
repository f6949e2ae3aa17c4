"""Rows 5 and 6: the memory of a month's tasks, and how long it takes to run a finished month again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measuring import Comparison, Effort, in_own_process, median
from benchmarks.provider_server import LeanProvider
from sandbox.aws import ACCESS_KEY, REGION, SECRET_KEY
from sandbox.postgres import EmbeddedPostgres

MEMORY, AGAIN = 5, 6
THREADS = 16
LATENCY = 0.02


class Month:
    """One process for each task, with its own Airflow home, PostgreSQL for ledger and usage, and a lean provider."""

    def __init__(self, exits: ExitStack) -> None:
        self.folder = Path(exits.enter_context(TemporaryDirectory(prefix="mailonce-bench-")))
        self._postgres = exits.enter_context(EmbeddedPostgres(self.folder / "postgres"))
        self.provider = exits.enter_context(LeanProvider(LATENCY))
        for name in ("ledger", "usage"):
            self._postgres.create_database(name)

    def task(self, name: str, **order: Any) -> dict[str, Any]:
        """Run one task in a process of its own. :return: see :func:`benchmarks.month_worker.main`."""
        whole = {"task": name, "folder": str(self.folder), **order}
        answer: dict[str, Any] = in_own_process("benchmarks.month_worker", whole, self._environment())
        return answer

    def _environment(self) -> Mapping[str, str]:
        aws = {"region_name": REGION, "endpoint_url": self.provider.url}
        return {
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__MAILONCE__SENDER": "Billing <billing@example.com>",
            "AIRFLOW__MAILONCE__SNAPSHOT_URI": f"file://{self.folder / 'snapshots'}",
            "AIRFLOW__MAILONCE__CONCURRENCY": str(THREADS),
            "AIRFLOW_CONN_MAILONCE_LEDGER": json.dumps(self._postgres.connection("ledger")),
            "AIRFLOW_CONN_MAILONCE_USAGE": json.dumps(self._postgres.connection("usage")),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
                {"conn_type": "aws", "login": ACCESS_KEY, "password": SECRET_KEY, "extra": aws}
            ),
        }


def compare_memory(effort: Effort) -> Iterator[Comparison]:
    """Yield one line for the snapshot task and one for a batch task."""
    few, many = effort.of(10_000, 20), effort.of(1_000_000, 60)
    peaks: dict[str, list[float]] = {"snapshot": [], "deliver": []}
    with ExitStack() as exits:
        month = Month(exits)
        for recipients in (few, many):
            planned = month.task("snapshot", recipients=recipients)
            sent = month.task("deliver", snapshot=planned["snapshot"], chunk=planned["chunks"] - 1)
            peaks["snapshot"].append(planned["peak_megabytes"])
            peaks["deliver"].append(sent["peak_megabytes"])
    for task, (small, large) in peaks.items():
        minutes = f"Planned in {planned['seconds'] / 60:.1f} minutes, {planned['chunks']} mapped tasks"
        yield Comparison(
            row=MEMORY,
            what=f"peak memory of the task {task}, {many:,} recipients",
            against=f"the same task, {few:,} recipients",
            unit="MB",
            ours=large,
            peers=small,
            goal=1.1,
            at_most=True,
            how="peak resident memory of a process that runs the task alone, Airflow included; the query streams from PostgreSQL; "
            "one run each",
            remark=minutes if task == "snapshot" else "Its chunk is as large as recipients_per_task makes it by itself",
        )


def compare_again(effort: Effort) -> Iterator[Comparison]:
    """Yield the line."""
    recipients, rounds = effort.of(5000, 30), effort.of(3, 1)
    first: list[float] = []
    again: list[float] = []
    asked = 0
    with ExitStack() as exits:
        month = Month(exits)
        for number in range(rounds):
            # Another edition is another mail for everybody.
            edition = {"edition": f"edition-{number}"}
            planned = month.task("snapshot", recipients=recipients, recipients_per_task=recipients, **edition)
            for times in (first, again):
                before = month.provider.count()
                times.append(month.task("deliver", snapshot=planned["snapshot"], chunk=0, **edition)["seconds"])
                asked = month.provider.count() - before
            if asked:
                raise RuntimeError(f"the second run asked the provider {asked} times")
    yield Comparison(
        row=AGAIN,
        what=f"running a finished month again: the deliver task of {recipients} recipients",
        against="the first run",
        unit="s",
        ours=median(again),
        peers=median(first),
        goal=1 / 20,
        at_most=True,
        how=f"one task, {THREADS} threads, provider latency {LATENCY * 1000:.0f} ms, no rate limit; the second run asked the "
        "provider nothing",
        runs={"first": first, "again": again},
    )
