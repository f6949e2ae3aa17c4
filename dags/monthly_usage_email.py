"""Mails every customer their usage statement of the month before, once.

preflight ─▶ snapshot ─▶ deliver (mapped: one task a recipient, batches at scale) ─▶ report

With APPROVAL a person looks at the plan between snapshot and deliver. A dry run ends with the plan.
Safe to trigger again, to clear, to run twice at once: only the mails that are missing go out.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, Param, get_current_context, task

from mailonce import DeliveryRetryPolicy, IdempotentSesOperator
from mailonce.compatibility import CronTriggerTimetable, deadline  # Airflow's own, as far as this version has them
from mailonce.notifiers import DeliveryAlert, deadline_missed

CAMPAIGN = "monthly_usage"
INCLUDE = Path(__file__).resolve().parent.parent / "include"
STATEMENT = INCLUDE / "sql" / "monthly_usage.sql"
TEMPLATES = INCLUDE / "templates"
RETRIES = DeliveryRetryPolicy().task_arguments
ALERT = DeliveryAlert()  # through the channels of the settings

DEADLINE = timedelta(hours=12)  # from the run's start; a run not done by then is an alert, and goes on
APPROVAL = False  # True: nothing is sent before a person has looked at the plan and approved it
APPROVAL_PATIENCE = timedelta(days=5)  # then nobody is mailed, and the run fails

PARAMETERS = {
    "period": Param(
        None,
        type=["null", "string"],
        pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$",
        title="Month",
        description="Month to report, as YYYY-MM. Empty: the month before the run's date.",
    ),
    "recipients": Param(
        [],
        type=["array", "null"],
        items={"type": "string", "minLength": 1, "maxLength": 256},
        uniqueItems=True,
        title="Only these recipients",
        description="Recipient ids, one a line. Empty: everybody. Who was already served gets no second copy.",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Do everything except claim and send: write the plan, and rendered mails to look at.",
    ),
    "recipients_per_task": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=100_000,
        title="Recipients per task",
        description="Empty: one, as long as there are at most 1000 recipients; then as few as keep the map within 1000.",
    ),
    "edition": Param(
        "original",
        type="string",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        title="Edition",
        description="Which statement of the month this is. Another edition is another mail: everybody chosen gets it.",
    ),
}

with DAG(
    dag_id="monthly_usage_email",
    # Noon in UTC on the 1st is the 1st or the 2nd in every time zone, so the month before is the right one in all.
    schedule=CronTriggerTimetable("0 12 1 * *", timezone="UTC"),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    **deadline(DEADLINE, deadline_missed),
    params=PARAMETERS,
    default_args={"owner": "billing", **RETRIES},
    tags=["mailonce", "email"],
    doc_md=__doc__,
    # The recipients parameter is a list, and a list it shall stay.
    render_template_as_native_obj=False,
) as dag:

    @task(multiple_outputs=False, on_failure_callback=ALERT)
    def preflight() -> dict[str, Any]:
        """Find what would stop everybody's mail before anything is done."""
        from mailonce.workflow.preflight import preflight as check

        return check(
            get_current_context(),
            campaign=CAMPAIGN,
            statement=STATEMENT,
            template_root=TEMPLATES,
            parameters=PARAMETERS,
        )

    @task(multiple_outputs=False, on_failure_callback=ALERT)
    def snapshot(facts: dict[str, Any]) -> list[int]:
        """Query, check every row, write the immutable snapshot; return the numbers of its chunks."""
        from mailonce.workflow.planning import plan_month

        return plan_month(
            get_current_context(),
            facts,
            campaign=CAMPAIGN,
            statement=STATEMENT,
            template_root=TEMPLATES,
            approval=APPROVAL,
        )

    # Not deliver: the report says once what a thousand mapped tasks would say each.
    @task(multiple_outputs=False, trigger_rule="all_done", on_failure_callback=ALERT)
    def report() -> dict[str, Any]:
        """Count from the ledger what became of everybody; fail if somebody has no confirmed mail."""
        from mailonce.workflow.report import report_run

        context = get_current_context()
        return report_run(
            context["ti"].xcom_pull(task_ids="snapshot", key="snapshot"),
            run_id=context["run_id"],
            dry_run=context["params"]["dry_run"],
        )

    chunks = snapshot(preflight())
    deliver = IdempotentSesOperator.partial(
        task_id="deliver",
        campaign=CAMPAIGN,
        period="{{ ti.xcom_pull(task_ids='preflight')['period'] }}",
        edition="{{ params.edition }}",
        snapshot="{{ ti.xcom_pull(task_ids='snapshot', key='snapshot') }}",
        approved="{{ ti.xcom_pull(task_ids='approve')['snapshot'] }}" if APPROVAL else None,
        preview="{{ params.dry_run }}",
        template_root=str(TEMPLATES),
        map_index_template="{{ task.map_label }}",
        **RETRIES,
    ).expand(chunk=chunks)
    deliver >> report()

    if APPROVAL:
        # Not at the top: whoever does without approval need not parse it.
        from mailonce.operators.approval import PlanApprovalOperator

        approve = PlanApprovalOperator(
            task_id="approve",
            subject="May these mails go out?",
            body="{{ ti.xcom_pull(task_ids='snapshot', key='question') }}",
            snapshot="{{ ti.xcom_pull(task_ids='snapshot', key='snapshot') }}",
            preview="{{ params.dry_run }}",
            response_timeout=APPROVAL_PATIENCE,
        )
        chunks >> approve >> deliver
