"""Run Dags of this repository in this process, and print how each run ended and which calls of AWS it made.

One line of input is one run: a JSON object of the Dag's ``file``, its ``dag`` id and
its ``conf``, and of what it ``may``: the statements of its policies. Among the log, one line of output each: ANSWER and
a JSON object.
"""

from __future__ import annotations

import json
import sys

from tests.deploy.api_calls import recorded, written

ANSWER = "what the run did: "


def main() -> None:
    # The test imports this file too, and needs no Airflow for that.
    from airflow.dag_processing.dagbag import DagBag

    for line in sys.stdin:
        order = json.loads(line)
        with recorded(order["may"]) as calls:
            run = DagBag(order["file"]).dags[order["dag"]].test(run_conf=order["conf"])
        tasks = sorted((task.task_id, task.map_index, str(task.state)) for task in run.get_task_instances())
        did = {"run": str(run.state), "tasks": tasks, "calls": written(calls)}
        sys.stdout.write(f"\n{ANSWER}{json.dumps(did)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
