"""The real Airflow: mapped tasks, a cleared failure, readable logs, sign-in, crashes, no orphans."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator

import psutil
import pytest

from sandbox.airflow_api import AirflowApi, AirflowApiError
from sandbox.airflow_stack import AirflowStack, User
from sandbox.postgres import EmbeddedPostgres

pytestmark = pytest.mark.airflow

DAG = "try_the_stack"
DAG_FILE = """
from pathlib import Path

from airflow.sdk import Param, dag, task


@dag(schedule=None, params={"people": Param(3, type="integer", maximum=5)})
def try_the_stack():
    @task
    def count(params=None):
        return list(range(params["people"]))

    @task(map_index_template="{{ name }}")
    def greet(number):
        from airflow.sdk import get_current_context

        get_current_context()["name"] = f"person-{number}"
        print(f"hello, number {number}")
        return number * 10

    @task
    def fail_once(values):
        flag = Path(__file__).with_name("failed-once")
        if not flag.exists():
            flag.touch()
            raise ValueError("the first time it fails")
        return sum(values)

    fail_once(greet.expand(number=count()))


try_the_stack()
"""
USERS = [User("admin", "admin-password"), User("view", "view-password", role="viewer")]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    folder = tmp_path_factory.mktemp("airflow")
    (folder / "plugins").mkdir()
    (folder / "dags").mkdir()
    (folder / "dags" / "try_the_stack.py").write_text(textwrap.dedent(DAG_FILE))
    (folder / "dags" / "broken.py").write_text("from airflow.sdk import dag\nimport no_such_module\n")
    with (
        EmbeddedPostgres(folder / "postgres") as postgres,
        AirflowStack(
            folder / "home", postgres, folder / "dags", folder / "plugins", {"GREETING": "hello"}, users=USERS
        ) as started,
    ):
        yield started
        components = list(started._all_started)
        processes = [process for component in components for process in component.members()]
    assert len(processes) > len(components)
    # A dead process may stay listed until its new parent has collected it.
    _, left = psutil.wait_procs(processes, timeout=5)
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []
    assert [process for component in components for process in component.members()] == []


@pytest.fixture(scope="module")
def api(stack: AirflowStack) -> Iterator[AirflowApi]:
    with stack.api() as client:
        client.wait_for_dag(DAG)
        client.unpause(DAG)
        yield client


def test_a_run_with_a_failure_which_is_cleared(api: AirflowApi) -> None:
    run = api.trigger(DAG, {"people": 3})
    assert api.wait_for_run(DAG, run, timeout=60) == "failed"
    tasks = {(task.task_id, task.map_index): task for task in api.task_instances(DAG, run)}
    assert [tasks["greet", index].state for index in range(3)] == ["success"] * 3
    assert tasks["greet", 2].rendered_map_index == "person-2"
    assert (tasks["fail_once", -1].state, tasks["fail_once", -1].try_number) == ("failed", 1)
    assert "hello, number 2" in api.logs(DAG, run, "greet", map_index=2)
    assert "ValueError: the first time it fails" in api.logs(DAG, run, "fail_once")
    assert api.xcom(DAG, run, "greet", map_index=2) == 20

    assert api.clear(DAG, run, only_failed=True) == 1
    assert api.wait_for_run(DAG, run, timeout=60) == "success"
    assert api.xcom(DAG, run, "fail_once") == 30
    assert "ValueError" in api.logs(DAG, run, "fail_once", try_number=1)
    assert "ValueError" not in api.logs(DAG, run, "fail_once", try_number=2)

    assert api.clear(DAG, run, [("greet", 1)]) == 2
    assert api.wait_for_run(DAG, run, timeout=60) == "success"
    tries = {(t.task_id, t.map_index): t.try_number for t in api.task_instances(DAG, run)}
    assert tries == {
        ("count", -1): 1,
        ("fail_once", -1): 3,
        ("greet", 0): 1,
        ("greet", 1): 2,
        ("greet", 2): 1,
    }


def test_refusals_carry_the_servers_reason(api: AirflowApi, stack: AirflowStack) -> None:
    with pytest.raises(AirflowApiError, match="9 is greater than the maximum of 5") as refused:
        api.trigger(DAG, {"people": 9})
    assert refused.value.status == 400
    with pytest.raises(AirflowApiError, match="No module named 'no_such_module'"):
        api.wait_for_dag("absent", timeout=3)
    with pytest.raises(AirflowApiError) as wrong_password:
        AirflowApi(stack.url, "admin", "guess")
    assert wrong_password.value.status == 401
    with stack.api("view") as viewer, pytest.raises(AirflowApiError) as forbidden:
        viewer.trigger(DAG)
    assert forbidden.value.status == 403


def test_everything_listens_on_loopback_only(stack: AirflowStack) -> None:
    addresses = set()
    for child in psutil.Process().children(recursive=True):
        # Airflow's task supervisors hide their descriptors from everybody but root; they do not listen.
        with contextlib.suppress(psutil.AccessDenied, psutil.NoSuchProcess):
            connections = child.net_connections(kind="tcp")
            addresses |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    assert stack.process("api-server").alive
    assert addresses == {"127.0.0.1"}


def test_it_survives_crashes_of_the_scheduler_and_the_database(stack: AirflowStack, api: AirflowApi) -> None:
    stack.kill("scheduler")
    assert not stack.process("scheduler").alive
    stack._postgres.restart("immediate")
    stack.restart("scheduler")
    run = api.trigger(DAG, {"people": 1}, run_id="after-the-crash")
    assert run == "after-the-crash"
    assert api.wait_for_run(DAG, run, timeout=60) == "success"
