"""The plugin as somebody else's pytest sees it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from sandbox.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
FEW = "recorded-accept-retried or before_claim-not_asked-cleared"
LEDGER = "tests.crashes.ledgers:from_environment"


@pytest.fixture
def environment(postgres: EmbeddedPostgres) -> dict[str, str]:
    return {"TEST_CONNINFO": postgres.create_database("crashes"), "TEST_TABLE": f"ledger_{uuid.uuid4().hex[:12]}"}


def run_pytest(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_it_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import sys\n"
        "def test_own():\n"
        "    ours = {name for name in sys.modules if name.split('.')[0] == 'mailonce'}\n"
        "    assert ours == {'mailonce', 'mailonce.crashes', 'mailonce.crashes.pytest_plugin'}\n"
        "    assert not {'boto3', 'botocore', 'psycopg', 'airflow', 'jinja2'} & set(sys.modules)\n",
        encoding="utf-8",
    )
    code, said = run_pytest(tmp_path)
    assert code == 0, said
    assert "1 passed" in said


@pytest.mark.postgres
def test_the_suite_runs_as_it_is(tmp_path: Path, environment: dict[str, str]) -> None:
    arguments = ("--pyargs", "mailonce.crashes.suite", "--mailonce-crash-ledger", LEDGER, "-k", FEW)
    code, said = run_pytest(tmp_path, *arguments, **environment)
    assert code == 0, said
    assert "4 passed" in said


@pytest.mark.postgres
def test_it_can_be_imported_into_a_test_file_and_the_ledger_named_in_the_configuration(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nmailonce_crash_ledger = {LEDGER}\n", encoding="utf-8")
    (tmp_path / "test_ours.py").write_text("from mailonce.crashes.suite import test_crash_matrix\n", encoding="utf-8")
    code, said = run_pytest(tmp_path, "-k", FEW, **environment)
    assert code == 0, said
    assert "4 passed" in said


@pytest.mark.postgres
def test_a_ledger_that_breaks_the_promise_fails_by_name(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "lease.py").write_text(
        "from tests.crashes.broken import LeaseLedger\n"
        "from tests.crashes.ledgers import from_environment\n"
        "def open_ledger():\n"
        "    return LeaseLedger(from_environment())\n",
        encoding="utf-8",
    )
    arguments = ("--pyargs", "mailonce.crashes.suite", "-k", "on_the_wire-accept_silently-retried-another")
    # What pytest can import, so can the workers.
    code, said = run_pytest(tmp_path, "--mailonce-crash-ledger", "lease:open_ledger", *arguments, **environment)
    assert code == 1, said
    assert "2 mails for one key" in said


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((), "the crash matrix needs a ledger"),
        (("--mailonce-crash-ledger", "nowhere:nothing"), "names nothing that can be called"),
        (("--mailonce-crash-ledger", "nowhere"), "names nothing that can be called"),
    ],
)
def test_without_a_ledger_it_says_what_it_needs(tmp_path: Path, arguments: tuple[str, ...], wanted: str) -> None:
    code, said = run_pytest(tmp_path, "--pyargs", "mailonce.crashes.suite", "-k", "recorded-accept-retried", *arguments)
    assert code != 0
    assert wanted in said
