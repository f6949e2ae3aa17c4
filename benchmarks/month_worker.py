"""Runs one task of the monthly Dag in a process of its own, as Airflow would call it, and tells what it took.

``python -m benchmarks.month_worker ORDER``, the order and the answer being JSON. Connections come from the environment.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CAMPAIGN, PERIOD = "benchmark", "2030-01"
STATEMENT = """
SELECT 'C-' || lpad(n::text, 7, '0') AS recipient_id, 'customer' || n || '@example.com' AS email, 'Customer ' || n AS name,
       n % 1000 AS units
FROM generate_series(1, {recipients}) AS n WHERE :period_start < :period_end
"""
SUBJECT, TEXT = "Your month, {{ name }}", "You used {{ units }} units.\n"


def prepare(folder: Path, recipients: int) -> tuple[Path, Path]:
    """Write a usage query that yields so many recipients, and templates. :return: its file, and the templates' folder."""
    statement = folder / f"usage-{recipients}.sql"
    statement.write_text(STATEMENT.format(recipients=recipients))
    templates = folder / "templates" / CAMPAIGN
    templates.mkdir(parents=True, exist_ok=True)
    (templates / "subject.txt.j2").write_text(SUBJECT)
    (templates / "body.txt.j2").write_text(TEXT)
    return statement, templates.parent


def snapshot(order: dict[str, Any]) -> dict[str, Any]:
    """Plan the month."""
    from mailonce.workflow.planning import plan_month

    statement, templates = prepare(Path(order["folder"]), order["recipients"])
    kept: dict[str, Any] = {}
    context: Any = {
        "params": {
            "edition": _edition(order),
            "recipients": [],
            "dry_run": False,
            "recipients_per_task": order.get("recipients_per_task"),
        },
        "ti": SimpleNamespace(xcom_push=lambda key, value: kept.update({key: value})),
    }
    facts = {"period": PERIOD, "left_today": None, "daily_quota": None}
    chunks = plan_month(context, facts, campaign=CAMPAIGN, statement=statement, template_root=templates)
    return {"snapshot": kept["snapshot"], "chunks": len(chunks)}


def deliver(order: dict[str, Any]) -> dict[str, Any]:
    """Deliver one chunk."""
    from mailonce import IdempotentSesOperator

    operator = IdempotentSesOperator(
        task_id="deliver",
        campaign=CAMPAIGN,
        period=PERIOD,
        edition=_edition(order),
        snapshot=order["snapshot"],
        chunk=order["chunk"],
        template_root=str(Path(order["folder"]) / "templates"),
    )
    instance = SimpleNamespace(
        dag_id="benchmark", run_id="1", task_id="deliver", map_index=order["chunk"], try_number=1
    )
    return {"outcome": operator.execute({"ti": instance})}  # type: ignore[typeddict-item]


def _edition(order: dict[str, Any]) -> str:
    return str(order.get("edition", "original"))


def main(order: dict[str, Any]) -> dict[str, Any]:
    """Do what is ordered. :return: its answer, ``seconds``, and ``peak_megabytes`` of the whole process."""
    work = {"snapshot": snapshot, "deliver": deliver}[order["task"]]
    # As Airflow's workers do, before they fork a process for a task: its folder is on the path that they are given.
    import_module("airflow_local_settings")

    began = time.perf_counter()
    answer = work(order)
    seconds = time.perf_counter() - began
    return {**answer, "seconds": seconds, "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    print(json.dumps(main(json.loads(sys.argv[1]))))
