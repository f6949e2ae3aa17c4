"""The Dag ``start_usage_email`` under the real Airflow: asset events and messages, each said twice, and one month."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from sandbox.airflow_api import AirflowApi
from sandbox.stack import MONTHLY, START, Sandbox
from tests.dags.conftest import IMPATIENT, LONG_AGO, MONTHS, THREE

pytestmark = pytest.mark.airflow

RUN = f"usage-complete__{LONG_AGO}__original"
PRODUCER = "load_usage"
"""The Dag of docs/triggers.md."""


@pytest.fixture
def month(sandbox: Sandbox) -> str:
    with psycopg.connect(sandbox.postgres.dsn("usage")) as connection:
        connection.execute(
            "INSERT INTO usage_daily (customer_id, used_at, metric, quantity) "
            "SELECT customer_id, used_at - interval '10 years', metric, quantity FROM usage_daily "
            "WHERE customer_id = ANY(%s) AND to_char(used_at, 'YYYY-MM') = %s ON CONFLICT DO NOTHING",
            [THREE, MONTHS[0]],
        )
    return LONG_AGO


@pytest.fixture
def listening(api: AirflowApi) -> Iterator[None]:
    """The Dag that starts months is unpaused; another one is not."""
    api.wait_for_dag(START)
    api.wait_for_dag("untagged_email")
    api.wait_for_dag(PRODUCER)
    api.unpause(START)
    api.unpause(PRODUCER)
    pause(api, IMPATIENT)
    yield
    pause(api, PRODUCER)
    pause(api, START)
    api.unpause(IMPATIENT)


def pause(api: AirflowApi, dag: str) -> None:
    api.request("PATCH", f"/api/v2/dags/{dag}", body={"is_paused": True})


def say_by_asset(api: AirflowApi, **extra: Any) -> None:
    (asset,) = api.request("GET", "/api/v2/assets", name_pattern="mailonce_usage_complete")["assets"]
    api.request("POST", "/api/v2/assets/events", body={"asset_id": asset["id"], "extra": extra})


def say_by_message(sandbox: Sandbox, number: int, **body: Any) -> None:
    """Send a message with a deduplication id of its own, as if those of the others were older than five minutes."""
    sandbox.aws.client("sqs").send_message(
        QueueUrl=sandbox.trigger_queue_url,
        MessageBody=json.dumps(body),
        MessageGroupId=body.get("campaign", "monthly_usage"),
        MessageDeduplicationId=str(number),
    )


def log_of_all(api: AirflowApi) -> str:
    ended = [run["dag_run_id"] for run in api.runs(START) if run["state"] in ("success", "failed")]
    return "\n".join(api.logs(START, run, "start") for run in ended)


def wait_for_log(api: AirflowApi, *expected: str) -> str:
    deadline = time.monotonic() + 120
    while True:
        said = log_of_all(api)
        missing = [text for text in expected if text not in said]
        if not missing:
            return said
        assert time.monotonic() < deadline, f"{missing} not in\n{said}"
        time.sleep(0.5)


@pytest.mark.usefixtures("listening")
def test_a_month_starts_once_however_often_it_is_said(sandbox: Sandbox, api: AirflowApi, month: str) -> None:
    started = f"started run {RUN} of {MONTHLY}"
    assert api.wait_for_run(PRODUCER, api.trigger(PRODUCER)) == "success"
    wait_for_log(api, started)
    assert api.wait_for_run(MONTHLY, RUN) == "success"
    assert api.run(MONTHLY, RUN)["conf"] == {"period": month}
    assert any(run["run_type"] == "asset_triggered" for run in api.runs(START))

    # Again by the asset over REST, and twice by the queue; and what cannot be started is in nobody's way.
    say_by_asset(api, period=month)
    for number, campaign in enumerate(["nobody", "untagged", "impatient_usage", "monthly_usage", "monthly_usage"]):
        say_by_message(sandbox, number, campaign=campaign, period=month)
    by_hand = api.trigger(START)
    api.wait_for_run(START, by_hand)
    said = wait_for_log(
        api,
        "there is no Dag nobody_email",
        "the Dag untagged_email does not have the tag mailonce",
        f"the Dag {IMPATIENT} is paused: unpause it. The message waits in the queue",
        f"run {RUN} of {MONTHLY} exists already (success), so nothing is started",
    )
    assert said.count(started) == 1
    deadline = time.monotonic() + 60
    while log_of_all(api).count(f"run {RUN} of {MONTHLY} exists already") < 3:
        assert time.monotonic() < deadline, log_of_all(api)
        time.sleep(0.5)
    assert [run["dag_run_id"] for run in api.runs(MONTHLY) if month in run["dag_run_id"]] == [RUN]
    assert mailed(sandbox, month) == THREE

    # Had there been another run all the same, the ledger would not have sent twice.
    again = api.trigger(MONTHLY, {"period": month})
    assert api.wait_for_run(MONTHLY, again) == "success"
    assert [api.xcom(MONTHLY, again, "deliver", map_index=index)["already sent"] for index in range(3)] == [1, 1, 1]
    assert mailed(sandbox, month) == THREE


def mailed(sandbox: Sandbox, period: str) -> list[str]:
    tags = [mail.tags for mail in sandbox.ses.mails]
    return sorted(tag["mailonce_recipient"] for tag in tags if tag["mailonce_period"] == period)
