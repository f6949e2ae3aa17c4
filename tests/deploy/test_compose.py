"""docker-compose.yaml and its Dockerfile, as far as no schema knows what is right. `make lint` asks the schema."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import Connection
from packaging.requirements import Requirement

from mailonce.workflow.settings import Settings
from sandbox.ses.__main__ import argument_parser
from sandbox.stack import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+)(?::-([^${}]*))?\}")
AIRFLOW = sorted(name for name in SERVICES if name.startswith("airflow-"))


def filled_in(text: str) -> str:
    """Return a text as Compose makes it of nothing but the defaults."""
    while (known := VARIABLE.sub(lambda found: found[2] or "", text)) != text:  # a default may have variables in it
        text = known
    return text.replace("$$", "$")


def environment(service: str) -> dict[str, str]:
    return {name: filled_in(str(value)) for name, value in SERVICES[service].get("environment", {}).items()}


def mounts() -> Iterator[tuple[str, str, str]]:
    """Yield each service with what it mounts, and where."""
    for name, service in SERVICES.items():
        for mount in service.get("volumes", ()):
            source, target, *_ = filled_in(mount).split(":")
            yield name, source, target


def named(address: str) -> bool:
    """Return whether a host of an address is a service."""
    return re.split(r"[/:@]", address.split("://")[1].rsplit("@", maxsplit=1)[-1])[0] in SERVICES


def test_every_published_port_is_of_this_machine_only_and_can_be_chosen() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(published) == 4
    for port in published:
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-\d+\}:\d+", port), port


def test_every_service_says_whether_it_is_well() -> None:
    assert [name for name, service in SERVICES.items() if "healthcheck" not in service] == ["airflow-init"]
    assert SERVICES["airflow-init"]["restart"] == "no"  # it ends, and the others wait for that


def test_every_image_can_be_replaced_and_has_a_version() -> None:
    images = {name: VARIABLE.fullmatch(service["image"]) for name, service in SERVICES.items()}
    assert None not in images.values()
    built = {service["image"] for service in SERVICES.values() if "build" in service}
    for name, image in images.items():
        assert image
        assert SERVICES[name]["image"] in built or ":" in image[2], f"{name}: no version"


def test_one_service_builds_each_image_and_runs_before_those_that_use_it() -> None:
    builders = {service["image"]: name for name, service in SERVICES.items() if "build" in service}
    assert sorted(builders.values()) == ["airflow-init", "aws-standin"]
    for service in SERVICES.values():
        builder = builders.get(service["image"])
        alone = not service.get("profiles") and "build" not in service
        assert not (builder and alone) or builder in service["depends_on"]


def test_the_images_are_built_on_a_base_that_can_be_chosen() -> None:
    for service in SERVICES.values():
        if build := service.get("build"):
            assert build["args"] == {"AIRFLOW_IMAGE": "${AIRFLOW_IMAGE:-apache/airflow:3.3.2}"}
            assert re.search(rf"^FROM \S+ AS {build['target']}$", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.count("FROM ${AIRFLOW_IMAGE}") == 1
    version = filled_in(SERVICES["airflow-init"]["build"]["args"]["AIRFLOW_IMAGE"]).partition(":")[2]
    assert f"apache-airflow=={version} " in (ROOT / "requirements.txt").read_text(encoding="utf-8")


def test_what_is_mounted_exists_and_every_volume_is_declared() -> None:
    volumes = set()
    for service, source, _ in mounts():
        if source.startswith("."):
            assert (ROOT / source).exists(), f"{service} mounts {source}"
        else:
            volumes.add(source)
    assert volumes == set(COMPOSE["volumes"])


def test_folders_that_volumes_are_mounted_on_are_made_in_the_image() -> None:
    """Else they belong to root, and nobody else can write there."""
    made = re.search(r"mkdir -p -m 0775 (.+) \\", DOCKERFILE)
    assert made
    ours = {SERVICES[name]["image"] for name in ("airflow-init", "aws-standin")}
    needed = {
        target for service, source, target in mounts() if SERVICES[service]["image"] in ours and source[0] not in "./"
    }
    assert needed == set(made[1].split())


@pytest.mark.parametrize("service", AIRFLOW)
def test_settings_are_settings_of_the_package(service: str) -> None:
    prefix = "AIRFLOW__MAILONCE__"
    set_here = {name.removeprefix(prefix).lower() for name in environment(service) if name.startswith(prefix)}
    assert set_here <= {field.name for field in fields(Settings)}
    assert {"sender", "snapshot_uri", "events_queue_url"} <= set_here


def test_connections_can_be_read_and_name_services() -> None:
    found = {name: connection(text) for name, text in environment("airflow-worker").items() if "AIRFLOW_CONN_" in name}
    databases = [each for each in found.values() if each.conn_type == "postgres"]
    script = (ROOT / "deploy" / "postgres-init.sql").read_text(encoding="utf-8")
    assert {each.schema for each in databases} == set(re.findall(r"^CREATE DATABASE (\w+);", script, re.MULTILINE))
    assert {each.host for each in databases} == {"postgres"}
    aws = found["AIRFLOW_CONN_AWS_DEFAULT"].extra_dejson
    assert named(aws["endpoint_url"])
    assert named(aws["service_config"]["sesv2"]["endpoint_url"])


def test_the_ledger_of_the_profile_is_one_variable_away() -> None:
    text = SERVICES["airflow-worker"]["environment"]["AIRFLOW_CONN_MAILONCE_LEDGER"]
    assert text.startswith("${LEDGER_URI:-postgres://")
    described = re.search(r"LEDGER_URI='(.+)'", (ROOT / "docs" / "compose.md").read_text(encoding="utf-8"))
    assert described
    other = connection(described[1])
    assert other.conn_type == "aws"
    assert named(other.extra_dejson["endpoint_url"])
    assert SERVICES["dynamodb"]["profiles"] == ["dynamodb"]


def connection(text: str) -> Connection:
    """Return a connection as Airflow reads it from a variable of the environment."""
    read = Connection.from_json if text.startswith("{") else Connection.from_uri
    return read(text, conn_id="any")


def test_the_workers_wait_longer_for_their_tasks_than_a_receipt_may_take() -> None:
    grace = SERVICES["airflow-worker"]["stop_grace_period"]
    assert int(grace.removesuffix("m")) * 60 > Settings().record_patience


def test_the_provider_publishes_to_the_queue_that_the_reconciler_reads() -> None:
    standin = SERVICES["ses-standin"]
    options = argument_parser().parse_args(standin["command"])
    settings = environment("airflow-worker")
    assert options.events_queue_url == settings["AIRFLOW__MAILONCE__EVENTS_QUEUE_URL"]
    assert options.configuration_set == [settings["AIRFLOW__MAILONCE__CONFIGURATION_SET"]]
    assert named(options.events_endpoint_url)
    assert str(options.port) in standin["healthcheck"]["test"][-1]
    assert standin["ports"][0].endswith(f":{options.port}")


def test_metrics_go_to_the_exporter_and_from_there_to_prometheus() -> None:
    settings = environment("airflow-worker")
    assert settings["AIRFLOW__METRICS__STATSD_HOST"] in SERVICES
    assert settings["AIRFLOW__METRICS__STATSD_ON"] == "false"
    targets = {(service, target): source for service, source, target in mounts()}
    (option,) = SERVICES["statsd-exporter"]["command"]
    mapping = targets["statsd-exporter", option.removeprefix("--statsd.mapping-config=")]
    assert yaml.safe_load((ROOT / mapping).read_text(encoding="utf-8"))["mappings"]
    prometheus = yaml.safe_load((ROOT / targets["prometheus", "/etc/prometheus/prometheus.yml"]).read_text())
    (scraped,) = prometheus["scrape_configs"]
    assert [target.partition(":")[0] in SERVICES for target in scraped["static_configs"][0]["targets"]] == [True]
    for rules in prometheus["rule_files"]:
        assert (ROOT / targets["prometheus", rules]).is_file()


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert named(source["url"])
    (provider,) = yaml.safe_load((folder / "dashboards" / "mailonce.yaml").read_text())["providers"]
    boards = [target for service, _, target in mounts() if service == "grafana" and target.endswith(".json")]
    assert [Path(board).parent.as_posix() for board in boards] == [provider["options"]["path"]]
    assert boards == [environment("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]]


def test_the_local_aws_is_installed_with_all_it_needs() -> None:
    found = re.search(r"/\^\(([^)]+)\)==/", DOCKERFILE)
    assert found
    chosen = set(found[1].split("|"))
    lock = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    assert chosen == {name for name in chosen if re.search(rf"^{name}==", lock, re.MULTILINE)}
    assert needs("ministack", set()) <= chosen


def needs(package: str, known: set[str]) -> set[str]:
    """Return a package with all that it needs on any Python, without extras."""
    known.add(package)
    for text in requires(package) or ():
        requirement = Requirement(text)
        name = requirement.name.lower().replace("_", "-")
        if "extra" in str(requirement.marker) or name in known:
            continue
        known |= needs(name, known) if importlib.util.find_spec(name.replace("-", "_")) else {name}
    return known


def test_nothing_but_what_the_images_hold_is_sent_to_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = {source.partition("/")[0] for source in re.findall(r"^COPY (\S+)", DOCKERFILE, re.MULTILINE)}
    assert copied == allowed


def test_every_variable_is_described() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")))
    assert len(used) > 20
    described = (ROOT / "docs" / "compose.md").read_text(encoding="utf-8")
    assert [name for name in sorted(used) if f"`{name}`" not in described] == []
