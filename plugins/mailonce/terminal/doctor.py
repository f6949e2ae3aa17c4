"""``mailonce doctor``: what would break the promise, and what to do about it."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mailonce.errors import InvalidInput
from mailonce.findings import Finding, Severity
from mailonce.terminal import output
from mailonce.terminal.output import DONE, FAILED, Screen

if TYPE_CHECKING:
    from mailonce.workflow.settings import Settings

WARNED = 1
_EPILOG = """examples:
  mailonce doctor
  mailonce doctor --strict --json               for scripts
  mailonce doctor --adopt-ledger --reason 'restored from the backup, and compared'

exit codes: 0 no errors (with --strict: and no warnings), 1 warnings with --strict, 2 errors

Run it where the workers run: what it looks at is this machine's clock, proxies, and connections. It sends nothing.
"""
_SIGNS: Mapping[Severity, tuple[str, str]] = {
    Severity.OK: ("✓", "ok"),
    Severity.UNKNOWN: ("?", "?"),
    Severity.WARNING: ("!", "!"),
    Severity.ERROR: ("✗", "X"),
}
"""In order: what is worst stands last, next to the prompt. Each with what stands for it where only ASCII is shown."""


def add_to(commands: Any) -> None:
    """Declare the command and its arguments."""
    doctor = commands.add_parser(
        "doctor",
        help="look over the set-up before anything is sent",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument("--strict", action="store_true", help="let warnings count: exit code 1")
    doctor.add_argument(
        "--adopt-ledger",
        action="store_true",
        help="take the ledger as it stands for the right one, though it was copied, brought back or made anew",
    )
    doctor.add_argument("--reason", help="with --adopt-ledger: why; kept in the ledger")
    doctor.add_argument("--by", default=getpass.getuser(), help="with --adopt-ledger: who; default: %(default)s")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace, screen: Screen) -> int:
    if options.adopt_ledger and not (options.reason or "").strip():
        print("mailonce: --adopt-ledger needs a --reason, which is kept in the ledger", file=sys.stderr)
        return FAILED
    settings = output.load_settings()
    if options.adopt_ledger:
        _adopt(settings, by=options.by, reason=options.reason)
    findings = _findings(settings)
    if options.json:
        screen.json([{**vars(finding), "severity": finding.severity.value} for finding in findings])
    else:
        _say(findings, screen)
    worst = {finding.severity for finding in findings}
    if Severity.ERROR in worst:
        return FAILED
    return WARNED if options.strict and Severity.WARNING in worst else DONE


def _adopt(settings: Settings, *, by: str, reason: str) -> None:
    from mailonce.doctor.installation import Installation
    from mailonce.workflow import ledger_witness

    with closing(Installation(settings)) as installation:
        if installation.epoch is None:
            raise InvalidInput(
                field="--adopt-ledger",
                reason="there is no ledger yet",
                remedy="Bring it back first, or correct [mailonce] ledger_conn_id and ledger_table",
            )
        epoch = ledger_witness.adopt(settings, installation.ledger, by=by, reason=reason)
    print(f"adopted by {by}: from now on the ledger's epoch is {epoch.id}", file=sys.stderr)


def _findings(settings: Settings) -> Sequence[Finding]:
    from mailonce.doctor import airflow_tasks, examination
    from mailonce.doctor.installation import Installation

    dags, broken = airflow_tasks.load_dags()
    with closing(Installation(settings, dags=dags, broken_dags=broken)) as installation:
        return examination.examine(installation).findings


def _say(findings: Sequence[Finding], screen: Screen) -> None:
    for severity, (sign, plain) in _SIGNS.items():
        for finding in findings:
            if finding.severity is severity:
                screen.say(f"{sign if screen.shows(sign) else plain} {finding.check}: {finding.found}")
                if finding.remedy:
                    screen.say(f"    {finding.remedy}")
    counts = Counter(finding.severity for finding in findings)
    screen.say(
        f"{counts[Severity.ERROR]} errors, {counts[Severity.WARNING]} warnings, {counts[Severity.UNKNOWN]} not known, "
        f"{counts[Severity.OK]} in order"
    )
