"""Runs every check, and puts what stopped one among the findings: no check hides another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mailonce.doctor import (
    account,
    airflow_tasks,
    airflow_version,
    carriers,
    clocks,
    events,
    events_way,
    ledger,
    permissions,
    sending,
)
from mailonce.doctor.installation import Installation
from mailonce.errors import InvalidInput, MailonceError, NotDelivered
from mailonce.findings import Finding, Severity

log = logging.getLogger(__name__)

Check = Callable[[Installation], Iterator[Finding]]


def _of_ses(check: Check) -> Check:
    """Return a check that says something only where SES carries mails."""

    def checked(installation: Installation) -> Iterator[Finding]:
        if "ses" in installation.providers:
            yield from check(installation)

    return checked


CHECKS: Mapping[str, Check] = {
    "requests": _of_ses(sending.requests),
    "overridden retries": _of_ses(sending.overridden),
    "proxy": _of_ses(sending.proxy),
    "read time-out": _of_ses(sending.read_timeout),
    "ledger": ledger.check,
    "account": _of_ses(account.check),
    "Brevo": carriers.brevo,
    "mail relay": carriers.relay,
    "event destinations": _of_ses(events.destinations),
    "events queue": _of_ses(events.queue),
    "way of the events": _of_ses(events_way.check),
    "provider's clock": _of_ses(clocks.provider),
    "ledger's clock": clocks.ledger,
    "stages of a claim": clocks.stages,
    "Airflow's version": airflow_version.check,
    "tasks": airflow_tasks.check,
    "permissions": _of_ses(permissions.check),
}
"""What is looked at, in this order. A new subject is a new file, and a line here."""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found.

    :param findings: in the order of the checks; what stopped a check is among them.
    :param failures: the exceptions that did, each once; without those that are a fault of a check itself.
    """

    findings: Sequence[Finding]
    failures: Sequence[MailonceError]

    def of(self, severity: Severity) -> list[Finding]:
        """Return the findings that are this bad."""
        return [finding for finding in self.findings if finding.severity is severity]


def examine(installation: Installation, checks: Mapping[str, Check] = CHECKS) -> Examination:
    """Look at everything."""
    findings: list[Finding] = []
    failures: list[MailonceError] = []
    for name, check in checks.items():
        try:
            # One by one: what was found before an exception stays found.
            for finding in check(installation):
                findings.append(finding)  # noqa: PERF402
        except MailonceError as failure:
            if not any(failure is known for known in failures):
                failures.append(failure)
                findings.append(_as_finding(name, failure))
        except Exception as fault:
            log.debug("the check of %s failed", name, exc_info=True)
            why = f"the check itself failed ({type(fault).__name__}: {fault})."
            findings.append(Finding(severity=Severity.UNKNOWN, check=name, found=why))
    return Examination(findings=findings, failures=failures)


def _as_finding(name: str, failure: MailonceError) -> Finding:
    found, remedy = str(failure), ""
    if isinstance(failure, InvalidInput):
        found, remedy = f"{failure.field}: {failure.reason}.", f"{failure.remedy}."
    elif isinstance(failure, NotDelivered):
        found, remedy = failure.detail, failure.safe_next
    return Finding(severity=Severity.ERROR, check=name, found=found, remedy=remedy)
