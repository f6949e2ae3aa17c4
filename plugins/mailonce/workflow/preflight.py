"""The first task of the monthly Dag: everything that would stop everybody's mail, found before anything is done."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailonce.doctor.examination import Examination, examine
from mailonce.doctor.installation import Installation
from mailonce.errors import AwaitingQuota, InvalidInput, LedgerUnavailable, NeverLeft, RunBlocked
from mailonce.findings import Finding, Severity
from mailonce.messages.templates import Templates
from mailonce.metrics.catalogue import QUOTA_LEFT
from mailonce.workflow import ledger_witness
from mailonce.workflow.account import Account
from mailonce.workflow.metrics import AirflowMetrics
from mailonce.workflow.month_lock import lockable_ledger
from mailonce.workflow.periods import period_of_run
from mailonce.workflow.plan import Allowance
from mailonce.workflow.purged_months import purged
from mailonce.workflow.retries import RETRIES, decided_here
from mailonce.workflow.senders import as_the_dag_sends
from mailonce.workflow.settings import Settings
from mailonce.workflow.usage import read_statement

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

_LEVELS = {
    Severity.OK: logging.DEBUG,
    Severity.UNKNOWN: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
}
_AWAY = (NeverLeft, LedgerUnavailable)
"""What may be right again at the next try."""


@decided_here
def preflight(
    context: Context, *, campaign: str, statement: Path, template_root: Path, parameters: Collection[str]
) -> dict[str, Any]:
    """Check parameters, settings and templates, then all that :mod:`mailonce.doctor` looks at.

    Before a dry run the doctor's errors are said and stop nothing, for nothing is sent.

    The account's rate, or the setting ``max_send_rate``, goes into the ledger, where the tasks that send find it.

    :param statement: the usage query's file. :param template_root: folder of the campaigns' templates.
    :param parameters: names of the parameters that the Dag declares. Not read from the run: Airflow adds what was
        given to those that were declared.
    :return: ``period``, and what the account may send: ``left_today``, ``daily_quota``, ``max_send_rate`` (None:
        unlimited or unknown).
    :raises mailonce.errors.MailonceError: something would stop everybody's mail; says what to do.
    """
    dag = context.get("dag")
    settings = as_the_dag_sends(Settings.load(), dag)
    refuse_unknown(context["dag_run"].conf or {}, known=parameters)
    period = period_of_run(context, settings.timezone)
    # A run with a period of the past is usual, one of the future is a slip of the hand.
    log.info(
        "campaign %s, period %s (%s to %s, %s)", campaign, period.key, period.starts_at, period.ends_at, period.zone
    )
    read_statement(statement)
    lockable_ledger(settings)
    Templates.of_campaign(campaign, template_root)
    examined = Installation(settings, dags=[dag] if dag else [], campaign=campaign, period=period.key)
    with closing(examined) as installation:
        if installation.ledger.prepare():
            log.warning("the ledger %s was made just now: it knows of no mail sent before", settings.ledger_table)
        examination = examine(installation)
        dry_run = bool(context["params"].get("dry_run"))
        _say(examination.findings, loudest=logging.WARNING if dry_run else logging.ERROR)
        ledger = installation.ledger
        month = {
            "campaign": campaign,
            "period": period.key,
            "edition": context["params"].get("edition") or "original",
        }
        if dry_run:
            _say(list(purged(ledger, **month)), loudest=logging.WARNING)
        else:
            _refuse(examination)
            if forgotten := ledger_witness.remember(settings, ledger, **month):
                raise RunBlocked("\n".join(map(str, forgotten)))
        account = _account(installation)
        if account.left_today is not None:
            AirflowMetrics().gauge(QUOTA_LEFT, account.left_today)
        rate = settings.max_send_rate or account.max_send_rate
        if rate and not dry_run:
            installation.ledger.rate.limit(settings.account, rate)
    return {
        "period": period.key,
        "left_today": account.left_today,
        "daily_quota": account.daily_quota,
        "max_send_rate": rate,
    }


def refuse_unknown(given: Mapping[str, Any], *, known: Collection[str]) -> None:
    """Refuse parameters that the Dag does not have: Airflow lets them pass, and a typing error would mail everybody.

    :raises mailonce.errors.InvalidInput: there is one.
    """
    if unknown := sorted(set(given) - set(known)):
        raise InvalidInput(
            field=f"parameter {', '.join(unknown)}",
            reason="this Dag has no such parameter",
            remedy=f"Trigger it again with some of: {', '.join(sorted(known))}",
        )


def check_quota(mails: int, allowance: Allowance) -> str:
    """Say before the first mail when the plan is beyond what the account may still send in this 24-hour window.

    :param mails: how many are planned.
    :return: what was said; empty: all of them fit.
    """
    if not allowance.beyond(mails):
        return ""
    told = (
        f"{mails} mails are planned, but the account may send only {allowance.left_today} more in this 24-hour window."
    )
    days = allowance.days(mails)
    if allowance.spread and days:
        patience = (RETRIES[AwaitingQuota].count * RETRIES[AwaitingQuota].delay).days
        until = "" if days <= patience else f" Tasks are tried again for {patience} days: clear those that fail then."
        said = f"{told} The rest follows by itself as the window moves on: about {days} days in all.{until}"
    else:
        said = (
            f"{told} The rest will fail without being sent; clear the failed tasks when the window has moved on, or set "
            "spread_over_days beforehand."
        )
    log.warning("%s", said)
    return said


def _say(findings: Sequence[Finding], *, loudest: int) -> None:
    for finding in findings:
        log.log(min(_LEVELS[finding.severity], loudest), "%s", finding)


def _refuse(examination: Examination) -> None:
    """Raise if there is an error; as what it is, where one exception says it all."""
    errors, failures = examination.of(Severity.ERROR), examination.failures
    if not errors:
        return
    if len(errors) == len(failures) and (len(errors) == 1 or all(isinstance(failure, _AWAY) for failure in failures)):
        raise failures[0]
    raise RunBlocked("\n".join(map(str, errors)))


def _account(installation: Installation) -> Account:
    """Return what the account may send; nothing is known where SES cannot be asked, which was said before, or does not send."""
    if "ses" not in installation.providers:
        return Account()
    try:
        return Account.told_by(installation.ask("sesv2", "get_account").content)
    except (RunBlocked, NeverLeft):
        return Account()
