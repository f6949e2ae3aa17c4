"""What the operators do when their task runs: from arguments and settings to deliveries and a result."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailonce.batch import Tally, deliver_all, threads_of
from mailonce.delivery import Delivery, PlannedDelivery
from mailonce.errors import AwaitingQuota, BatchIncomplete, DailyQuotaExceeded, InvalidInput, MailonceError
from mailonce.journal import Journal
from mailonce.keys import key_recipe
from mailonce.ledgers.grouped import grouped
from mailonce.messages.content import Content, ProviderTemplate
from mailonce.messages.statement import StatementMaker
from mailonce.messages.templates import Templates
from mailonce.metrics.watching import Watch
from mailonce.pace import Pace
from mailonce.protocol import Tools
from mailonce.recording import record_kept_receipts
from mailonce.recovery import recover
from mailonce.workflow.account import check_stored_template
from mailonce.workflow.approval import check_approved, check_content
from mailonce.workflow.connections import open_ledger, open_provider
from mailonce.workflow.ledger_witness import refuse_forgetful
from mailonce.workflow.metrics import AirflowMetrics
from mailonce.workflow.month_lock import month_lock
from mailonce.workflow.periods import period_for_templates
from mailonce.workflow.preview import preview_all
from mailonce.workflow.purged_months import refuse_purged
from mailonce.workflow.receipts import TaskStateReceipts
from mailonce.workflow.recipients import Recipient, label, read_recipients, without_suppressed
from mailonce.workflow.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from mailonce.messages.message import Message
    from mailonce.operators.base import IdempotentMailOperator


def run(operator: IdempotentMailOperator, context: Context) -> dict[str, Any]:
    """Deliver the operator's recipients, or preview them.

    :return: how many ended in which way; of a single recipient also who, and the provider's message id.
    :raises mailonce.errors.MailonceError: see :mod:`mailonce.errors`.
    """
    given = {name: getattr(operator, name) for name in operator.overrides}
    settings = Settings.load({**given, "provider": operator.provider})
    check_approved(operator.snapshot, operator.approved)
    recipients = read_recipients(operator)
    operator.map_label = label(recipients)
    maker = StatementMaker(
        campaign=operator.campaign,
        period=operator.period,
        period_fields=period_for_templates(operator.period, settings.timezone),
        edition=operator.edition,
        content=_content(operator, settings),
        sender=settings.required_sender(),
        reply_to=settings.reply_addresses,
        recipe=key_recipe(operator.key),
    )
    mailed = recipients if operator.snapshot else without_suppressed(recipients, settings)
    makers = [_maker(maker, recipient, approved=operator.approved is not None) for recipient in mailed]
    if _is_true(operator.preview):
        with closing(open_ledger(settings)) as ledger:
            return preview_all(makers, ledger)
    if operator.ses_template and (sample := _first_message(makers)):
        check_stored_template(settings, sample)
    try:
        tally = _deliver(makers, settings, operator, context)
    except (DailyQuotaExceeded, BatchIncomplete) as error:
        if not settings.spread_over_days:
            raise
        raise _to_follow(error) from error
    # Small and plain on purpose: a result that cannot be stored makes Airflow run the task again.
    outcome: dict[str, Any] = {result.value: count for result, count in tally.results.items()}
    if suppressed := len(recipients) - len(mailed):
        outcome["suppressed"] = suppressed
    if len(recipients) == 1 and tally.last is not None:
        outcome |= {"recipient": tally.last.identity.recipient_id, "message_id": tally.last.message_id}
        if settings.message_url and tally.last.message_id:
            operator.message_url = settings.message_url.replace("{message_id}", tally.last.message_id)
    return outcome


def _deliver(
    makers: Sequence[Callable[[], Delivery]], settings: Settings, operator: IdempotentMailOperator, context: Context
) -> Tally:
    threads = min(settings.concurrency, len(makers)) or 1
    with (
        month_lock(settings, context, campaign=operator.campaign, period=operator.period),
        # One more looks ahead.
        closing(grouped(open_ledger(settings, connections=threads_of(threads) + 1))) as ledger,
        closing(Journal(settings.journal_folder)) as journal,
        Watch(AirflowMetrics(campaign=operator.campaign), began=_began(context)) as watch,
    ):
        tools = Tools(
            ledger=ledger,
            provider=open_provider(settings, connections=threads),
            receipts=TaskStateReceipts(context.get("task_state_store")),
            by=_who(context),
            timing=settings.timing_of(operator.campaign),
            journal=journal,
            pace=Pace(watch.rates(ledger.rate), settings.account),
            doubt=settings.doubt,
            events_drained_at=lambda: ledger.epoch.read().events_drained_at,
            reached=watch.reached,
        )
        if settings.max_send_rate:
            ledger.rate.limit(settings.account, settings.max_send_rate)
        if settings.journal_folder:
            recover(settings.journal_folder, ledger)
        month = {"campaign": operator.campaign, "period": operator.period, "edition": operator.edition}
        if not operator.snapshot:
            refuse_purged(ledger, **month)
        if _tried_before(context):
            if operator.snapshot:
                # Cleared, perhaps long after its preflight, which would have found out.
                refuse_forgetful(settings, ledger, **month)
            tools = replace(tools, unrecorded=record_kept_receipts(tools))
        return watch.told(deliver_all(makers, tools, concurrency=threads))


def _to_follow(error: MailonceError) -> MailonceError:
    """Return the same failure, where a used up daily quota is one that Airflow tries again when it is free."""
    if isinstance(error, BatchIncomplete):
        return BatchIncomplete([_to_follow(each) for each in error.errors], total=error.total, results=error.results)
    if isinstance(error, DailyQuotaExceeded):
        return AwaitingQuota(error.detail, recipient_id=error.recipient_id, key=error.key)
    return error


def _content(operator: IdempotentMailOperator, settings: Settings) -> Content:
    if operator.ses_template:
        return ProviderTemplate(operator.ses_template)
    if operator.subject is not None:
        return Templates.inline(
            operator.campaign,
            subject=operator.subject,
            text=operator.text,
            html=operator.html,
            headers=operator.headers,
        )
    return Templates.of_campaign(operator.campaign, Path(settings.template_root))


def _first_message(makers: Sequence[Callable[[], Delivery]]) -> Message | None:
    for make in makers:
        with suppress(InvalidInput):
            return make().message
    return None


def _maker(maker: StatementMaker, recipient: Recipient, *, approved: bool) -> Callable[[], Delivery]:
    make = partial(_planned_delivery, maker, recipient, approved=approved)
    if recipient.planned_key is None or isinstance(recipient.row, InvalidInput):
        return make
    return PlannedDelivery(
        key=recipient.planned_key,
        recipient_id=recipient.row.recipient_id,
        fingerprint=recipient.fingerprint,
        make=make,
    )


def _planned_delivery(maker: StatementMaker, recipient: Recipient, *, approved: bool) -> Delivery:
    row = recipient.row
    if isinstance(row, InvalidInput):
        raise row
    delivery = maker.delivery(row)
    if recipient.planned_key not in (None, delivery.key):
        raise InvalidInput(
            row=row.recipient_id,
            field="key",
            reason="the key is not the one that was planned: the recipe or the templates changed during the run",
            remedy="Clear the task snapshot, so that all is planned anew: who was already mailed is not mailed again",
        )
    if approved:
        check_content(delivery, recipient.fingerprint)
    return delivery


def _who(context: Context) -> str:
    """Say who delivers, for the ledger's row: Dag run, task, try, process."""
    instance = context.get("ti")
    process = f"{socket.gethostname()} process {os.getpid()}"
    if instance is None:
        return process
    mapped = f"[{instance.map_index}]" if instance.map_index is not None and instance.map_index >= 0 else ""
    return f"{instance.dag_id} {instance.run_id} {instance.task_id}{mapped} try {instance.try_number}, {process}"


def _began(context: Context) -> datetime | None:
    """Return when the Dag run began; None: there is none."""
    return getattr(context.get("dag_run"), "start_date", None)


def _tried_before(context: Context) -> bool:
    instance = context.get("ti")
    return instance is None or (instance.try_number or 1) > 1


def _is_true(value: bool | str) -> bool:
    return value if isinstance(value, bool) else value.strip().lower() in ("true", "1", "yes")
