"""One real Airflow for all tests of Dags that need one: it takes longer to start than they do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date

import pytest

from sandbox.airflow_api import AirflowApi
from sandbox.sample_usage import months_before
from sandbox.stack import MONTHLY, ROOT, START, Sandbox
from tests.blocks import producer_of, write_campaign

MONTHS = [f"{month:%Y-%m}" for month in months_before(date.today(), 3)]  # noqa: DTZ011 - as the sandbox counts
LONG_AGO = f"{int(MONTHS[0][:4]) - 10}{MONTHS[0][4:]}"
"""A month that only the tests of the triggers mail."""
APPROVED, IMPATIENT = "approved_usage_email", "impatient_usage_email"
REPORTED = "traffic_report_email"
"""The campaign of docs/authors.md."""
THREE = ["CUST-0001", "CUST-0002", "CUST-0003"]
"""Three with nothing unusual about them."""
UNTAGGED = """
from airflow.sdk import DAG
dag = DAG("untagged_email", schedule=None)
"""
SCHEDULE = 'schedule=CronTriggerTimetable("0 12 1 * *", timezone="UTC")'


def variant(text: str, **changes: str) -> str:
    for before, after in changes.values():
        assert before in text
        text = text.replace(before, after)
    return text


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The whole product, with the Dag as it is, with APPROVAL, and with what starts it; none mails by a schedule of its own."""
    home = tmp_path_factory.mktemp("product")
    dags = home / "dags"
    dags.mkdir()
    shutil.copytree(ROOT / "include", home / "include")
    text = (ROOT / "dags" / "monthly_usage_email.py").read_text()
    text = variant(text, schedule=(SCHEDULE, "schedule=None"))
    (dags / "monthly.py").write_text(text)
    approval = ("APPROVAL = False", "APPROVAL = True")
    approved = variant(text, approval=approval, dag_id=(f'dag_id="{MONTHLY}"', f'dag_id="{APPROVED}"'))
    (dags / "approved.py").write_text(approved)
    impatient = variant(approved, dag_id=(APPROVED, IMPATIENT), patience=("timedelta(days=5)", "timedelta(seconds=2)"))
    (dags / "impatient.py").write_text(impatient)
    shutil.copy(ROOT / "dags" / f"{START}.py", dags)
    (dags / "untagged.py").write_text(UNTAGGED)
    (dags / "producer.py").write_text(producer_of("triggers.md").replace("2026-10", LONG_AGO))
    write_campaign(home)
    with Sandbox(tmp_path_factory.mktemp("sandbox"), dags=dags) as running:
        yield running


@pytest.fixture(scope="session")
def api(sandbox: Sandbox) -> Iterator[AirflowApi]:
    with sandbox.airflow.api() as client:
        for dag in (MONTHLY, APPROVED, IMPATIENT, REPORTED):
            client.wait_for_dag(dag)
            client.unpause(dag)
        yield client
