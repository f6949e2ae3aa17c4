"""The files for Kubernetes: read by the code that the executor reads them with, and by Kubernetes' own client."""

from __future__ import annotations

import json
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pendulum
import yaml
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from kubernetes.client import ApiClient

from mailonce.workflow.settings import Settings
from sandbox.stack import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
TEMPLATE = FOLDER / "pod_template.yaml"
VALUES = yaml.safe_load((FOLDER / "values.yaml").read_text())


def as_kubernetes_has_it(content: Any, kind: str) -> Any:
    """Read something into the client's model, which refuses what lacks a part, and back, which loses unknown parts."""
    client = ApiClient()
    return client.sanitize_for_serialization(client.deserialize(SimpleNamespace(data=json.dumps(content)), kind))


def names(environment: list[dict[str, str]]) -> list[str]:
    return [variable["name"] for variable in environment]


def test_the_pod_template_is_a_pod_without_unknown_parts() -> None:
    pod = yaml.safe_load(TEMPLATE.read_text())
    assert as_kubernetes_has_it(pod, "V1Pod") == pod


def test_the_executor_makes_a_task_pod_of_the_template() -> None:
    pod = PodGenerator.construct_pod(
        dag_id="monthly_usage_email",
        task_id="deliver",
        pod_id="monthly-usage-email-deliver-1",
        try_number=1,
        kube_image="registry.example.com/mailonce:2",
        date=None,
        args=["python", "-m", "airflow.sdk.execution_time.execute_workload"],
        pod_override_object=None,
        base_worker_pod=PodGenerator.deserialize_model_file(str(TEMPLATE)),
        namespace="airflow",
        scheduler_job_id="1",
        run_id="manual__" + pendulum.datetime(2026, 11, 1).isoformat(),
        map_index=7,
    )
    base = pod.spec.containers[0]
    assert (base.name, base.image) == ("base", "registry.example.com/mailonce:2")
    assert base.args[-1].endswith("execute_workload")
    assert pod.metadata.labels["map_index"] == "7"
    assert pod.spec.restart_policy == "Never"
    assert pod.spec.termination_grace_period_seconds > Settings().record_patience


def test_the_charts_values_hold_valid_volumes_and_environment() -> None:
    workers = VALUES["workers"]["kubernetes"]
    for key, kind in (("extraVolumes", "V1Volume"), ("extraVolumeMounts", "V1VolumeMount")):
        assert as_kubernetes_has_it(workers[key], f"list[{kind}]") == workers[key]
    assert as_kubernetes_has_it(workers["resources"], "V1ResourceRequirements") == workers["resources"]
    assert as_kubernetes_has_it(VALUES["env"], "list[V1EnvVar]") == VALUES["env"]
    sources = yaml.safe_load(VALUES["extraEnvFrom"])
    assert as_kubernetes_has_it(sources, "list[V1EnvFromSource]") == sources
    assert VALUES["executor"] == "KubernetesExecutor"


def test_every_setting_of_ours_that_the_files_name_exists() -> None:
    pod = yaml.safe_load(TEMPLATE.read_text())
    prefix = "AIRFLOW__MAILONCE__"
    named = names(VALUES["env"]) + names(pod["spec"]["containers"][0]["env"])
    ours = {name.removeprefix(prefix).lower() for name in named if name.startswith(prefix)}
    assert {"sender", "snapshot_uri", "journal_dir"} <= ours
    assert ours <= {field.name for field in fields(Settings)}
