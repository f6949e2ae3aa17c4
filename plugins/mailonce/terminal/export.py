"""``mailonce export``: who did not get it, and why, for a spreadsheet or a program."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import chain
from typing import Any

from mailonce.export import csv_lines, not_delivered, not_tried
from mailonce.terminal import arguments, output
from mailonce.terminal.output import DONE, NOT_FOUND, Screen

_EPILOG = """examples:
  mailonce export 2026-10 > not-delivered.csv
  mailonce export 2026-10 --output not-delivered.csv
  mailonce export 2026-10 --format json | jq '.[] | select(.state == "BOUNCED") | .recipient_id'

Everybody whose mail was not accepted, bounced or was dropped; who was planned and never tried; and the rows that were
refused or left out when the month was planned. In CSV a cell that a spreadsheet would run as a formula begins with an
apostrophe. The file holds addresses; --output lets only you read it.

exit codes: 0 done (also when everybody got it: the file then holds no row), 1 no such month, 2 refused or failed
"""


def add_to(commands: Any) -> None:
    """Declare the command and its arguments."""
    export = arguments.declare(commands, "export", help="who did not get it, and why", epilog=_EPILOG)
    export.add_argument("period", help="the month, 2026-10")
    arguments.add_campaign(export)
    export.add_argument("--format", choices=("csv", "json"), default="csv", help="default: %(default)s; --json is json")
    export.add_argument("--output", metavar="FILE", help="where to write it; default: the standard output")
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace, screen: Screen) -> int:
    settings = output.load_settings()
    from mailonce.workflow.planned import planned_month
    from mailonce.workflow.snapshot import Snapshot

    with closing(output.open_the_ledger()) as ledger:
        planned = planned_month(settings.snapshot_uri, options.campaign, options.period)
        if not planned and not ledger.browser.totals(options.campaign, options.period):
            print("nothing found", file=sys.stderr)
            return NOT_FOUND
        snapshots = [Snapshot(one.uri) for one in planned.values()]
        counted = _Counted(
            chain(
                not_delivered(ledger, options.campaign, options.period),
                chain.from_iterable(not_tried(ledger, snapshot) for snapshot in snapshots),
            )
        )
        lines = _json_lines(counted) if options.json or options.format == "json" else csv_lines(counted)
        if options.output:
            with output.replacing(options.output) as file:
                file.writelines(line.encode() for line in lines)
            screen.say(f"{counted.number} without their mail: {options.output}")
        else:
            for line in lines:
                screen.write(line)
    return DONE


class _Counted:
    """Rows, and how many they were."""

    def __init__(self, rows: Iterator[Mapping[str, str]]) -> None:
        self._rows = rows
        self.number = 0

    def __iter__(self) -> Iterator[Mapping[str, str]]:
        for row in self._rows:
            self.number += 1
            yield row


def _json_lines(rows: _Counted) -> Iterator[str]:
    """Yield a JSON array, a member a line."""
    before = "[\n"
    for row in rows:
        yield f"{before}{json.dumps(row, ensure_ascii=False)}"
        before = ",\n"
    yield "\n]\n" if rows.number else "[]\n"
