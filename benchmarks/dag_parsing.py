"""Row 7: parsing the Dag files, against a Dag of one empty task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import ROOT, Comparison, Effort, in_own_process, median, side_by_side

ROW = 7
FORM = "About 7 ms of it are Airflow's own check of the form's five parameters, when profiled; the rest is four tasks for one"
EMPTY = """
from airflow.sdk import DAG, task
import pendulum

with DAG(dag_id="empty", schedule=None, start_date=pendulum.datetime(2025, 1, 1, tz="UTC")):

    @task
    def nothing() -> None:
        pass

    nothing()
"""


def compare(effort: Effort) -> Iterator[Comparison]:
    """Yield two lines for each Dag file of this repository: in a process of its own, and in a fork."""
    with TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY)
        files = [empty, *sorted((ROOT / "dags").glob("*.py"))]
        environment = {"AIRFLOW_HOME": folder, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        ways = {str(file): partial(seconds_of_process, file, environment) for file in files}
        alone = side_by_side(ways, effort.of(7, 1))
        order = {"files": [str(file) for file in files], "rounds": effort.of(40, 2)}
        forked = in_own_process("benchmarks.dag_parsing", order, environment)
    for how, seconds in (
        ("`python FILE` in a process of its own, as Airflow's documentation on best practices measures it", alone),
        (
            "in a fork of a process that has imported Airflow and nothing of this package, as the dag-processor does",
            forked,
        ),
    ):
        for file in files[1:]:
            yield Comparison(
                row=ROW,
                what=f"parsing dags/{file.name}{' in a fork' if seconds is forked else ''}",
                against="a Dag of one empty task",
                unit="ms",
                ours=median(seconds[str(file)]) * 1000,
                peers=median(seconds[str(empty)]) * 1000,
                goal=1.15,
                at_most=True,
                how=f"{how}; {len(seconds[str(file)])} each, in random order",
                remark=FORM if file.stem == "monthly_usage_email" and seconds is forked else "",
                runs={
                    name: [each * 1000 for each in seconds[str(path)]]
                    for name, path in (("empty", empty), ("ours", file))
                },
            )


def seconds_of_process(file: Path, environment: Mapping[str, str]) -> float:
    """Run a Dag file as a program. :return: seconds."""
    path = {"PYTHONPATH": str(ROOT / "plugins")}
    began = time.perf_counter()
    subprocess.run([sys.executable, str(file)], env={**os.environ, **environment, **path}, check=True)
    return time.perf_counter() - began


def parse(file: str) -> float:
    """Parse one Dag file in a fork of this process. :return: seconds."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        from airflow.dag_processing.dagbag import DagBag

        began = time.perf_counter()
        bag = DagBag(file)
        seconds = time.perf_counter() - began
        os.write(writing, json.dumps(seconds if bag.dags and not bag.import_errors else bag.import_errors).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        found = json.loads(answer.read())
    if not isinstance(found, float):
        raise TypeError(f"{file}: {found}")
    return found


def main(order: dict[str, object]) -> None:
    """Parse every file so many times, and print the seconds of each."""
    import airflow.dag_processing.dagbag
    import airflow.dag_processing.processor
    import airflow.sdk  # noqa: F401 - what the dag-processor has imported before it forks

    files = [str(file) for file in order["files"]]  # type: ignore[attr-defined]
    for file in files:
        parse(file)  # makes the byte code
    ways = {file: partial(parse, file) for file in files}
    print(json.dumps(side_by_side(ways, int(str(order["rounds"])))))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
