"""The second task of the monthly Dag: the usage query becomes an immutable snapshot, cut into chunks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailonce.notifiers.alert import About, Alert, where
from mailonce.workflow.alerts import tell
from mailonce.workflow.approval import QUESTION, question
from mailonce.workflow.connections import open_ledger
from mailonce.workflow.month import Wanted, statement_maker, write_month
from mailonce.workflow.plan import Allowance, Plan
from mailonce.workflow.plan_files import write_plan
from mailonce.workflow.preflight import check_quota
from mailonce.workflow.preview import Sampler
from mailonce.workflow.retries import decided_here
from mailonce.workflow.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


@decided_here
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
    wanted = Wanted(
        campaign=campaign,
        period=facts["period"],
        edition=params["edition"],
        statement=statement,
        template_root=template_root,
        recipients=params["recipients"] or (),
        recipients_per_task=params["recipients_per_task"],
        key=key,
    )
    maker = statement_maker(settings, wanted)
    with closing(open_ledger(settings)) as ledger:
        snapshot = write_month(settings, ledger, maker, wanted, uri=settings.snapshot_uri)
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
                sampler=Sampler.of_run(named=bool(params["recipients"])),
            )
            log.info("the plan: %s. Look at it: %s/preview/index.html", plan.words, snapshot.uri)
            mails = plan.counts[Plan.NEW]
            if approval:
                instance.xcom_push(key=QUESTION, value=question(snapshot, plan))
    if (warning := check_quota(mails, allowance)) and not (params["dry_run"] or allowance.spread):
        tell(Alert(about=About.QUOTA, what=warning, where=where(context)), context)
    instance.xcom_push(key="snapshot", value=snapshot.uri)
    return [] if params["dry_run"] else list(range(len(manifest.chunks)))
