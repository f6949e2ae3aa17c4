"""``mailonce doctor``: what it prints, its exit codes, and the adoption of a ledger."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailonce import terminal
from mailonce.doctor import airflow_tasks, examination, installation
from mailonce.doctor import ledger as ledger_check
from mailonce.findings import Finding, Severity
from mailonce.terminal import output
from mailonce.workflow import ledger_witness
from mailonce.workflow.settings import Settings
from sandbox.ses import SesStandIn
from tests.fake_ledger import MemoryLedger

ROOT = Path(__file__).resolve().parents[2]


def finding(severity: Severity, check: str, remedy: str = "") -> Finding:
    return Finding(severity=severity, check=check, found="was looked at.", remedy=remedy)


FINE = finding(Severity.OK, "fine")
OPEN = finding(Severity.UNKNOWN, "open")
WORSE = finding(Severity.WARNING, "worse", "Mend it one day.")
WORST = finding(Severity.ERROR, "worst", "Mend it now: --reason '…'.")


@pytest.fixture(autouse=True)
def ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MemoryLedger:
    """A ledger in memory, and no Dags: what is not the command's own is tested in tests/doctor."""
    made = MemoryLedger()
    monkeypatch.setattr(installation, "open_ledger", lambda _: made)
    monkeypatch.setattr(output, "load_settings", lambda: Settings(snapshot_uri=f"file://{tmp_path}/snapshots"))
    monkeypatch.setattr(airflow_tasks, "load_dags", lambda: ([], {}))
    return made


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What is found."""
    findings: list[Finding] = []
    made = examination.Examination(findings=findings, failures=())
    monkeypatch.setattr(examination, "examine", lambda _: made)
    return findings


@pytest.mark.parametrize(
    ("findings", "code", "strict_code"),
    [([], 0, 0), ([FINE, OPEN], 0, 0), ([FINE, WORSE], 0, 1), ([WORST, WORSE], 2, 2), ([WORST], 2, 2)],
)
def test_exit_codes(found: list[Finding], findings: list[Finding], code: int, strict_code: int) -> None:
    found += findings
    assert terminal.main(["doctor"]) == code
    assert terminal.main(["doctor", "--strict"]) == strict_code


def test_what_is_worst_stands_last_with_its_remedy(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    found += [WORST, OPEN, WORSE, FINE]
    terminal.main(["doctor"])
    assert capsys.readouterr().out.splitlines() == [
        "✓ fine: was looked at.",
        "? open: was looked at.",
        "! worse: was looked at.",
        "    Mend it one day.",
        "✗ worst: was looked at.",
        "    Mend it now: --reason '…'.",
        "1 errors, 1 warnings, 1 not known, 1 in order",
    ]


@pytest.mark.parametrize(("encoding", "signs"), [("ascii", "ok ? ! X"), ("latin-1", "ok ? ! X"), ("utf-8", "✓ ? ! ✗")])
def test_a_terminal_that_shows_ascii_only(
    found: list[Finding], monkeypatch: pytest.MonkeyPatch, encoding: str, signs: str
) -> None:
    found += [FINE, OPEN, WORSE, WORST]
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding=encoding, write_through=True))
    terminal.main(["doctor"])
    lines = screen.getvalue().decode(encoding).splitlines()
    assert [line.split()[0] for line in lines if "was looked at" in line] == signs.split()
    assert ("'...'" in lines[-2]) == (encoding != "utf-8")


def test_for_programs(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    found += [WORST, FINE]
    assert terminal.main(["doctor", "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == [
        {"severity": "error", "check": "worst", "found": "was looked at.", "remedy": "Mend it now: --reason '…'."},
        {"severity": "ok", "check": "fine", "found": "was looked at.", "remedy": ""},
    ]


class TestAdoption:
    @pytest.fixture(autouse=True)
    def _only_the_ledger(self, monkeypatch: pytest.MonkeyPatch) -> None:
        examine = examination.examine
        monkeypatch.setattr(examination, "examine", lambda one: examine(one, {"ledger": ledger_check.check}))

    def test_a_ledger_that_forgot_is_adopted_by_a_person(
        self, ledger: MemoryLedger, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings = output.load_settings()
        ledger_witness.remember(settings, ledger, campaign="usage", period="2026-10")
        ledger.epoch._epoch = replace(ledger.epoch._epoch, runs=0)
        assert terminal.main(["doctor"]) == 2
        assert "it knows less than when it mailed usage.2026-10" in capsys.readouterr().out
        assert terminal.main(["doctor", "--adopt-ledger", "--reason", "compared", "--by", "ann"]) == 0
        shown = capsys.readouterr()
        assert f"adopted by ann: from now on the ledger's epoch is {ledger.epoch.read().id}" in shown.err
        assert "all of which it knows" in shown.out
        assert [(by, reason) for _, by, reason in ledger.epoch.adoptions] == [("ann", "compared")]
        assert terminal.main(["doctor"]) == 0

    @pytest.mark.parametrize("reason", [[], ["--reason", " "]])
    def test_not_without_a_reason(self, ledger: MemoryLedger, reason: list[str]) -> None:
        assert terminal.main(["doctor", "--adopt-ledger", *reason]) == 2
        assert ledger.epoch.adoptions == []

    def test_not_what_is_not_there(self, ledger: MemoryLedger, capsys: pytest.CaptureFixture[str]) -> None:
        ledger.findings = [Finding(severity=Severity.OK, check="table", found="There is no table x yet.")]
        assert terminal.main(["doctor", "--adopt-ledger", "--reason", "x"]) == 2
        assert "there is no ledger yet" in capsys.readouterr().err
        assert ledger.epoch.adoptions == []


@pytest.mark.postgres
def test_in_a_process_of_its_own(ses: SesStandIn, postgres: Any, tmp_path: Path) -> None:
    """As it is installed: settings and connections from Airflow, Dags from its folder, and nothing printed but JSON."""
    postgres.create_database("doctor_process")
    extra = {"region_name": "eu-central-1", "service_config": {"sesv2": {"endpoint_url": ses.url}}}
    aws = {"conn_type": "aws", "login": "sandbox", "password": "sandbox", "extra": extra}
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW_CONN_MAILONCE_LEDGER": json.dumps(postgres.connection("doctor_process")),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        "AIRFLOW__MAILONCE__SENDER": "Billing <billing@example.com>",
        "AIRFLOW__MAILONCE__CONFIGURATION_SET": "",
        "NO_PROXY": "127.0.0.1",
        # Where airflow_local_settings.py stands, too: it imports much of the package while Airflow is being imported.
        "PYTHONPATH": os.pathsep.join((str(ROOT / "plugins"), str(ROOT / "config"))),
        "PYTHONIOENCODING": "ascii",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mailonce.terminal", "doctor", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    answer = run("--json")
    findings = {(each["check"], each["severity"]) for each in json.loads(answer.stdout)}
    assert answer.returncode == 0
    assert {("one request a mail", "ok"), ("sender", "ok"), ("events queue", "warning")} <= findings
    assert any("monthly_usage_email.deliver" in each["found"] for each in json.loads(answer.stdout))
    shown = run("--strict")
    assert shown.returncode == 1
    assert "ok sender: billing@example.com is verified." in shown.stdout
    assert "Traceback" not in shown.stderr
    assert ses.requests == []
