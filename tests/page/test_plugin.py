"""What Airflow's other processes pay for the page, and how Airflow shows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mailonce.mailonce_plugin import MailoncePlugin
from mailonce.operators.links import MailLedgerLink, airflow_path
from mailonce.operators.ses import IdempotentSesOperator

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
HEAVY = ("fastapi", "starlette", "jinja2", "psycopg", "psycopg_pool", "boto3", "botocore", "itsdangerous", "babel")


def test_importing_the_plugin_loads_nothing_heavy() -> None:
    """Each task imports it; what Airflow itself has loaded by then does not count."""
    program = (
        f"import sys, json; sys.path.insert(0, {str(PLUGINS)!r})\n"
        "import airflow.plugins_manager, airflow.sdk\nbefore = set(sys.modules)\n"
        "import mailonce.mailonce_plugin\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    loaded = json.loads(answer.stdout.splitlines()[-1])
    assert "mailonce.mailonce_plugin" in loaded
    assert not [name for name in loaded if name.partition(".")[0] in HEAVY]
    assert not [name for name in loaded if name.startswith(("mailonce.page.app", "mailonce.ledgers"))]


def test_the_page_is_served_where_its_views_look_for_it() -> None:
    (page,) = MailoncePlugin.fastapi_apps
    airflow = FastAPI()
    airflow.mount(page["url_prefix"], page["app"])
    client = TestClient(airflow)
    by_destination = {view["destination"]: view for view in MailoncePlugin.external_views}
    assert set(by_destination) == {"nav", "dag_run"}
    assert len({view["url_route"] for view in MailoncePlugin.external_views}) == 2
    for view in by_destination.values():
        answer = client.get(view["href"].format(DAG_ID="d", RUN_ID="r"))
        assert answer.status_code == 401
        assert 'href="/mailonce/static/page.css"' in answer.text


def link(**facts: str) -> str:
    operator = SimpleNamespace(**{"campaign": "usage", "period": "2030-01", "edition": "original", **facts})
    return MailLedgerLink().get_link(operator, ti_key=None)  # type: ignore[arg-type]


def test_a_task_links_to_its_recipient_or_its_month() -> None:
    home = "/plugin/mail-ledger/mailonce"
    assert link(map_label="C-1 &x") == f"{home}/months/usage/2030-01?edition=original&q=C-1+%26x&by=recipient"
    assert link(map_label="C-1 … C-9 (9)") == f"{home}/months/usage/2030-01?edition=original"
    assert link(period="{{ ti.xcom_pull() }}") == f"{home}/"


def test_below_a_path_everything_is_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow/")
    assert airflow_path() == "/airflow"
    assert link(map_label="C-1").startswith("/airflow/plugin/mail-ledger/airflow/mailonce/months/")


def test_the_operator_has_the_link() -> None:
    assert "Mail ledger" in {one.name for one in IdempotentSesOperator.operator_extra_links}
