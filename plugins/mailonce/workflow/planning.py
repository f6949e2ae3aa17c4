"""The second task of the monthly Dag: the usage query becomes an immutable snapshot, cut into chunks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailonce.keys import key_recipe
from mailonce.messages.statement import StatementMaker
from mailonce.messages.templates import Templates
from mailonce.notifiers.alert import About, Alert, where
from mailonce.period import Period
from mailonce.workflow.alerts import tell
from mailonce.workflow.approval import QUESTION, question
from mailonce.workflow.connections import open_ledger
from mailonce.workflow.corrections import with_originals
from mailonce.workflow.plan import Allowance, Plan
from mailonce.workflow.plan_files import write_plan
from mailonce.workflow.preflight import check_quota
from mailonce.workflow.settings import Settings
from mailonce.workflow.snapshot_writer import write_snapshot
from mailonce.workflow.suppressed import Suppressed
from mailonce.workflow.usage import read_statement, usage_rows

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def plan_month(
    context: Context,
    facts: Mapping[str, Any],
    *,
    campaign: str,
    statement: Path,
    template_root: Path,
    key: str = "statement",
    approval: bool = False,
) -> list[int]:
    """Query the month, check every row, write the snapshot, and hand its place to the tasks that follow.

    The snapshot's URI goes into XCom under the name ``snapshot``: one line, whatever the number of recipients. Of a dry
    run, and of a run that needs approval, the plan is written too; it is not for others, which would only wait for it.

    :param facts: what preflight found. :param key: the key recipe, see :func:`mailonce.keys.key_recipe`.
    :param approval: whether a person is to approve the plan; what they are asked goes into XCom as ``question``.
    :return: the numbers of the chunks: what the mapped task expands over. Of a dry run none: nothing is delivered.
    """
    settings = Settings.load()
    params, instance = context["params"], context["ti"]
    allowance = Allowance(
        left_today=facts["left_today"], daily_quota=facts.get("daily_quota"), spread=settings.spread_over_days
    )
    period = Period(facts["period"], settings.timezone)
    maker = StatementMaker(
        campaign=campaign,
        period=period.key,
        period_fields=period,
        edition=params["edition"],
        content=Templates.of_campaign(campaign, template_root),
        sender=settings.required_sender(),
        reply_to=settings.reply_addresses,
        recipe=key_recipe(key),
    )
    with closing(open_ledger(settings)) as ledger:
        snapshot = write_snapshot(
            with_originals(
                usage_rows(settings.usage_conn_id, read_statement(statement), period),
                ledger,
                maker,
                zone=settings.timezone,
            ),
            maker,
            uri=settings.snapshot_uri,
            only=params["recipients"] or (),
            recipients_per_task=params["recipients_per_task"],
            suppressed=Suppressed(ledger, settings),
        )
        manifest = snapshot.manifest
        log.info(
            "%d rows from the query: %d recipients in %d tasks, %d rows refused or suppressed. Snapshot: %s",
            manifest.query_rows, manifest.recipients, len(manifest.chunks), manifest.rejects, snapshot.uri,
        )  # fmt: skip
        for reject in snapshot.rejects():
            log.warning("row %(row)s, field %(field)s: %(reason)s. %(remedy)s", reject)
        mails = manifest.recipients
        if params["dry_run"] or approval:
            plan = write_plan(
                snapshot,
                ledger,
                maker,
                allowance=allowance,
                run_id=context["run_id"],
                dry_run=params["dry_run"],
                named=bool(params["recipients"]),
            )
            log.info("the plan: %s. Look at it: %s/preview/index.html", plan.words, snapshot.uri)
            mails = plan.counts[Plan.NEW]
            if approval:
                instance.xcom_push(key=QUESTION, value=question(snapshot, plan))
    if (warning := check_quota(mails, allowance)) and not (params["dry_run"] or allowance.spread):
        tell(Alert(about=About.QUOTA, what=warning, where=where(context)), context)
    instance.xcom_push(key="snapshot", value=snapshot.uri)
    return [] if params["dry_run"] else list(range(len(manifest.chunks)))
