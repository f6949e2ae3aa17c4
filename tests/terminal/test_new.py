"""``mailonce new``: Dags, query and templates in somebody's own project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import BundleDagBag

from mailonce import terminal
from mailonce.messages.templates import Templates
from sandbox.stack import ROOT


def new(*arguments: str | Path) -> int:
    return terminal.main(["new", *map(str, arguments)])


def files_below(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def parsed(dags: Path) -> BundleDagBag:
    bag = BundleDagBag(dags, bundle_path=dags, bundle_name="new")
    assert not bag.import_errors
    return bag


def test_without_a_name_the_samples_are_written_as_they_are(tmp_path: Path) -> None:
    assert new("--dags", tmp_path / "dags") == 0
    written = files_below(tmp_path)
    for file, content in written.items():
        assert (ROOT / file).read_bytes() == content, file
    assert {"dags/monthly_usage_email.py", "dags/reconcile_usage_email.py", "include/sql/monthly_usage.sql"} <= set(
        written
    )


def test_a_campaign_of_ones_own_is_a_dag_a_query_and_templates_of_that_name(tmp_path: Path) -> None:
    assert new("traffic_report", "--dags", tmp_path / "dags") == 0
    written = files_below(tmp_path)
    assert [file for file in written if file.startswith("dags/")] == ["dags/traffic_report_email.py"]
    assert not [file for file, content in written.items() if file.endswith(".py") and b"monthly_usage" in content]
    dag = parsed(tmp_path / "dags").dags["traffic_report_email"]
    deliver = dag.get_task("deliver")
    assert deliver.partial_kwargs["campaign"] == "traffic_report"
    root = Path(deliver.partial_kwargs["template_root"])
    assert root == tmp_path / "include" / "templates"
    assert Templates.of_campaign("traffic_report", root)
    assert (tmp_path / "include" / "sql" / "traffic_report.sql").is_file()


def test_query_and_templates_may_stand_inside_the_dags_folder(tmp_path: Path) -> None:
    assert new("--dags", tmp_path / "dags", "--include", tmp_path / "dags" / "include") == 0
    dag = parsed(tmp_path / "dags").dags["monthly_usage_email"]
    root = Path(dag.get_task("deliver").partial_kwargs["template_root"])
    assert root == tmp_path / "dags" / "include" / "templates"
    assert root.is_dir()


def test_what_is_there_is_never_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "include" / "templates" / "monthly_usage" / "subject.txt.j2"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert new("--dags", tmp_path / "dags") == 2
    assert files_below(tmp_path) == {"include/templates/monthly_usage/subject.txt.j2": b"mine"}
    said = capsys.readouterr().err
    assert str(mine) in said
    assert "nothing was written" in said


@pytest.mark.parametrize("name", ["Traffic", "traffic-report", "../traffic", "1st", ""])
def test_a_name_that_names_no_files_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new(name, "--dags", tmp_path / "dags") == 2
    assert "CAMPAIGN" in capsys.readouterr().err
    assert not files_below(tmp_path)


def test_programs_are_told_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new("traffic_report", "--dags", tmp_path / "dags", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dag"] == "traffic_report_email"
    assert {Path(file) for file in told["files"]} == {file for file in tmp_path.rglob("*") if file.is_file()}


def test_without_folders_it_writes_where_airflow_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "home" / "dags"))
    assert new() == 0
    assert (tmp_path / "home" / "include" / "sql" / "monthly_usage.sql").is_file()
    assert "mailonce preview" in capsys.readouterr().out
