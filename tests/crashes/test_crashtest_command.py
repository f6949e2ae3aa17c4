"""``mailonce crashtest``: on the ledger of Airflow's configuration, with a campaign's own templates."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mailonce import terminal
from mailonce.crashes.points import quick_cases
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from sandbox.aws import ACCESS_KEY, REGION, SECRET_KEY, LocalAws
from sandbox.postgres import EmbeddedPostgres
from tests.conftest import Connect
from tests.crashes import ledgers

INCLUDE = Path(__file__).resolve().parents[2] / "include"
PAGE = INCLUDE.parent / "docs" / "crash-matrix.md"
ROW = PAGE.read_text(encoding="utf-8").partition("> row.json <<'EOF'\n")[2].partition("\nEOF\n")[0]
"""The row of the manual, which is to be usable as it stands there."""


@pytest.fixture
def configured(request: pytest.FixtureRequest, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger that Airflow's configuration names."""
    table = f"ledger_{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("AIRFLOW__MAILONCE__LEDGER_TABLE", table)
    monkeypatch.setenv("AIRFLOW__MAILONCE__TEMPLATE_ROOT", str(INCLUDE / "templates"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    if request.param == "postgres":
        postgres: EmbeddedPostgres = request.getfixturevalue("postgres")
        opened = ledgers.postgres(postgres.create_database("crashes"), table)
        connect("mailonce_ledger", **postgres.connection("crashes"))
    else:
        local_aws: LocalAws = request.getfixturevalue("local_aws")
        opened = ledgers.dynamodb(local_aws.url, table)
        extra = {"region_name": REGION, "endpoint_url": local_aws.url}
        connect("mailonce_ledger", conn_type="aws", login=ACCESS_KEY, password=SECRET_KEY, extra=extra)
    with closing(opened) as ledger:
        yield ledger


@pytest.fixture
def row(tmp_path: Path) -> Path:
    file = tmp_path / "row.json"
    file.write_text(ROW, encoding="utf-8")
    return file


def run(*arguments: Any) -> int:
    return terminal.main(["crashtest", "--quick", *map(str, arguments)])


@pytest.mark.postgres
@pytest.mark.parametrize("configured", ["postgres"], indirect=True)
def test_the_campaign_is_crashed_and_nothing_stays_held(
    configured: Ledger, row: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--campaign", "monthly_usage", "--row", row, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["cases"]) == len(list(quick_cases()))
    assert all(case["ok"] and case["mails"] <= 1 for case in answer["cases"])
    assert answer["left_open"] == []
    rows = list(configured.of_month(answer["campaign"], "crashtest"))
    assert len(rows) == len(answer["cases"])
    assert {entry.state for entry in rows} == {State.SENT, State.CANCELLED}
    # No customer is named: asking the ledger about one must not bring up a test.
    assert not list(configured.of_address(json.loads(ROW)["email"]))


@pytest.mark.dynamodb
@pytest.mark.parametrize("configured", ["dynamodb"], indirect=True)
def test_without_a_campaign_it_mails_something_plain_and_says_what_it_did(
    configured: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    said = capsys.readouterr().out
    assert "No mail leaves this machine" in said
    assert "at most 1 a key; none ended otherwise than promised." in said
    assert "none is held" in said


def test_a_campaign_needs_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--campaign", "monthly_usage") == 2
    assert "together" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "said"), [("[1]", "no file with a JSON object"), ("{", "no file with a JSON object"),
                                               ('{"recipient_id": "C-1"}', "email")])  # fmt: skip
def test_an_unusable_row_is_refused_by_name(
    row: Path, content: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MAILONCE__TEMPLATE_ROOT", str(INCLUDE / "templates"))
    row.write_text(content, encoding="utf-8")
    assert run("--campaign", "monthly_usage", "--row", row) == 2
    assert said in capsys.readouterr().err
