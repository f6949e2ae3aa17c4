"""Clocks that disagree: the ledger's moved, the provider's in the Date header of its answers."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from mailonce.doctor import clocks
from mailonce.doctor.examination import examine
from mailonce.findings import Severity
from tests.doctor.aws_stub import AwsStub, Reply, refusal
from tests.doctor.conftest import Install, bad, only
from tests.fake_ledger import MemoryLedger

CASES = [
    (timedelta(0), Severity.OK),
    (timedelta(seconds=25), Severity.OK),
    (timedelta(seconds=40), Severity.WARNING),
    (timedelta(minutes=4), Severity.WARNING),
    (timedelta(minutes=6), Severity.ERROR),
]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("skew", "severity"), CASES)
def test_the_ledger_s_clock(
    install: Install, ledger: MemoryLedger, skew: timedelta, severity: Severity, sign: int
) -> None:
    ledger.epoch._now = lambda: datetime.now(timezone.utc) + sign * skew
    finding = only(clocks.ledger(install()), clocks.CLOCKS)
    assert finding.severity is severity
    assert bool(finding.remedy) == (severity is not Severity.OK)
    if severity is not Severity.OK:
        assert ("behind" if sign > 0 else "ahead of") in finding.found


@pytest.mark.parametrize(("skew", "severity"), CASES)
def test_the_provider_s_clock(install: Install, stub: AwsStub, skew: timedelta, severity: Severity) -> None:
    date = format_datetime(datetime.now(timezone.utc) + skew, usegmt=True)
    stub.answers["GET /v2/email/account"] = Reply("{}", headers={"Date": date})
    finding = only(clocks.provider(install(services={"sesv2": stub.url})), clocks.CLOCKS)
    assert finding.severity is severity
    assert "the provider's clock" in finding.found


def test_a_slow_answer_is_no_skew() -> None:
    """Half a round trip may have passed on either way: so much is not known, and held against nobody."""
    before = datetime.now(timezone.utc)
    found = clocks._compared("the ledger's", before, before, before + timedelta(seconds=100))
    assert found.severity is Severity.OK
    found = clocks._compared("the ledger's", before - timedelta(minutes=1), before, before + timedelta(seconds=2))
    assert found.severity is Severity.WARNING


def test_a_provider_that_may_not_be_asked_tells_no_time(install: Install, stub: AwsStub) -> None:
    stub.answers["GET /v2/email/account"] = refusal("AccessDeniedException")
    finding = only(clocks.provider(install(services={"sesv2": stub.url})), clocks.CLOCKS)
    assert finding.severity is Severity.UNKNOWN


def test_the_connection_is_opened_before_the_clock_is_read(
    install: Install, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, slow = ledger.epoch.read, [0.2]

    def first_slowly() -> Any:
        time.sleep(slow.pop() if slow else 0)
        return read()

    monkeypatch.setattr(ledger.epoch, "read", first_slowly)
    assert "0 s" in only(clocks.ledger(install()), clocks.CLOCKS).found


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"settle_after": 1199}, "a request may still be accepted after that"),
        ({"settle_after": 0}, "a request may still be accepted after that"),
        ({"claim_window": 24}, "shorter than a request may take (25 s)"),
    ],
)
def test_stages_that_are_too_short(install: Install, settings: Any, said: str) -> None:
    ((severity, text),) = bad(examine(install(**settings), {"stages": clocks.stages}).findings)
    assert severity == "warning"
    assert said in text


def test_the_usual_stages_are_long_enough(install: Install) -> None:
    assert bad(clocks.stages(install())) == []
    patient = install(extra={"config_kwargs": {"read_timeout": 58}})
    assert "shorter than a request may take (63 s)" in bad(clocks.stages(patient))[0][1]
