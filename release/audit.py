"""Are there known vulnerabilities in what mailonce stands on? Asks pip-audit about the lock file.

pip-audit calls a distribution that it could find out nothing about "skipped", and still says that no vulnerabilities are
known. Here what was not looked up is not audited: it is said, and never passes for audited.

Exit codes: 0 audited, and nothing is known that a release could mend; 1 something is; 3 not audited, or 0 with
``--where-reachable``, for builds that must not need a network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from release.lock import LOCK, ROOT

ALLOWED = ROOT / "release" / "allowed-vulnerabilities.txt"
AUDITED, VULNERABLE, NOT_AUDITED = 0, 1, 3
_PATIENCE = 300


@dataclass(frozen=True)
class Outcome:
    """What an audit found.

    :param code: the exit code. :param lines: what to say.
    """

    code: int
    lines: Sequence[str]


def main(arguments: Sequence[str]) -> int:
    """Audit the lock file. :return: the exit code."""
    outcome = judge(*_ask(), allowed=allowed())
    print("\n".join(outcome.lines), file=sys.stderr if outcome.code else sys.stdout)
    tolerated = outcome.code == NOT_AUDITED and "--where-reachable" in arguments
    return AUDITED if tolerated else outcome.code


def judge(report: Mapping[str, Any] | None, trouble: str = "", *, allowed: Mapping[str, str]) -> Outcome:
    """Judge what pip-audit has found.

    :param report: its JSON; None: it made none. :param trouble: why.
    :param allowed: vulnerabilities that are known to us and do not stop a release, each with the reason.
    """
    if report is None:
        return Outcome(NOT_AUDITED, [f"not audited: {trouble or 'pip-audit made no report'}."])
    looked_up = [one for one in report["dependencies"] if "skip_reason" not in one]
    skipped = [one for one in report["dependencies"] if "skip_reason" in one]
    found = [(one, vulnerability) for one in looked_up for vulnerability in one["vulns"]]
    lines, bad = [], 0
    for one, vulnerability in found:
        names = {vulnerability["id"], *vulnerability.get("aliases", [])}
        reason = next((allowed[name] for name in sorted(names) if name in allowed), "")
        fixed = ", ".join(vulnerability["fix_versions"])
        what = f"{one['name']} {one['version']}: {vulnerability['id']}"
        if reason:
            lines.append(f"allowed: {what} ({reason})")
        elif not fixed:
            lines.append(f"known, and not mended in any version yet: {what}")
        else:
            bad += 1
            lines.append(f"vulnerable: {what}, mended in {fixed}. Run make lock, or give a reason in {ALLOWED.name}.")
    if bad:
        return Outcome(VULNERABLE, lines)
    if skipped or not looked_up:
        why = skipped[0]["skip_reason"] if skipped else "the lock file is empty"
        lines.append(f"not audited: {len(skipped)} of {len(report['dependencies'])} could not be looked up. {why}.")
        return Outcome(NOT_AUDITED, lines)
    return Outcome(
        AUDITED, [*lines, f"audited: {len(looked_up)} locked distributions, nothing known that can be mended."]
    )


def allowed(file: Path = ALLOWED) -> dict[str, str]:
    """Read which vulnerabilities do not stop a release, each with its reason.

    :raises ValueError: one has none.
    """
    known = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition(" ")
            if not reason.strip():
                raise ValueError(f"{file.name}: {name} has no reason. Write it after the name.")
            known[name] = reason.strip()
    return known


def _ask() -> tuple[Mapping[str, Any] | None, str]:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes", "--disable-pip",
               "--progress-spinner", "off", "--format", "json"]  # fmt: skip
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return None, f"pip-audit had no answer within {_PATIENCE} s"
    try:
        return json.loads(answer.stdout), ""
    except ValueError:
        said = answer.stderr.strip().splitlines()
        return None, said[-1] if said else f"pip-audit ended with code {answer.returncode}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
