"""A fresh Airflow that has only the wheel: Dags by `mailonce new`, then a month, on the real scheduler.

`make compat` runs the same with the oldest Airflow that is supported.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from sandbox.airflow_api import AirflowApi
from sandbox.sample_usage import months_before
from sandbox.ses import Behaviour
from sandbox.stack import MONTHLY, RECONCILE, ROOT, Sandbox
from tests.release.conftest import OTHER_AIRFLOW, run

pytestmark = [pytest.mark.airflow]

FINE = ["CUST-0001", "CUST-0002", "CUST-0003"]
REFUSED = "CUST-0004"
PERIOD = f"{months_before(date.today(), 1)[0]:%Y-%m}"  # noqa: DTZ011 - as the sandbox counts


@pytest.fixture(scope="module")
def sandbox(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    project = tmp_path_factory.mktemp("project")
    (project / "plugins").mkdir()
    written = run(
        python, "-m", "mailonce.terminal", "new", "--dags", project / "dags", "--json", AIRFLOW_HOME=str(project)
    )
    assert written.returncode == 0, written.stderr
    assert {Path(file).parent.name for file in json.loads(written.stdout)["files"]} >= {"dags", "sql", "monthly_usage"}
    # Without its schedule, as whoever unpauses it mails the whole month before.
    dag = project / "dags" / f"{MONTHLY}.py"
    text, count = re.subn(r"schedule=CronTriggerTimetable\(.*\)", "schedule=None", dag.read_text())
    assert count == 1
    dag.write_text(text)
    home = tmp_path_factory.mktemp("sandbox")
    nothing = {"PYTHONPATH": ""}
    with Sandbox(home, dags=project / "dags", plugins=project / "plugins", python=python, settings=nothing) as running:
        yield running


def _wait(api: AirflowApi, run_id: str) -> None:
    """Wait for the run's end; not for a task that failed and is tried again, which nothing here should be."""
    while api.run(MONTHLY, run_id)["state"] not in ("success", "failed"):
        for task in api.task_instances(MONTHLY, run_id):
            if task.state == "up_for_retry":
                pytest.fail(api.logs(MONTHLY, run_id, task.task_id, map_index=task.map_index)[-3000:])
        time.sleep(0.5)


@pytest.fixture(scope="module")
def month(sandbox: Sandbox) -> tuple[AirflowApi, str]:
    """A run of last month for four customers, one of whom SES refuses for good."""
    api = sandbox.airflow.api()
    with psycopg.connect(sandbox.postgres.dsn("usage")) as usage:
        row = usage.execute("SELECT email FROM customers WHERE customer_id = %s", [REFUSED]).fetchone()
    assert row
    sandbox.ses.behave(row[0], [Behaviour.REJECT] * 50)
    for dag in (MONTHLY, RECONCILE):
        api.wait_for_dag(dag)
    api.unpause(MONTHLY)
    run_id = api.trigger(MONTHLY, {"period": PERIOD, "recipients": [*FINE, REFUSED]})
    _wait(api, run_id)
    return api, run_id


def test_the_package_is_not_read_from_the_checkout(python: Path) -> None:
    answer = run(python, "-c", "import mailonce; print(mailonce.__file__)")
    assert "site-packages" in answer.stdout
    assert str(ROOT / "plugins") not in answer.stdout


def test_everybody_who_can_be_mailed_is_mailed_once(sandbox: Sandbox, month: tuple[AirflowApi, str]) -> None:
    mails = [mail.tags["mailonce_recipient"] for mail in sandbox.ses.mails]
    assert sorted(mails) == FINE


def test_what_trying_again_would_not_help_fails_at_once(month: tuple[AirflowApi, str]) -> None:
    api, run_id = month
    tasks = [task for task in api.task_instances(MONTHLY, run_id) if task.task_id == "deliver"]
    assert sorted((task.rendered_map_index, task.state, task.try_number) for task in tasks) == [
        *((recipient, "success", 1) for recipient in FINE), (REFUSED, "failed", 1),
    ]  # fmt: skip
    ends = {
        task.task_id: (task.state, task.try_number)
        for task in api.task_instances(MONTHLY, run_id)
        if task.map_index < 0
    }
    assert ends == {"preflight": ("success", 1), "snapshot": ("success", 1), "report": ("failed", 1)}


def test_triggered_again_the_month_mails_nobody_twice(sandbox: Sandbox, month: tuple[AirflowApi, str]) -> None:
    api, _ = month
    again = api.trigger(MONTHLY, {"period": PERIOD, "recipients": FINE})
    assert api.wait_for_run(MONTHLY, again) == "success"
    assert len(sandbox.ses.mails) == len(FINE)


def test_the_page_answers(sandbox: Sandbox, month: tuple[AirflowApi, str]) -> None:
    api, _ = month
    token: str = api._client.headers["Authorization"]
    address = f"{sandbox.airflow.url}/mailonce/months/monthly_usage/{PERIOD}"
    page = httpx.get(address, headers={"Authorization": token}, trust_env=False, timeout=60)
    assert page.status_code == 200
    assert REFUSED in page.text
    assert httpx.get(f"{sandbox.airflow.url}/mailonce/static/page.css", trust_env=False).status_code == 200


def test_airflow_lists_the_plugin(sandbox: Sandbox, month: tuple[AirflowApi, str]) -> None:
    listed: list[dict[str, Any]] = json.loads(sandbox.airflow.command("plugins", "--output", "json").splitlines()[-1])
    (ours,) = [plugin for plugin in listed if plugin["name"] == "mailonce"]
    assert "mailonce==" in str(ours["source"])  # of a distribution, not of a folder


def test_the_terminal_tool_answers_and_the_doctor_names_what_this_airflow_lacks(
    sandbox: Sandbox, month: tuple[AirflowApi, str], python: Path
) -> None:
    environment = sandbox.airflow.environment()
    status = run(python, "-m", "mailonce.terminal", "status", PERIOD, "--json", **environment)
    assert json.loads(status.stdout)["counts"] == {"SENT": 3, "REJECTED": 1}
    doctor = json.loads(run(python, "-m", "mailonce.terminal", "doctor", "--json", **environment).stdout)
    (finding,) = [one for one in doctor if one["check"] == "Airflow's version"]
    assert (finding["severity"] == "warning") == bool(OTHER_AIRFLOW)
    assert ("retry policies: 3.3" in finding["found"]) == bool(OTHER_AIRFLOW)
