"""The wheel: the same bytes each time, and everything in it that the package needs where nothing else of the project is."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from email.parser import HeaderParser
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import mailonce
from mailonce.compatibility import NEWEST, OLDEST
from sandbox.stack import ROOT
from tests.release.conftest import build, run

NAMES_OF_PLUGINS = """
import json
from airflow import plugins_manager
load = getattr(plugins_manager, "_get_plugins", None)
if load is None:
    plugins_manager.ensure_plugins_loaded()
    plugins, errors = plugins_manager.plugins, plugins_manager.import_errors
else:
    plugins, errors = load()
print(json.dumps([[each.name for each in plugins], errors]))
"""


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_built_again_it_is_the_same_to_the_byte(wheel: Path, tmp_path: Path) -> None:
    again = build(tmp_path)
    assert again.name == wheel.name
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()


def test_all_of_the_package_is_in_it(wheel: Path) -> None:
    inside = contents(wheel)
    for home, place in (
        ("plugins/mailonce", "mailonce"),
        ("dags", "mailonce/samples/dags"),
        ("include", "mailonce/samples/include"),
    ):
        files = [file for file in (ROOT / home).rglob("*") if file.is_file() and "__pycache__" not in file.parts]
        assert files
        for file in files:
            name = f"{place}/{file.relative_to(ROOT / home).as_posix()}"
            assert inside.get(name) == file.read_bytes(), name


def test_nothing_else_is_in_it(wheel: Path) -> None:
    strangers = [name for name in contents(wheel) if not re.match(r"mailonce/|mailonce-[\d.]+\.dist-info/", name)]
    assert not strangers
    assert not [name for name in contents(wheel) if name.endswith(".pyc")]


def metadata(wheel: Path) -> dict[str, list[str]]:
    (name,) = (name for name in contents(wheel) if name.endswith("dist-info/METADATA"))
    headers = HeaderParser().parsestr(contents(wheel)[name].decode())
    return {key: headers.get_all(key) or [] for key in headers}


def test_the_version_stands_in_one_place_and_the_changelog_tells_of_it(wheel: Path) -> None:
    assert metadata(wheel)["Version"] == [mailonce.__version__]
    assert "version" not in re.findall(r"^(\w+) *=", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert mailonce.__version__ in headings or "Unreleased" in headings


def test_it_allows_the_oldest_airflow_and_the_newest_that_are_tested_and_no_later_line(wheel: Path) -> None:
    wanted = {Requirement(each).name: Requirement(each).specifier for each in metadata(wheel)["Requires-Dist"]}
    airflow: SpecifierSet = wanted["apache-airflow"]
    assert OLDEST in airflow
    assert f"{NEWEST}.9" in airflow
    assert "3.4.0" not in airflow
    assert "3.0.5" not in airflow


def test_what_the_oldest_airflow_of_amazon_mwaa_has_is_allowed(wheel: Path) -> None:
    text = (ROOT / "deploy" / "mwaa" / "constraints.txt").read_text()
    held_to = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, flags=re.MULTILINE))
    assert held_to["apache-airflow"] == OLDEST
    for each in metadata(wheel)["Requires-Dist"]:
        requirement = Requirement(each)
        version = held_to.get(canonicalize_name(requirement.name))
        assert version is None or version in requirement.specifier, each


def test_what_is_installed_here_satisfies_it(wheel: Path) -> None:
    """The lock files were made from it."""
    for each in metadata(wheel)["Requires-Dist"]:
        requirement = Requirement(each)
        assert distribution(requirement.name).version in requirement.specifier, each


def test_the_plugin_is_registered_once_also_where_it_is_mounted_as_well(python: Path, tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "plugins" / "mailonce", tmp_path / "plugins" / "mailonce", ignore=shutil.ignore_patterns("*.pyc")
    )
    answer = run(
        python, "-c", NAMES_OF_PLUGINS,
        AIRFLOW_HOME=str(tmp_path), AIRFLOW__CORE__LOAD_EXAMPLES="False", AIRFLOW__CORE__PLUGINS_FOLDER=f"{tmp_path}/plugins",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.splitlines()[-1]) == [["mailonce"], {}]


def test_in_an_airflow_that_is_too_old_the_plugin_says_so_in_a_line_and_offers_nothing(
    python: Path, tmp_path: Path
) -> None:
    program = "import airflow; airflow.__version__ = '3.0.2'\n" + NAMES_OF_PLUGINS.replace(
        "each.name", "[each.name, each.fastapi_apps, each.operator_extra_links]"
    )
    answer = run(python, "-c", program, AIRFLOW_HOME=str(tmp_path), AIRFLOW__CORE__LOAD_EXAMPLES="False")
    assert json.loads(answer.stdout.splitlines()[-1]) == [[["mailonce", [], []]], {}]
    said = answer.stdout + answer.stderr
    assert said.count(f"mailonce needs Apache Airflow {OLDEST} or newer, and this is 3.0.2") == 1
    assert "Traceback" not in said


def test_an_airflow_that_is_too_old_is_told_so_in_one_sentence(python: Path, tmp_path: Path) -> None:
    program = (
        "import airflow, sys; airflow.__version__ = '3.0.2'\n"
        "from mailonce.terminal import main\nsys.exit(main(['status']))"
    )
    answer = run(python, "-c", program, AIRFLOW_HOME=str(tmp_path))
    assert (answer.returncode, answer.stdout) == (2, "")
    (said,) = [line for line in answer.stderr.splitlines() if line.startswith("mailonce: ")]
    assert said.startswith(f"mailonce: mailonce needs Apache Airflow {OLDEST} or newer, and this is 3.0.2")
    assert "Traceback" not in answer.stderr
