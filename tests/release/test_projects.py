"""What hosted Airflows are given. Whether those take it was not tried: here is what their documentation asks for."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from airflow.dag_processing.dagbag import BundleDagBag

import mailonce
from mailonce import terminal
from release.mwaa import PLUGINS, bundle
from sandbox.stack import ROOT


def test_amazon_mwaa_gets_the_wheel_the_requirements_and_dags_that_find_their_files(
    wheel: Path, tmp_path: Path
) -> None:
    bundle(wheel, tmp_path / "mwaa")
    with zipfile.ZipFile(tmp_path / "mwaa" / "plugins.zip") as archive:
        assert archive.namelist() == [wheel.name]
        assert archive.read(wheel.name) == wheel.read_bytes()
    requirements = (tmp_path / "mwaa" / "requirements.txt").read_text().splitlines()
    assert requirements == [f"--find-links {PLUGINS}", f"mailonce=={mailonce.__version__}"]
    # Only this folder is synchronized, wherever that is on a worker.
    dags = (tmp_path / "mwaa" / "dags").rename(tmp_path / "dags")
    bag = BundleDagBag(dags, bundle_path=dags, bundle_name="mwaa")
    assert not bag.import_errors
    root = Path(bag.dags["monthly_usage_email"].get_task("deliver").partial_kwargs["template_root"])
    assert root == dags / "include" / "templates"
    assert root.is_dir()


def test_the_same_wheel_gives_the_same_archive(wheel: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        bundle(wheel, tmp_path / name)
    assert (tmp_path / "one" / "plugins.zip").read_bytes() == (tmp_path / "two" / "plugins.zip").read_bytes()


def test_the_options_of_the_environment_are_settings_that_exist() -> None:
    from mailonce.workflow.settings import Settings

    text = (ROOT / "docs" / "installing.md").read_text()
    named = set(re.findall(r"^mailonce\.(\w+) *=", text, flags=re.MULTILINE))
    assert named >= {"sender", "snapshot_uri"}
    assert named <= set(Settings.__dataclass_fields__)


def test_an_astro_project_has_its_folders_where_ours_are(tmp_path: Path) -> None:
    assert terminal.main(["new", "--dags", str(tmp_path / "dags")]) == 0
    assert {folder.name for folder in tmp_path.iterdir()} == {"dags", "include"}
    dockerfile = (ROOT / "deploy" / "astronomer" / "Dockerfile").read_text()
    steps = [line.split(maxsplit=1) for line in dockerfile.splitlines() if line and not line.startswith(("#", " "))]
    assert [step for step, _ in steps] == ["ARG", "FROM", "RUN"]
    # The base image's own build steps have copied the project by then.
    assert "./mailonce-*.whl" in steps[-1][1]
