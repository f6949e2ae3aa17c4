"""The report as files beside the snapshot.

::

    report.json                    the latest run's, for programs
    report.html                    the same for people
    runs/<run>/report.json         each run's own, the latest one's too
    runs/<run>/report.html
    runs/<run>/exceptions.csv      everybody by name whom the report counts as an exception

``<run>`` is the run's id, as a name of a file. The same data gives the same snapshot, so several runs may report here.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from mailonce.export import csv_lines
from mailonce.workflow.reporting.advice import SAFE_NEXT
from mailonce.workflow.reporting.counting import Report
from mailonce.workflow.reporting.page import render
from mailonce.workflow.snapshot import folder

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

FIELDS = ("kind", "recipient_id", "state", "why", "safe_next")
"""The columns of ``exceptions.csv``."""


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """Where a report is. :param json: :param page: the latest one's. :param own: the folder of the run's own."""

    json: str
    page: str
    own: str


class Spool:
    """Everybody who is to be named, kept on local disk until all are known: see :func:`spooled`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def tell(self, named: Mapping[str, str]) -> None:
        """Keep one."""
        self._file.write(json.dumps(dict(named)).encode() + b"\n")

    def rows(self) -> Iterator[Mapping[str, str]]:
        """Yield them again, each with what is safe to do next."""
        self._file.seek(0)
        for line in self._file:
            named = json.loads(line)
            yield {**named, "kind": named["kind"].replace("_", " "), "safe_next": SAFE_NEXT.get(named["state"], "")}


@contextmanager
def spooled() -> Iterator[Spool]:
    """Give a place for names, and take it away again."""
    with TemporaryFile(prefix="mailonce-") as file:
        yield Spool(file)


def write_files(snapshot_uri: str, report: Report, spool: Spool, facts: Mapping[str, Any]) -> ReportFiles:
    """Write the report of one run; the latest one's files are replaced, other runs' own are not.

    :param facts: about the run, for people and programs; ``run_id`` among them.
    """
    home = folder(snapshot_uri)
    name = f"runs/{file_name(facts['run_id'])}"
    own = home / name
    own.mkdir(parents=True, exist_ok=True)
    _write_names(own / "exceptions.csv", spool)
    # Last: who finds a report finds all that it speaks of.
    for place, everybody in ((own, "exceptions.csv"), (home, f"{name}/exceptions.csv")):
        _write(place / "report.html", render(report, facts, everybody=everybody))
        told = {**facts, **report.facts(), "safe_next": _advice(report), "exceptions_file": everybody}
        _write(place / "report.json", json.dumps(told, indent=2, ensure_ascii=False))
    return ReportFiles(json=str(home / "report.json"), page=str(home / "report.html"), own=str(own))


def file_name(run_id: str) -> str:
    """Return a run's id as a name that any file system takes, and that no other id has."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", run_id)[:80]
    return f"{readable}.{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def _write_names(place: ObjectStoragePath, spool: Spool) -> None:
    # Airflow's files do a good deal of work at each write, which is much for a line.
    with TemporaryFile(prefix="mailonce-") as local:
        local.writelines(line.encode() for line in csv_lines(spool.rows(), FIELDS))
        local.seek(0)
        with place.open("wb") as file:  # type: ignore[no-untyped-call]
            shutil.copyfileobj(local, file)


def _advice(report: Report) -> Mapping[str, str]:
    states = {one["state"] for kind in ("exceptions", "suppressed", "undelivered") for one in getattr(report, kind)}
    return {state: SAFE_NEXT[state] for state in sorted(states) if state in SAFE_NEXT}


def _write(place: ObjectStoragePath, text: str) -> None:
    place.write_text(text, encoding="utf-8")
