"""The whole examination: no check hides another, and a healthy installation has nothing to mend."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from mailonce.doctor.airflow_tasks import load_dags
from mailonce.doctor.examination import CHECKS, examine
from mailonce.doctor.installation import Installation
from mailonce.errors import InvalidInput, LedgerUnavailable, NeverLeft
from mailonce.findings import Finding, Severity
from sandbox.aws import LocalAws
from sandbox.ses import SesStandIn
from tests.doctor.conftest import Install, bad, quickest
from tests.fake_ledger import MemoryLedger

FINE = Finding(severity=Severity.OK, check="fine", found="so it is.")


def fine(_: Installation) -> Iterator[Finding]:
    yield FINE


def test_what_stops_one_check_hides_no_other(install: Install) -> None:
    def broken(_: Installation) -> Iterator[Finding]:
        yield FINE
        raise RuntimeError("a fault of its own")

    def stopped(_: Installation) -> Iterator[Finding]:
        yield FINE
        raise InvalidInput(field="connection x", reason="it does not exist", remedy="Create it")

    examination = examine(install(), {"broken": broken, "stopped": stopped, "fine": fine})
    unknown, error = examination.of(Severity.UNKNOWN), examination.of(Severity.ERROR)
    assert examination.of(Severity.OK) == [FINE] * 3
    assert [finding.found for finding in unknown] == ["the check itself failed (RuntimeError: a fault of its own)."]
    assert [(each.check, each.found, each.remedy) for each in error] == [
        ("stopped", "connection x: it does not exist.", "Create it.")
    ]
    assert [type(failure) for failure in examination.failures] == [InvalidInput]


def test_one_trouble_is_told_once(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two services that are away are two errors, however many checks need them."""
    with SesStandIn() as ses:
        pass
    installation = install(services={"sesv2": ses.url})

    def away(_: Any) -> Any:
        raise LedgerUnavailable("the ledger is away")

    monkeypatch.setattr("mailonce.doctor.installation.open_ledger", away)
    examination = examine(installation)
    assert {type(failure) for failure in examination.failures} == {NeverLeft, LedgerUnavailable}
    assert len(examination.of(Severity.ERROR)) == 2


def test_every_trouble_comes_with_a_remedy(install: Install, ledger: MemoryLedger) -> None:
    ledger.epoch.here = "another place"
    extra = {"config_kwargs": {"read_timeout": 1}}
    with SesStandIn(sending_enabled=False, production_access=False, configuration_sets=[], max_24_hour_send=0) as ses:
        installation = install(services={"sesv2": ses.url}, extra=extra, settle_after=0, claim_window=5)
        findings = examine(installation).findings
    assert len(bad(findings)) >= 8
    assert all(finding.remedy for finding in findings if finding.severity in (Severity.WARNING, Severity.ERROR))
    assert all(finding.found.endswith(".") for finding in findings if finding.severity is not Severity.OK)


@pytest.mark.dynamodb
def test_a_healthy_installation_has_nothing_to_mend(
    install: Install, local_aws: LocalAws, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = local_aws.client("sqs")
    dead = client.create_queue(QueueName="healthy-dead")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    attributes = {"RedrivePolicy": f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": "5"}}'}
    queue = client.create_queue(QueueName="healthy", Attributes=attributes)["QueueUrl"]
    ledger.epoch.drained(datetime.now(timezone.utc))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(Path(__file__).resolve().parents[2] / "dags"))
    dags, broken = load_dags()

    class Publisher:
        def publish(self, event: Any) -> None: ...

    with SesStandIn(events=Publisher()) as ses:
        services = {"sesv2": ses.url, "sqs": local_aws.url, "sts": local_aws.url, "iam": local_aws.url}
        installation = install(services=services, events_queue_url=queue, dags=dags)
        findings = examine(installation).findings
        seconds = quickest(lambda: examine(Installation(installation.settings, dags=dags)))
        silent = {name for name, check in CHECKS.items() if not list(check(installation))}
        assert silent == {"overridden retries", "Brevo", "mail relay"}  # each other one has looked at something
    assert not broken
    assert {str(finding) for finding in findings if finding.severity is not Severity.OK} == set()
    assert seconds < 1
    assert ses.requests == []


def test_findings_of_the_ledger_itself_are_passed_on(install: Install, ledger: MemoryLedger) -> None:
    ledger.findings = [
        Finding(severity=Severity.WARNING, check="ledger", found="synchronous_commit is off.", remedy="x")
    ]
    assert ("warning", "ledger: synchronous_commit is off. x") in bad(examine(install()).findings)
