"""Tasks that Airflow would kill too early, or try too seldom; Airflow's own settings."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.bundles.local import LocalDagBundle

from mailonce import DeliveryRetryPolicy
from mailonce.doctor import airflow_tasks
from mailonce.doctor.airflow_tasks import check, load_dags
from mailonce.doctor.examination import examine
from mailonce.doctor.installation import Installation
from mailonce.findings import Severity
from tests.doctor.conftest import Install, bad, only
from tests.doctor.sample_dag import dag_of

ROOT = Path(__file__).resolve().parents[2]
TASKS = {"tasks": check}
NEEDED = 60 + 25 + 180
"""Seconds of a claim, a request and its record, by the default settings."""


@pytest.mark.parametrize("mapped", [False, True])
class TestTasks:
    def test_one_as_it_should_be(self, install: Install, mapped: bool) -> None:
        dag = dag_of(mapped=mapped, execution_timeout=timedelta(seconds=NEEDED))
        findings = examine(install(dags=[dag]), TASKS).findings
        assert bad(findings) == []
        assert only(findings, airflow_tasks.TIME).found.startswith("mails.deliver: time enough")

    def test_one_that_is_killed_on_the_wire(self, install: Install, mapped: bool) -> None:
        dag = dag_of(mapped=mapped, execution_timeout=timedelta(seconds=NEEDED - 1))
        ((severity, text),) = bad(check(install(dags=[dag], concurrency=4)))
        assert severity == "warning"
        assert "mails.deliver is killed after 264 s (execution_timeout), but one mail may take 265 s" in text
        assert "of a batch, up to 4 mails" in text

    def test_one_without_our_policy(self, install: Install, mapped: bool) -> None:
        ((severity, text),) = bad(check(install(dags=[dag_of(mapped=mapped, retry_policy=None)])))
        assert severity == "warning"
        assert "has no DeliveryRetryPolicy" in text

    def test_one_whose_retries_cut_the_policy_short(self, install: Install, mapped: bool) -> None:
        most = DeliveryRetryPolicy().most
        ((severity, text),) = bad(check(install(dags=[dag_of(mapped=mapped, retries=most - 1)])))
        assert severity == "warning"
        assert f"has retries={most - 1}" in text
        assert f"it would go up to {most}" in text

    def test_a_run_that_ends_before_a_mail_in_doubt_is_settled(self, install: Install, mapped: bool) -> None:
        dag = dag_of(mapped=mapped, dag={"dagrun_timeout": timedelta(seconds=1259)})
        ((severity, text),) = bad(check(install(dags=[dag])))
        assert severity == "warning"
        assert "runs of mails end after 1259 s (dagrun_timeout)" in text
        enough = dag_of(mapped=mapped, dag={"dagrun_timeout": timedelta(seconds=1260)})
        assert bad(check(install(dags=[enough]))) == []


def test_no_dag_no_trouble(install: Install) -> None:
    assert "no task that sends" in only(check(install()), airflow_tasks.TIME).found


def test_a_heartbeat_timeout_that_repeats_tasks_that_live(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT", str(NEEDED - 1))
    ((severity, text),) = bad(check(install()))
    assert severity == "warning"
    assert "after 264 s without a sign of life" in text


class TestCelery:
    @pytest.fixture(autouse=True)
    def celery(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
        monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", "redis://redis:6379/0")

    def test_a_day_is_enough(self, install: Install) -> None:
        assert bad(check(install(dags=[dag_of()]))) == []

    def test_a_task_that_lives_longer_is_handed_out_twice(
        self, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        installation = install(dags=[dag_of(execution_timeout=timedelta(hours=2))])
        monkeypatch.setenv("AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT", "7199")
        ((severity, text),) = bad(check(installation))
        assert severity == "warning"
        assert "mails.deliver may run for 7200 s, but Celery's broker hands it to a second worker after 7199 s" in text
        monkeypatch.setenv("AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT", "7200")
        assert bad(check(installation)) == []

    def test_a_task_without_a_limit_needs_at_least_what_one_mail_needs(
        self, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT", "60")
        assert len(bad(check(install(dags=[dag_of()])))) == 1
        monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", "amqp://rabbit//")
        assert bad(check(install(dags=[dag_of()]))) == []


class TestDagFiles:
    def test_the_package_s_own_dags_are_as_they_should_be(
        self, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dags = self.load(monkeypatch, ROOT / "dags")
        assert "monthly_usage_email" in {dag.dag_id for dag in dags[0]}
        assert dags[1] == {}
        assert bad(check(install(dags=dags[0]))) == []

    def test_a_file_that_is_no_dag_is_named(
        self, install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "broken.py").write_text("from airflow.sdk import DAG\nraise RuntimeError('out of paper')\n")
        dags, broken = self.load(monkeypatch, tmp_path)
        installation = install(dags=dags)
        examined = Installation(installation.settings, dags=dags, broken_dags=broken)
        finding = only(check(examined), airflow_tasks.DAGS)
        assert finding.severity is Severity.WARNING
        assert "broken.py cannot be read as a Dag: RuntimeError: out of paper" in finding.found

    def test_a_bundle_that_is_away_hides_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(LocalDagBundle, "initialize", lambda _: 1 / 0)
        dags, broken = self.load(monkeypatch, ROOT / "dags")
        assert (dags, broken) == ([], {"bundle ours": "ZeroDivisionError: division by zero"})

    def load(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
        bundle = {
            "name": "ours",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder)},
        }
        monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
        return load_dags()
