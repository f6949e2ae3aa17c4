"""Run a Dag of this repository in this process, as often as asked, and print how each run ended: see test_reconcile_dag.py.

One line of input is one run: a JSON object of environment variables for it. Among the log, one line of output each: ANSWER
and a JSON object of states.
"""

from __future__ import annotations

import json
import os
import sys

ANSWER = "how the run ended: "


def main(file: str, dag_id: str) -> None:
    # The test imports this file too, and needs no Airflow for that.
    from airflow.dag_processing.dagbag import DagBag

    for line in sys.stdin:
        os.environ.update(json.loads(line))
        run = DagBag(file).dags[dag_id].test()
        states = {task.task_id: str(task.state) for task in run.get_task_instances()}
        sys.stdout.write(ANSWER + json.dumps({"run": str(run.state), **states}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
