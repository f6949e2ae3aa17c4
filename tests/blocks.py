"""What the documents tell their readers to write, so that tests can do as a reader does."""

from __future__ import annotations

import re
from pathlib import Path

from mailonce.terminal import main

DOCUMENTS = Path(__file__).resolve().parents[1] / "docs"
FILE = re.compile(r"`(include/[\w./]+)`:\n\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SCHEDULE = re.compile(r"^```text\n(    schedule=.*)\n```$", re.MULTILINE)
PRODUCER = re.compile(r"^```python\n(from airflow\.sdk import .*?)^```$", re.DOTALL | re.MULTILINE)
SCHEDULE_OF_THE_DAG = re.compile(r"^    schedule=.*$", re.MULTILINE)


def files_of(document: str) -> dict[str, str]:
    """Return the files that a document asks for, by path: each is named in the line before its block."""
    return dict(FILE.findall((DOCUMENTS / document).read_text(encoding="utf-8")))


def producer_of(document: str) -> str:
    """Return the Dag file that a document shows: the only one that it shows from its first line on."""
    (dag,) = PRODUCER.findall((DOCUMENTS / document).read_text(encoding="utf-8"))
    return str(dag)


def write_campaign(home: Path) -> None:
    """Do below a folder what docs/authors.md says, up to the point at which its reader looks at the mails."""
    assert main(["new", "traffic_report", "--dags", str(home / "dags"), "--include", str(home / "include")]) == 0
    (home / "include" / "templates" / "traffic_report" / "headers.txt.j2").unlink()
    for place, text in files_of("authors.md").items():
        assert (home / place).is_file(), f"{place} is not among what `mailonce new` writes"
        (home / place).write_text(text, encoding="utf-8")


def schedule_of(document: str) -> str:
    """Return the line about the schedule that a document has its reader write at last."""
    (line,) = SCHEDULE.findall((DOCUMENTS / document).read_text(encoding="utf-8"))
    return str(line)


def set_schedule(home: Path, line: str) -> None:
    """Replace the one line of the campaign's Dag that begins with ``schedule=``."""
    file = home / "dags" / "traffic_report_email.py"
    text, replaced = SCHEDULE_OF_THE_DAG.subn(line, file.read_text(encoding="utf-8"))
    assert replaced == 1
    file.write_text(text, encoding="utf-8")
