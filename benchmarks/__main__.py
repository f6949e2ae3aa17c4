"""``make bench``: the package beside its peers, as a table, as docs/benchmarks.md, and as plots.

``make bench ROWS=1,2`` runs only some rows, and then writes no document; ``--quick`` shows that everything runs.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone

from benchmarks import airflow_cost, dag_parsing, ledgered_sends, month, powertools
from benchmarks.document import write_document
from benchmarks.measuring import ROOT, Comparison, Effort, machine
from sandbox.processes import exit_on_sigterm

COMPARISONS: Mapping[tuple[int, ...], Callable[[Effort], Iterator[Comparison]]] = {
    (1,): ledgered_sends.compare,
    (2,): powertools.compare,
    (3, 4): airflow_cost.compare,
    (5,): month.compare_memory,
    (6,): month.compare_again,
    (7,): dag_parsing.compare,
}
DOCS = ROOT / "docs"


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print one line after the other. :return: the exit code: 0, whether the goals are met or not."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rows", default="", help="numbers of rows, separated by commas; all if empty")
    parser.add_argument("--quick", action="store_true", help="so little of each that the figures mean nothing")
    given = parser.parse_args(arguments)
    wanted = {int(row) for row in given.rows.split(",") if row}
    exit_on_sigterm()
    logging.disable(logging.WARNING)
    began = time.monotonic()
    when = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    print(f"{machine()}; {when}", flush=True)
    found = []
    for rows, compare in COMPARISONS.items():
        if wanted and not wanted.intersection(rows):
            continue
        for comparison in compare(Effort(quick=given.quick)):
            found.append(comparison)
            print(line(comparison), flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"{minutes:.1f} minutes")
    if not wanted and not given.quick:
        print(f"written: {write_document(found, DOCS, machine=machine(), when=when, minutes=minutes)}")
    return 0


def line(comparison: Comparison) -> str:
    """Return one comparison as a line for the terminal."""
    each = comparison
    goal = f"{'at most' if each.at_most else 'at least'} {each.goal:.3g}"
    verdict = "met" if each.holds else "MISSED"
    return (
        f"{each.row}  {each.what}: {each.ours:.4g} {each.unit}, against {each.against}: {each.peers:.4g} {each.unit}\n"
        f"   ratio {each.ratio:.3g}, goal {goal}: {verdict}.{' ' + each.remark + '.' if each.remark else ''}"
    )


if __name__ == "__main__":
    sys.exit(main())
