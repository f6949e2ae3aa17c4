"""A wheel, and an Airflow that has it and nothing else of this project."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from sandbox.stack import ROOT

OTHER_AIRFLOW = os.environ.get("MAILONCE_COMPAT_PYTHON", "")
"""An interpreter with another Airflow, which `make compat` names; the wheel is in it already."""

_OURS = ("mailonce", "_mailonce", "__editable__")


def build(folder: Path) -> Path:
    """Build the wheel as `make wheel` does, into an empty folder."""
    program = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1767225600"}
    subprocess.run(program, env=environment, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the locked libraries and the wheel, and not this checkout."""
    if OTHER_AIRFLOW:
        return Path(OTHER_AIRFLOW).absolute()
    home = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(home, symlinks=True)
    libraries = Path(sysconfig.get_path("purelib"))
    (target,) = (home / "lib").glob("python*/site-packages")
    for each in libraries.iterdir():
        # Linked, not copied: nothing is installed twice. Without .pth files, which lead to this checkout.
        if not each.name.startswith(_OURS) and each.suffix != ".pth" and not (target / each.name).exists():
            (target / each.name).symlink_to(each)
    fresh = home / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", fresh, wheel],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return fresh


def run(python: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the environment's Python, with nothing of ours on its path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    return subprocess.run(
        [python, *arguments], env={**kept, **environment}, capture_output=True, text=True, check=False, cwd="/"
    )
