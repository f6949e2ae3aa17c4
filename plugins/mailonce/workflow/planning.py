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
from mailonce.period import Period
from mailonce.workflow.connections import open_ledger
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
) -> list[int]:
    """Query the month, check every row, write the snapshot, and hand its place to the tasks that follow.

    The snapshot's URI goes into XCom under the name ``snapshot``: one line, whatever the number of recipients.

    :param facts: what preflight found. :param key: the key recipe, see :func:`mailonce.keys.key_recipe`.
    :return: the numbers of the chunks: what the mapped task expands over.
    """
    settings = Settings.load()
    params = context["params"]
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
            usage_rows(settings.usage_conn_id, read_statement(statement), period),
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
    check_quota(manifest.recipients, facts["left_today"], facts.get("daily_quota"), spread=settings.spread_over_days)
    context["ti"].xcom_push(key="snapshot", value=snapshot.uri)
    return list(range(len(manifest.chunks)))
