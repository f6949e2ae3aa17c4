"""Do Brevo, or the mail relay, take mails from here? Asked without one, where a Dag sends through them."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parseaddr
from typing import Any

from mailonce.doctor.installation import Installation
from mailonce.findings import Finding, Severity
from mailonce.providers.smtp import Encryption
from mailonce.workflow.connections import open_brevo, open_smtp

BREVO = "Brevo"
RELAY = "mail relay"


def brevo(installation: Installation) -> Iterator[Finding]:
    """Ask Brevo how the account stands. Whether the sender is allowed, only the first mail tells."""
    if "brevo" not in installation.providers:
        return
    installation.settings.required_sender()
    provider = open_brevo(installation.settings)
    try:
        account = provider.account()
    finally:
        provider.close()
    plans = [plan for plan in account["plan"] if plan.get("creditsType") == "sendLimit"]
    told = ", ".join(f"{plan.get('credits')} mails ({plan.get('type')})" for plan in plans)
    if plans and not any(_number(plan.get("credits")) for plan in plans):
        yield Finding(
            severity=Severity.WARNING,
            check=BREVO,
            found=f"the key is right, but no credits are left: {told}.",
            remedy="Buy credits, or wait until those of the plan are new: every mail would be refused.",
        )
        return
    yield Finding(severity=Severity.OK, check=BREVO, found=f"the key is right; left: {told or 'not told'}.")


def relay(installation: Installation) -> Iterator[Finding]:
    """Go as far with the relay as can be gone without a mail: log in, and offer the sender."""
    if "smtp" not in installation.providers:
        return
    settings = installation.settings
    sender = parseaddr(settings.required_sender())[1]
    provider = open_smtp(settings)
    able = provider.check(sender)
    where = provider.relay
    if where.encryption is Encryption.NONE or not where.verify:
        found = (
            "the way to it is not encrypted"
            if where.encryption is Encryption.NONE
            else "its certificate is not verified"
        )
        yield Finding(
            severity=Severity.WARNING,
            check=RELAY,
            found=f"{where.host}: {found}: whoever is on it can read the mails and the password.",
            remedy=f"Take disable_ssl, disable_tls and ssl_context out of the extra of {settings.smtp_conn_id}, unless it is on this machine.",
        )
    size = f", takes {int(able['size']):,} bytes a mail" if able.get("size") else ""
    yield Finding(severity=Severity.OK, check=RELAY, found=f"{where.host} takes mails from {sender}{size}.")


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
