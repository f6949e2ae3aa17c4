"""The real Dags on what the template made, and each policy beside the calls of AWS that were really made: none too few or too many."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient

from mailonce import __version__, terminal
from mailonce.delivery import Entry
from mailonce.doctor.examination import examine
from mailonce.doctor.installation import Installation
from mailonce.events import Fate
from mailonce.findings import Severity
from mailonce.page import access
from mailonce.page.app import create_app
from mailonce.states import State
from mailonce.workflow.connections import open_ledger
from mailonce.workflow.settings import Settings
from mailonce.workflow.snapshot import folder
from sandbox.aws import LocalAws
from sandbox.sample_usage import create_sample_usage, months_before
from sandbox.ses import Behaviour, SesStandIn
from sandbox.stack import MONTHLY, RECONCILE, ROOT
from tests.deploy import run_recorded
from tests.deploy.api_calls import Call, read, recorded
from tests.deploy.aws_stack import SnsEvents, Stack

pytestmark = [pytest.mark.dynamodb]

PERIOD = f"{months_before(date.today(), 1)[0]:%Y-%m}"  # noqa: DTZ011 - as the sandbox counts
CUSTOMERS = ["CUST-0001", "CUST-0002", "CUST-0003", "CUST-0004"]
LOST, HELD = CUSTOMERS[2:]
WORKER = "worker"


@pytest.fixture(scope="module")
def ran(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The month is mailed, the events are read, and the month is mailed again: on the template's resources, by its settings."""
    home = tmp_path_factory.mktemp("airflow")
    local_aws.client("iam").create_role(RoleName=WORKER, AssumeRolePolicyDocument="{}")
    stack = Stack(local_aws, NamePrefix="real", WorkerRole=WORKER, ReconcilerRole=WORKER, PageRole=WORKER)
    with closing(sqlite3.connect(home / "usage.db")) as usage:
        create_sample_usage(usage, date.today(), sqlite3.paramstyle)  # noqa: DTZ011
    with SesStandIn(configuration_sets=[], events=SnsEvents(local_aws, stack.made["EventsTopic"])) as ses:
        stack.publish_from(ses)
        addresses = dict(_addresses(home))
        ses.behave(addresses[LOST], [Behaviour.ACCEPT_THEN_500] * 5)
        ses.behave(addresses[HELD], [Behaviour.UNAVAILABLE_503] * 5)
        environment = {
            **stack.environment(ses),
            "AIRFLOW_CONN_MAILONCE_USAGE": json.dumps({"conn_type": "sqlite", "host": str(home / "usage.db")}),
            "AIRFLOW__MAILONCE__ACCOUNT_SUPPRESSIONS": "true",
            "AIRFLOW__MAILONCE__EVENTS_PATIENCE": "0",
            "AIRFLOW__MAILONCE__JOURNAL_DIR": "none",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        # Nobody can read it; what is read is deleted, what is not is set aside.
        local_aws.client("sns").publish(TopicArn=stack.made["EventsTopic"], Message="poison")
        ses.events.put_fates({addresses[CUSTOMERS[0]]: "complaint"})
        policy = stack.template.policy
        worker, reconciler = policy("SenderPolicy") + policy("DoctorPolicy"), policy("ReconcilerPolicy")
        month = {"may": worker, "file": str(ROOT / "dags" / f"{MONTHLY}.py"), "dag": MONTHLY}
        conf = {"period": PERIOD, "recipients": CUSTOMERS, "recipients_per_task": 4}
        reconcile = {"file": str(ROOT / "dags" / f"{RECONCILE}.py"), "dag": RECONCILE}
        reconcile |= {"conf": {}, "may": reconciler}
        ends = _run(home, environment, [{**month, "conf": conf}, reconcile, {**month, "conf": conf}])
        yield SimpleNamespace(stack=stack, ses=ses, environment=environment, ends=ends, addresses=addresses)


def _addresses(home: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(home / "usage.db")) as usage:
        return usage.execute("SELECT customer_id, email FROM customers").fetchall()


def _run(home: Path, environment: dict[str, str], orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    everything = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
        **environment,
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=everything, capture_output=True, check=True)
    done = subprocess.run(
        [sys.executable, "-m", run_recorded.__name__],
        env=everything, cwd=ROOT, input="\n".join(map(json.dumps, orders)), capture_output=True, text=True, check=False,
        timeout=600,  # a refused preflight is tried again and again
    )  # fmt: skip
    said = [line.removeprefix(run_recorded.ANSWER) for line in done.stdout.splitlines()
            if line.startswith(run_recorded.ANSWER)]  # fmt: skip
    assert len(said) == len(orders), (done.stdout + done.stderr)[-6000:]
    return [json.loads(line) for line in said]


@pytest.fixture
def at_a_shell(ran: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A process of its own, with the same settings."""
    for name, value in ran.environment.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


@pytest.fixture
def page(at_a_shell: Settings) -> Iterator[TestClient]:
    """The page of the api-server, with somebody at it who may see everything."""
    app = create_app()
    with closing(open_ledger(at_a_shell, connections=4)) as ledger:
        app.dependency_overrides[access.the_ledger] = lambda: ledger
        app.dependency_overrides[access.settings] = lambda: at_a_shell
        app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="ann", role="admin")
        create_auth_manager()
        yield TestClient(app)


def entries(settings: Settings) -> dict[str, Entry]:
    with closing(open_ledger(settings)) as ledger:
        return {entry.identity.recipient_id: entry for entry in ledger.of_month("monthly_usage", PERIOD)}


def refused(calls: set[Call], statements: list[dict[str, Any]]) -> list[Call]:
    return sorted((call for call in calls if not call.allowed_by(statements)), key=str)


def unused(calls: set[Call], statements: list[dict[str, Any]]) -> set[str]:
    allowed = {
        action
        for one in statements
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }
    return allowed - {call.action for call in calls}


def calls_of(ran: SimpleNamespace, dag: int) -> set[Call]:
    return read(ran.ends[dag]["calls"])


def test_the_month_is_mailed_once_under_the_policies_and_its_events_settle_what_was_in_doubt(
    ran: SimpleNamespace, at_a_shell: Settings
) -> None:
    assert [{task: state for task, _, state in end["tasks"]} for end in ran.ends] == [
        # Two are in doubt, and one is when the events are read; the poison is told of.
        {"preflight": "success", "snapshot": "success", "deliver": "failed", "report": "failed"},
        {"drain": "success", "alarm": "failed"},
        {"preflight": "success", "snapshot": "success", "deliver": "failed", "report": "failed"},
    ]
    found = {name: (entry.state, entry.fate) for name, entry in entries(at_a_shell).items()}
    assert found == {
        CUSTOMERS[0]: (State.SENT, Fate.COMPLAINED),
        CUSTOMERS[1]: (State.SENT, Fate.DELIVERED),
        LOST: (State.SENT, Fate.DELIVERED),
        HELD: (State.IN_DOUBT, None),
    }
    mailed = [mail.tags["mailonce_recipient"] for mail in ran.ses.mails]
    assert sorted(mailed) == CUSTOMERS[:3]
    names = {path.name for path in folder(at_a_shell.snapshot_uri).iterdir()}
    assert names == {"events", "ledger", "monthly_usage"}


def test_the_worker_s_policies(ran: SimpleNamespace) -> None:
    policy = ran.stack.template.policy
    worker, calls = policy("SenderPolicy") + policy("DoctorPolicy"), calls_of(ran, 0) | calls_of(ran, 2)
    # The first is only tried. For the second, the bucket's location is asked instead.
    assert {call.action for call in refused(calls, worker)} == {"dynamodb:Scan", "s3:ListBucket"}
    assert {call.context for call in refused(calls, worker)} == {()}
    assert unused(calls, worker) == {
        "iam:GetRole",  # here we are the root user: tests/doctor/test_permissions.py
        "iam:SimulatePrincipalPolicy",
        "s3:AbortMultipartUpload",  # of a large snapshot that failed
        "ses:GetSuppressedDestination",  # an operator with its recipients given: tests/workflow/test_suppressed.py
        "ses:TestRenderEmailTemplate",  # an operator with ses_template: tests/workflow/test_preflight.py
    }


def test_the_reconciler_s_policy(ran: SimpleNamespace) -> None:
    statements = ran.stack.template.policy("ReconcilerPolicy")
    assert {(call.action, call.context) for call in refused(calls_of(ran, 1), statements)} == {("s3:ListBucket", ())}
    assert unused(calls_of(ran, 1), statements) == {
        "s3:AbortMultipartUpload",
        "sqs:ChangeMessageVisibility",  # when the ledger is away: tests/workflow/events/test_draining.py
    }


def test_the_page_s_policy(
    ran: SimpleNamespace, at_a_shell: Settings, page: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    statements = ran.stack.template.policy("PagePolicy")
    held = entries(at_a_shell)[HELD]
    places = ["/", f"/months/monthly_usage/{PERIOD}", f"/deliveries/{held.key}", f"/deliveries/{held.key}/mail"]
    with recorded(statements) as calls:
        assert {place: page.get(place).status_code for place in places} == dict.fromkeys(places, 200)
        assert terminal.main(["show", HELD]) == 0
        assert terminal.main(["resolve", held.key, "--sent", "--reason", "found it at the provider"]) == 0
    assert HELD in capsys.readouterr().out
    assert entries(at_a_shell)[HELD].state is State.SENT
    assert refused(calls, statements) == []
    assert unused(calls, statements) == set()


def test_the_doctor_recognises_what_was_made(ran: SimpleNamespace, at_a_shell: Settings) -> None:
    with closing(Installation(at_a_shell)) as installation:
        found = examine(installation).findings
    assert [str(one) for one in found if one.severity is not Severity.OK] == []
    assert f"configuration set: real, made by the template of mailonce {__version__}." in map(str, found)
