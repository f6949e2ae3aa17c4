"""The mapping, the rules and the dashboard name what the code emits, and nothing else; and all of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from prometheus_client.parser import text_string_to_metric_families

from mailonce.metrics.base import Kind
from mailonce.metrics.catalogue import ALERTS, METRICS
from mailonce.workflow.metrics import AirflowMetrics
from tests.deploy.statsd import StatsdExporter

ROOT = Path(__file__).resolve().parents[2]
MAPPING = ROOT / "deploy" / "prometheus" / "statsd-mapping.yaml"
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "mailonce.json"
MONITORING = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")

ALERTING = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
PANELS = json.loads(DASHBOARD.read_text())["panels"]
EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in ALERTING},
    **{f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]},
}


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsdExporter]:
    with StatsdExporter(MAPPING) as started:
        for name, value in started.airflow.items():
            monkeypatch.setenv(name, value)
        prepare_stats()
        yield started
    monkeypatch.undo()
    prepare_stats()


def prepare_stats() -> None:
    """As ``airflow.sdk.execution_time.task_runner.main`` does in every task's process."""
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)


def tell_everything(metrics: AirflowMetrics) -> int:
    names = [(metric, part) for metric in METRICS for part in metric.parts or ("",)]
    for metric, part in names:
        if metric.kind is Kind.COUNTER:
            metrics.count(metric, 3, part=part)
        elif metric.kind is Kind.GAUGE:
            metrics.gauge(metric, 0.25, part=part)
        else:
            metrics.time(metric, 0.5)
    return len(names)


def scraped(exporter: StatsdExporter, lines: int) -> dict[str, list[dict[str, str]]]:
    """Read the page once so many lines have arrived. :return: the labels of each metric's series, by name."""
    for _ in range(1000):
        if len(exporter.lines) >= lines:
            break
        exporter._thread.join(0.01)
    assert len(exporter.lines) == lines
    with urllib.request.urlopen(exporter.url) as answer:
        page = answer.read().decode()
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def selectors(expression: str) -> Iterator[Any]:
    """Yield every selector of a PromQL expression, as a parser of Prometheus' own grammar sees it."""

    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    # "$__rate_interval" is Grafana's word for a range that fits the scrapes.
    promql_parser.walk(promql_parser.parse(expression.replace("$__rate_interval", "5m")), visit)
    yield from found


def test_everything_the_code_tells_arrives_under_a_documented_name(exporter: StatsdExporter) -> None:
    series = scraped(exporter, tell_everything(AirflowMetrics(campaign="usage")))
    rules = yaml.safe_load(MAPPING.read_text())["mappings"]
    timers = {rule["name"] for rule in rules if rule["match_metric_type"] == "observer"}
    assert set(series) == {rule["name"] for rule in rules} | {
        f"{name}_{end}" for name in timers for end in ("sum", "count")
    }
    for metric in METRICS:
        (rule,) = (rule for rule in rules if rule["match"] in (f"airflow.mailonce.{metric.name}",
                                                              f"airflow.mailonce.{metric.name}.*"))  # fmt: skip
        assert rule["match_metric_type"] == {Kind.TIMER: "observer"}.get(metric.kind, metric.kind.value)
        assert rule["help"]
        if metric.label:
            assert {labels[metric.label] for labels in series[rule["name"]]} == set(metric.parts)
        assert rule["name"] in MONITORING
        assert f"`mailonce.{metric.name}`" in MONITORING


def test_times_arrive_in_seconds(exporter: StatsdExporter) -> None:
    scraped(exporter, tell_everything(AirflowMetrics()))
    with urllib.request.urlopen(exporter.url) as answer:
        assert 'mailonce_send_seconds{quantile="0.5"} 0.5\n' in answer.read().decode()
    assert "airflow.mailonce.send:500.000000|ms" in exporter.lines


def test_tags_become_labels_where_they_are_switched_on(
    exporter: StatsdExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
    prepare_stats()
    series = scraped(exporter, tell_everything(AirflowMetrics(campaign="usage", period="2026-10")))
    assert {"campaign": "usage", "period": "2026-10", "stage": "held"} in series["mailonce_run_recipients"]


def test_nobody_to_tell_and_a_broken_client_stop_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prepare_stats()
    tell_everything(AirflowMetrics())

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no route")

    for name in ("incr", "gauge", "timing"):
        monkeypatch.setattr(stats, name, broken)
    tell_everything(AirflowMetrics())
    assert caplog.text.count("metrics could not be told") == 1


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_an_expression_asks_for_what_there_is(where: str) -> None:
    rules = {rule["name"]: rule for rule in yaml.safe_load(MAPPING.read_text())["mappings"]}
    asked = list(selectors(EXPRESSIONS[where]))
    assert asked
    for selector in asked:
        rule = rules[selector.name]
        (metric,) = (m for m in METRICS if rule["match"].removeprefix("airflow.mailonce.").removesuffix(".*") == m.name)
        for matcher in selector.matchers.matchers:
            if matcher.name == "quantile":
                assert metric.kind is Kind.TIMER
                assert matcher.value in ("0.5", "0.95", "0.99")
            else:
                assert matcher.name == metric.label
                assert set(matcher.value.split("|")) <= set(metric.parts)


def test_nothing_is_told_that_nobody_looks_at() -> None:
    asked = {selector.name for expression in EXPRESSIONS.values() for selector in selectors(expression)}
    assert asked == {rule["name"] for rule in yaml.safe_load(MAPPING.read_text())["mappings"]}


def test_every_rule_says_what_to_do() -> None:
    headings = {re.sub(r"[^a-z]", "", line.lower()) for line in MONITORING.splitlines() if line.startswith("#")}
    for rule in ALERTING:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        file, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (ROOT / file).is_file()
        assert anchor == rule["alert"].lower()
        assert anchor in headings
    for about in ALERTS.parts:
        assert f"`{about}`" in MONITORING


def test_the_dashboard_s_panels_are_distinct_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS) == len({panel["title"] for panel in PANELS})
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert all(x < 24 for x, _ in cells)
        taken |= cells
        assert all(target["datasource"] == {"type": "prometheus", "uid": "${source}"} for target in panel["targets"])


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: the rules are parsed, not tried"
)
@pytest.mark.parametrize(
    "arguments", [("check", "rules", RULES), ("test", "rules", Path(__file__).with_name("alerts_test.yaml"))]
)
def test_prometheus_itself_takes_the_rules(arguments: tuple[Any, ...]) -> None:
    answer = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
