"""Which tests may run in several processes at once (``pytest -n``).

Those of one file follow one another in one process, and so do all that start Airflow. These come first: they take the longest,
and leave the processors to the others while they wait. (The marks of pytest-xdist for this, ``xdist_group``, do nothing with
pytest 9.2.)
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[1]
STARTS_AIRFLOW = re.compile(r"pytest\.mark\.(airflow|browser|distributed)\b")


class SideBySide(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "airflow" if starts_airflow(ROOT / file) else file


@cache
def starts_airflow(file: Path) -> bool:
    return STARTS_AIRFLOW.search(file.read_text(encoding="utf-8")) is not None
