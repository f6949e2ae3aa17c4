"""Months that the ledger has forgotten on purpose: purged by a person, or past their retention. Nobody mails them again by
clearing an old run; who wants to says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from mailonce.errors import LedgerForgot
from mailonce.findings import Finding, Severity
from mailonce.ledgers.base import Ledger

CHECK = "ledger's memory"


def purged(ledger: Ledger, campaign: str, period: str, edition: str) -> Iterator[Finding]:
    """Yield that an edition of a month was purged, if it was."""
    if mark := ledger.privacy.purged(campaign, period, edition):
        yield _refused(str(mark), campaign, period, edition)


def expired(at: datetime, campaign: str, period: str, edition: str) -> Finding:
    """Return that the retention of an edition of a month is over. :param at: since when."""
    found = (
        f"its first deliveries of {campaign} {period} ({edition}) were to be remembered until {at:%Y-%m-%d}: who got "
        "theirs is no longer known."
    )
    return _refused(found, campaign, period, edition)


def refuse_purged(ledger: Ledger, *, campaign: str, period: str, edition: str) -> None:
    """Refuse to mail an edition of a month that was purged.

    :raises mailonce.errors.LedgerForgot: it was.
    """
    refuse(list(purged(ledger, campaign, period, edition)))


def refuse(findings: Sequence[Finding]) -> None:
    """Refuse to go on with a month of which the ledger has forgotten something.

    :param findings: what says so; none: all is well. :raises mailonce.errors.LedgerForgot: there is one.
    """
    if findings:
        raise LedgerForgot(" ".join(map(str, findings)))


def _refused(found: str, campaign: str, period: str, edition: str) -> Finding:
    remedy = (
        "Whoever is mailed now gets another one. If that is meant, use another `edition`; or say so with: mailonce purge "
        f"--reopen {period} --campaign {campaign} --edition {edition} --reason '…'."
    )
    return Finding(severity=Severity.ERROR, check=CHECK, found=found, remedy=remedy)
