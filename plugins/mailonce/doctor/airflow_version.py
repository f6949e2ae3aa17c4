"""Can this version of Airflow do all that the package makes use of?"""

from __future__ import annotations

from collections.abc import Iterator

from mailonce.compatibility import NEWEST, airflow_version, shortcomings
from mailonce.doctor.installation import Installation
from mailonce.findings import Finding, Severity

AIRFLOW = "Airflow's version"


def check(installation: Installation) -> Iterator[Finding]:
    """Name what this Airflow lacks."""
    lacks = list(shortcomings())
    if not lacks:
        yield Finding(severity=Severity.OK, check=AIRFLOW, found=f"{airflow_version()}, which lacks nothing.")
        return
    yield Finding(
        severity=Severity.WARNING,
        check=AIRFLOW,
        found=f"{airflow_version()}. No mail is sent twice for it, but: {'; '.join(lacks)}.",
        remedy=f"Upgrade to Airflow {NEWEST} when you can; docs/installing.md says what each version offers.",
    )
