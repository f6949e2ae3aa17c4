"""Which files of a month there are, which of them name a person, and deleting them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mailonce.workflow.kept_files import KeptFiles, Kind
from sandbox.aws import LocalAws

FOLDER = "usage/2026-10/original/0f0f"
CONTENT = {
    f"{FOLDER}/rows.jsonl": (
        '{"key":"k1","recipient_id":"42","email":"ann@example.com","fields":{"units":7}}\n'
        '{"key":"k2","recipient_id":"43","email":"bob@example.com","fields":{"units":42}}\n'
    ),
    f"{FOLDER}/rejects.jsonl": '{"row": "44", "field": "email", "reason": "Ann@Example.com, twice"}\n',
    f"{FOLDER}/manifest.json": '{"rows": 42}',
    f"{FOLDER}/preview/k1.json": json.dumps({"recipient_id": "42", "to": "ann@example.com"}, indent=2),
    f"{FOLDER}/preview/k1.html": "<p>42 units</p>",
    f"{FOLDER}/plan.json": '{"exceptions": [{"recipient_id": "42", "why": "x"}]}',
    f"{FOLDER}/report.json": '{"sent": 42}',
    f"{FOLDER}/runs/r1/exceptions.csv": "kind,recipient_id,state\r\nheld,42,IN_DOUBT\r\n",
    f"{FOLDER}/runs/r2/exceptions.csv": "kind,recipient_id,state\r\nheld,142,IN_DOUBT\r\n",
    "usage/2026-10/certificate.20261101T090000Z.0f.jsonl": '{"recipient_id":"42","state":"SENT"}\n',
    "usage/2026-11/original/1e1e/rows.jsonl": '{"recipient_id":"7","email":"ann@example.com.au"}\n',
    "welcome/2026-10/original/2d2d/rows.jsonl": '{"recipient_id":"w","email":"ann@example.com"}\n',
    "events/set-aside/2026-11-01/aa.json": '{"body": "{\\"to\\": \\"ann@example.com\\"}"}',
    "triggers/set-aside/2026-11-01/bb.json": '{"body": "{}"}',
    "ledger/abc/usage.2026-10.json": "{}",
}


@pytest.fixture
def files(tmp_path: Path) -> KeptFiles:
    for path, content in CONTENT.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content.encode())
    return KeptFiles(f"file://{tmp_path}")


def test_every_file_of_a_month_is_known_for_what_it_is(files: KeptFiles) -> None:
    kinds = {file.path.removeprefix("usage/2026-10/"): file.kind for file in files.of_months("usage", "2026-10")}
    inside = "original/0f0f"
    assert kinds == {
        "certificate.20261101T090000Z.0f.jsonl": Kind.CERTIFICATE,
        **{f"{inside}/{name}": Kind.SNAPSHOT for name in ("manifest.json", "rejects.jsonl", "rows.jsonl")},
        **{f"{inside}/preview/k1.{suffix}": Kind.PREVIEW for suffix in ("html", "json")},
        f"{inside}/plan.json": Kind.PLAN,
        f"{inside}/report.json": Kind.REPORT,
        **{f"{inside}/runs/r{number}/exceptions.csv": Kind.REPORT for number in (1, 2)},
    }
    assert {file.period for file in files.of_months("usage")} == {"2026-10", "2026-11"}
    assert {file.campaign for file in files.of_months()} == {"usage", "welcome"}
    assert [file.kind for file in files.set_aside()] == [Kind.SET_ASIDE] * 2
    assert list(files.of_months("no_such_campaign")) == []


def names(files: KeptFiles, *texts: str) -> set[str]:
    everything = [*files.of_months(), *files.set_aside()]
    return {file.path.rpartition("0f0f/")[2] for file in files.naming(everything, texts)}


def test_an_id_that_is_a_number_is_not_found_in_other_peoples_figures(files: KeptFiles) -> None:
    certificate = "usage/2026-10/certificate.20261101T090000Z.0f.jsonl"
    assert names(files, "42") == {"rows.jsonl", "preview/k1.json", "plan.json", "runs/r1/exceptions.csv", certificate}
    rows = next(file for file in files.of_months("usage", "2026-10") if file.path.endswith("rows.jsonl"))
    assert [row["key"] for row in files.rows(rows, ["42"])] == ["k1"]


def test_an_address_is_found_wherever_it_stands_and_no_longer_one(files: KeptFiles) -> None:
    assert names(files, "ann@example.com") == {
        "rows.jsonl",
        "rejects.jsonl",
        "preview/k1.json",
        "welcome/2026-10/original/2d2d/rows.jsonl",
        "events/set-aside/2026-11-01/aa.json",
    }
    assert names(files, "nobody@example.com", "(.*)") == set()


def test_a_snapshot_goes_as_a_whole_and_a_message_alone(files: KeptFiles, tmp_path: Path) -> None:
    (found,) = files.naming(files.of_months("usage", "2026-11"), ["7"])
    assert found.folder == "usage/2026-11/original/1e1e"
    aside = next(files.set_aside())
    for path in (found.folder, aside.folder, found.folder):
        files.delete(path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(CONTENT) - {found.path, aside.path}


@pytest.mark.dynamodb
def test_in_s3_through_an_airflow_connection(
    local_aws: LocalAws, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    extra = {"region_name": "eu-central-1", "endpoint_url": local_aws.url}
    connect("aws_default", conn_type="aws", login="local", password="local", extra=extra)
    client = local_aws.client("s3")
    client.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for path, content in CONTENT.items():
        client.put_object(Bucket="kept", Key=f"mail/{path}", Body=content.encode())
    files = KeptFiles("s3://aws_default@kept/mail")
    assert {file.campaign for file in files.of_months()} == {"usage", "welcome"}
    assert "rows.jsonl" in names(files, "42")
    assert files.text(f"{FOLDER}/preview/k1.html") == "<p>42 units</p>"
    assert files.text(f"{FOLDER}/preview/k1.txt") is None
    aside = next(files.set_aside())
    for path in (FOLDER, aside.folder, FOLDER):
        files.delete(path)
    left = {each["Key"].removeprefix("mail/") for each in client.list_objects_v2(Bucket="kept")["Contents"]}
    assert left == {path for path in CONTENT if not path.startswith(FOLDER)} - {aside.path}
