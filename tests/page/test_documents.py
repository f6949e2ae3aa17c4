"""What tasks wrote beside a snapshot: given out as it is, and nothing else of the folder."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from mailonce.page import runs
from mailonce.page.headers import DOCUMENT_POLICY
from mailonce.workflow.reporting.files import file_name
from mailonce.workflow.snapshot import folder
from tests.page.conftest import NASTY, SignIn, row_of

RUN = "manual__2030-02-01T09:00:00+00:00"


def written(plan: Any) -> tuple[str, str]:
    """Plan a month, and leave what its tasks would. Returns the snapshot's folder, and its address on the page."""
    snapshot = plan(row_of("C-1"))
    home = folder(snapshot.uri)
    for path in ("report.html", f"runs/{file_name(RUN)}/report.html", "preview/index.html", "secret.html"):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(f"<h1>{path}</h1>")
    return snapshot.uri, "/documents/usage/2030-01/original/" + snapshot.uri.rpartition("/")[2]


def test_a_run_s_own_report_and_plan_are_two_clicks_from_its_tab(
    ann: TestClient, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, _ = written(plan)
    monkeypatch.setattr(runs, "run_snapshot", lambda *_: uri)
    month = ann.get(ann.get(f"/runs/usage_email/{RUN}").headers["location"]).text
    for title, path in (
        ("Report of this run", f"runs/{file_name(RUN)}/report.html"),
        ("Plan and preview", "preview/index.html"),
    ):
        link = month.partition(f">{title}</a>")[0].rpartition('href="')[2].rstrip('"')
        answer = ann.get(link)
        assert answer.text == f"<h1>{path}</h1>"
        assert answer.headers["content-security-policy"] == DOCUMENT_POLICY


def test_the_month_leads_to_the_latest_report(ann: TestClient, plan: Any) -> None:
    assert "To read" not in ann.get("/months/usage/2030-01").text
    _, address = written(plan)
    page = ann.get("/months/usage/2030-01").text
    assert f'href="{address}/report.html">Report of the latest run</a>' in page
    assert "Report of" not in ann.get("/months/usage/2030-01", params={"edition": "corrected-1"}).text


def test_a_document_may_neither_run_anything_nor_fetch_anything() -> None:
    assert DOCUMENT_POLICY.startswith("default-src 'none'")
    assert "script-src" not in DOCUMENT_POLICY


@pytest.mark.parametrize(
    "path",
    ["rows.jsonl", "manifest.json", "secret.html", "preview/../rows.jsonl", "preview/%2e%2e/rows.jsonl",
     "%2e%2e/report.html", "runs/x/report.html", "runs/%2e%2e%2freport.html", "preview", "report.html/", "/etc/passwd", "", NASTY],
)  # fmt: skip
def test_nothing_else_is_given_out(ann: TestClient, plan: Any, path: str) -> None:
    _, address = written(plan)
    answer = ann.get(f"{address}/{path}")
    assert answer.status_code == 404
    assert "units" not in answer.text


@pytest.mark.parametrize(
    "place", ["us..age/2030-01/original/" + "0" * 20, "usage/2030-01/original/..", "usage/2030-01/%2e%2e/" + "0" * 20]
)
def test_no_path_leads_out_of_the_snapshots(ann: TestClient, place: str) -> None:
    assert ann.get(f"/documents/{place}/report.html").status_code == 404


def test_who_may_not_see_the_campaign_reads_none_of_it(
    sign_in: SignIn, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, address = written(plan)
    ann = sign_in("ann")
    assert ann.get(f"{address}/report.html").status_code == 200
    monkeypatch.setattr("mailonce.page.access.Viewer.may_see", lambda *_: False)
    assert ann.get(f"{address}/report.html").status_code == 403
