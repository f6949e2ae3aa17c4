"""The campaign that docs/authors.md tells its readers to write, written from it and from nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.serialization.serialized_objects import DagSerialization

from sandbox.airflow_api import AirflowApi
from sandbox.stack import Sandbox
from tests.blocks import schedule_of, set_schedule, write_campaign
from tests.dags.conftest import MONTHS, REPORTED, THREE
from tests.dags.test_dag_integrity import dags_of


def sent(sandbox: Sandbox, period: str) -> dict[str, Any]:
    """Return the campaign's accepted mails of a month, by recipient."""
    mails = [mail for mail in sandbox.ses.mails if mail.tags["mailonce_campaign"] == "traffic_report"]
    of_month = [mail for mail in mails if mail.tags["mailonce_period"] == period]
    by_recipient = {str(mail.tags["mailonce_recipient"]): mail for mail in of_month}
    assert len(by_recipient) == len(of_month), "somebody has two"
    return by_recipient


def timetable(home: Path) -> Any:
    (dag,) = dags_of(home / "dags" / "traffic_report_email.py")
    return DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable


def test_it_runs_by_itself_when_the_reader_says_so_and_not_before(tmp_path: Path) -> None:
    write_campaign(tmp_path)
    assert timetable(tmp_path).can_be_scheduled is False
    set_schedule(tmp_path, schedule_of("authors.md"))
    assert timetable(tmp_path).summary == "0 12 1 * *"


@pytest.mark.airflow
def test_looked_at_sent_to_a_few_then_to_more_and_to_nobody_twice(sandbox: Sandbox, api: AirflowApi) -> None:
    period = MONTHS[0]

    def run(**conf: Any) -> str:
        started = api.trigger(REPORTED, {"period": period, **conf})
        assert api.wait_for_run(REPORTED, started) == "success"
        return started

    looked = run(dry_run=True, recipients=THREE)
    assert "preview/index.html (3 samples)" in api.logs(REPORTED, looked, "report")
    assert sent(sandbox, period) == {}

    run(recipients=THREE[:1])
    assert set(sent(sandbox, period)) == set(THREE[:1])
    (first,) = sent(sandbox, period).values()
    assert str(first.subject).startswith("Your traffic in ")
    assert " GB on one day." in str(first.text)
    assert "<strong>" in str(first.html)

    run(recipients=THREE)
    assert set(sent(sandbox, period)) == set(THREE)
    assert sent(sandbox, period)[THREE[0]].message_id == first.message_id
