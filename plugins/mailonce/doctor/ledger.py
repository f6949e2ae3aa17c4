"""Is the ledger fit to keep claims, and is it still the one that it was?"""

from __future__ import annotations

from collections.abc import Iterator

from mailonce.doctor.installation import Installation
from mailonce.findings import Finding
from mailonce.workflow import ledger_witness


def check(installation: Installation) -> Iterator[Finding]:
    """Ask the store itself, then the witness outside it."""
    yield from installation.ledger_findings
    yield from ledger_witness.check(
        installation.settings, installation.look_up_epoch, campaign=installation.campaign, period=installation.period
    )
