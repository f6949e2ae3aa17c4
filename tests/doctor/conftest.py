"""An installation to examine: real settings and connections, a stand-in for SES, a ledger in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailonce.doctor import installation as installation_module
from mailonce.doctor.installation import Installation
from mailonce.findings import Finding, Severity
from mailonce.workflow.settings import Settings
from sandbox.ses import SesStandIn
from tests.doctor.aws_stub import AwsStub
from tests.fake_ledger import MemoryLedger

Install = Callable[..., Installation]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*PROXIES, "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> MemoryLedger:
    made = MemoryLedger()
    monkeypatch.setattr(installation_module, "open_ledger", lambda _: made)
    return made


@pytest.fixture
def stub() -> Iterator[AwsStub]:
    with AwsStub() as started:
        yield started


@pytest.fixture
def install(connect: Any, ses: SesStandIn, ledger: MemoryLedger, tmp_path: Path) -> Install:
    """Make an installation.

    :param services: where a service is, by its name; SES is the stand-in, if nothing is said.
    :param extra: of the connection. :param dags: to look at. Whatever else is given is a setting.
    """

    def make(
        *,
        services: Any = None,
        extra: Any = None,
        dags: Any = (),
        campaign: str = "",
        period: str = "",
        **settings: Any,
    ) -> Installation:
        places = {"sesv2": ses.url, **(services or {})}
        config = {name: {"endpoint_url": url} for name, url in places.items()}
        given = {"region_name": "eu-central-1", "service_config": config, **(extra or {})}
        connect("aws_default", conn_type="aws", login="AKIDEXAMPLE", password="secret", extra=given)
        usual = {
            "sender": "Billing <billing@mail.example.com>",
            "configuration_set": "statements",
            "snapshot_uri": f"file://{tmp_path}/snapshots",
        }
        return Installation(Settings(**{**usual, **settings}), dags=dags, campaign=campaign, period=period)

    return make


def bad(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """What is not as it should be: severity and text, without what is only unknown."""
    return [
        (finding.severity.value, str(finding))
        for finding in findings
        if finding.severity in (Severity.WARNING, Severity.ERROR)
    ]


def only(findings: Iterable[Finding], check: str) -> Finding:
    """The one finding about this."""
    (finding,) = (each for each in findings if each.check == check)
    return finding


def quickest(work: Callable[[], object]) -> float:
    """Seconds that it takes when nothing gets in its way: a busy machine is slow now and then, but not thrice."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)
