"""May the SES account send, from this sender, how much, and to whom not?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email.utils import parseaddr
from typing import Any

from mailonce import __version__
from mailonce.doctor.installation import Installation
from mailonce.findings import Finding, Severity
from mailonce.workflow.account import Account
from mailonce.workflow.questions import Answer

SENDER = "sender"
CONFIGURATION_SET = "configuration set"
ACCOUNT = "account"
SUPPRESSION = "account's suppression list"
TEMPLATE_TAG = "mailonce:template"
"""The tag by which deploy/aws says which version of it made a configuration set."""

_REASONS = ("BOUNCE", "COMPLAINT")


def check(installation: Installation) -> Iterator[Finding]:
    """Ask SES. What the role may not ask is said, and left open: the first mail will tell."""
    yield from _sender(installation)
    chosen: Answer | None = None
    if name := installation.settings.configuration_set:
        chosen = installation.ask("sesv2", "get_configuration_set", ConfigurationSetName=name)
        yield _configuration_set(chosen, name)
    answer = installation.ask("sesv2", "get_account")
    yield from [not_told(ACCOUNT, answer)] if answer.content is None else _account(answer)
    yield from _suppression(answer.content, chosen.content if chosen else None)


def not_told(check: str, answer: Answer) -> Finding:
    """Return the finding for a question that was not answered."""
    return Finding(
        severity=Severity.UNKNOWN,
        check=check,
        found=f"not checked: {answer.why_not}.",
        remedy=f"Permit {answer.action} to the role, to have it checked." if answer.forbidden else "",
    )


def _sender(installation: Installation) -> Iterator[Finding]:
    address = parseaddr(installation.settings.required_sender())[1]
    domain = address.rpartition("@")[2]
    # A verified domain covers its subdomains too.
    labels = domain.split(".")
    names = [address, *(".".join(labels[start:]) for start in range(max(1, len(labels) - 1)))]
    answers = [installation.ask("sesv2", "get_email_identity", EmailIdentity=name) for name in names]
    known = [answer.content for answer in answers if answer.content is not None]
    if any(identity.get("VerifiedForSendingStatus") for identity in known):
        yield Finding(severity=Severity.OK, check=SENDER, found=f"{address} is verified.")
    elif known:
        yield Finding(
            severity=Severity.ERROR,
            check=SENDER,
            found=f"neither {address} nor {domain} is verified for sending in SES.",
            remedy="Publish the DNS records that SES shows for it, or follow the link in its mail.",
        )
    elif all(answer.missing for answer in answers):
        yield Finding(
            severity=Severity.WARNING,
            check=SENDER,
            found=f"this SES account knows neither {address} nor {domain}.",
            remedy="Verify one of them, unless another account has lent its identity: only the first mail can tell.",
        )
    else:
        yield not_told(SENDER, next(answer for answer in answers if not answer.missing))


def _configuration_set(answer: Answer, name: str) -> Finding:
    if answer.missing:
        return Finding(
            severity=Severity.ERROR,
            check=CONFIGURATION_SET,
            found=f"SES has no configuration set {name!r}.",
            remedy="Make it, or correct [mailonce] configuration_set (and the region).",
        )
    if answer.content is None:
        return not_told(CONFIGURATION_SET, answer)
    if not answer.content.get("SendingOptions", {}).get("SendingEnabled", True):
        return Finding(
            severity=Severity.ERROR,
            check=CONFIGURATION_SET,
            found=f"sending is paused for the configuration set {name!r}.",
            remedy="Enable it again (PutConfigurationSetSendingOptions), once its bounces and complaints are understood.",
        )
    return Finding(severity=Severity.OK, check=CONFIGURATION_SET, found=f"{name}{_maker(answer.content)}.")


def _maker(content: Mapping[str, Any]) -> str:
    tags = {tag["Key"]: tag["Value"] for tag in content.get("Tags", ())}
    if not (version := tags.get(TEMPLATE_TAG)):
        return ""
    newer = "" if version == __version__ else f"; this is {__version__}, whose template may have more"
    return f", made by the template of mailonce {version}{newer}"


def _account(answer: Answer) -> Iterator[Finding]:
    told = answer.content or {}
    account = Account.told_by(told)
    if not told.get("SendingEnabled", True):
        yield Finding(
            severity=Severity.ERROR,
            check=ACCOUNT,
            found="sending is paused for this SES account (GetAccount: SendingEnabled is false).",
            remedy="See the SES console for the reason: bounces, complaints, or a switch that somebody turned.",
        )
    if not told.get("ProductionAccessEnabled", True):
        yield Finding(
            severity=Severity.WARNING,
            check=ACCOUNT,
            found="the SES account is in the sandbox: it sends to verified addresses only.",
            remedy="Ask for production access in the SES console.",
        )
    if account.left_today == 0:
        yield Finding(
            severity=Severity.WARNING,
            check=ACCOUNT,
            found="the quota of mails in 24 hours is used up.",
            remedy="Start when the window has moved on, or ask for a higher quota.",
        )
    left = "no daily quota is told" if account.left_today is None else f"{account.left_today} mails are left today"
    rate = f", {account.max_send_rate:g} a second" if account.max_send_rate else ""
    yield Finding(severity=Severity.OK, check="quota", found=f"{left}{rate}.")


def _suppression(account: Mapping[str, Any] | None, chosen: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Tell whose addresses SES itself stops mailing. A configuration set's own choice takes the account's place."""
    told = (chosen or {}).get("SuppressionOptions") or (account or {}).get("SuppressionAttributes")
    if told is None:
        return
    reasons = [reason for reason in _REASONS if reason in told.get("SuppressedReasons", ())]
    kept = f"addresses are added for {' and '.join(map(str.lower, reasons)) or 'no reason'}."
    if len(reasons) == len(_REASONS):
        yield Finding(severity=Severity.OK, check=SUPPRESSION, found=kept)
        return
    yield Finding(
        severity=Severity.WARNING,
        check=SUPPRESSION,
        found=f"{kept} SES goes on mailing whom the others tell of, until the ledger has read their events.",
        remedy="Suppress BOUNCE and COMPLAINT: PutConfigurationSetSuppressionOptions, or for all of the account.",
    )
