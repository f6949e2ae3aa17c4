"""What an environment of Amazon MWAA is given: plugins.zip with the wheel, requirements.txt that installs it, the Dags.

MWAA unpacks plugins.zip into /usr/local/airflow/plugins on every container, then installs requirements.txt, held to
its own constraints (Amazon MWAA User Guide, "Installing Python dependencies"); of the bucket's other files it
synchronizes the Dags folder only, so query and templates stand in there.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from mailonce import __version__
from mailonce.terminal import main as mailonce

PLUGINS = "/usr/local/airflow/plugins"
_TIME = (1980, 1, 1, 0, 0, 0)


def bundle(wheel: Path, folder: Path) -> None:
    """Write ``plugins.zip``, ``requirements.txt`` and ``dags/`` into a folder: what goes into the environment's bucket."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "plugins.zip", "w") as archive:
        # Without the time of the day: the same wheel makes the same archive.
        archive.writestr(zipfile.ZipInfo(wheel.name, _TIME), wheel.read_bytes())
    # No constraints of our own: MWAA adds those of its Airflow where a file names none.
    (folder / "requirements.txt").write_text(f"--find-links {PLUGINS}\nmailonce=={__version__}\n", encoding="utf-8")
    if mailonce(["new", "--dags", str(folder / "dags"), "--include", str(folder / "dags" / "include")]):
        raise SystemExit(2)


if __name__ == "__main__":
    bundle(Path(sys.argv[1]), Path(sys.argv[2]))
