"""``PlanApprovalOperator``: nothing is sent before a person has looked at the plan and approved it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mailonce.compatibility import AirflowSkipException, lacking
from mailonce.errors import RunBlocked

try:
    from airflow.providers.standard.exceptions import HITLRejectException, HITLTimeoutError
    from airflow.providers.standard.operators.hitl import ApprovalOperator
    from airflow.sdk.exceptions import TaskAwaitingInput
    from airflow.sdk.execution_time.hitl import upsert_hitl_detail
except ImportError:
    raise lacking(
        "The approval of a plan (APPROVAL in the Dag file, PlanApprovalOperator)",
        since="3.3",
        instead="Set APPROVAL = False, and look at a dry run before the month is mailed.",
    ) from None

if TYPE_CHECKING:
    from airflow.sdk import Context


class PlanApprovalOperator(ApprovalOperator):
    """Airflow's own approval, bound to one snapshot.

    Rejected, or not answered in time, the task fails: nobody is mailed, and the run is red, for the month is not out.
    Cleared, it asks again, as long as the plan is the same: Airflow goes on showing the question of the first try
    (https://github.com/apache/airflow/pull/73235), and nobody shall approve what they are not shown.

    Import it only where it is used: a Dag file is parsed often.

    :param snapshot: URI of the snapshot that is asked about. (templated)
    :param preview: whether the run is a dry run, which sends nothing and needs no approval. (templated)
    :param kwargs: as for ``ApprovalOperator``: ``subject``, ``body``, ``response_timeout``, ``assigned_users``, ``notifiers``.
    :return: ``snapshot``, ``by`` and ``at``: what was approved, by whom, and when.
    :raises mailonce.errors.RunBlocked: it was rejected, nobody answered in time, or the plan is another one than is shown.
    """

    template_fields: Sequence[str] = (*ApprovalOperator.template_fields, "snapshot", "preview")

    def __init__(self, *, snapshot: str, preview: bool | str = False, **kwargs: Any) -> None:
        super().__init__(fail_on_reject=True, **kwargs)
        self.snapshot = snapshot
        self.preview = preview

    def execute(self, context: Context) -> Any:
        """Ask, and wait without occupying a worker."""
        if str(self.preview).strip().lower() in ("true", "1", "yes"):
            raise AirflowSkipException("A dry run sends nothing: there is nothing to approve.")
        if self._shown(context) != self.body:
            raise RunBlocked(
                "The plan is another one than this run asked about before, and Airflow would still show that one. Trigger "
                "the month again: the new run asks about the plan as it is now."
            )
        try:
            super().execute(context)
        except TaskAwaitingInput as waiting:
            # What was asked about is kept with the question: when the answer comes, the run may have another snapshot.
            asked = {**(waiting.kwargs or {}), "asked": self.snapshot}
            raise TaskAwaitingInput(method_name=waiting.method_name, kwargs=asked, timeout=waiting.timeout) from None

    def execute_complete(self, context: Context, event: dict[str, Any], asked: str = "") -> dict[str, str]:
        """Take the answer.

        :param asked: URI of the snapshot that the question was about.
        """
        who = str((event.get("responded_by_user") or {}).get("name") or "somebody")
        try:
            answer = super().execute_complete(context, event)
        except HITLRejectException as error:
            raise RunBlocked(f"{who} rejected the plan: nobody is mailed.") from error
        except HITLTimeoutError as error:
            raise RunBlocked(
                "Nobody approved the plan in time: nobody is mailed. Clear this task to ask again."
            ) from error
        self.log.info("%s approved %s", who, asked)
        return {"snapshot": asked, "by": who, "at": answer["responded_at"].isoformat()}

    def _shown(self, context: Context) -> str | None:
        """Return the text that Airflow shows: of an earlier try, if there was one, otherwise the one given here."""
        from airflow.sdk.execution_time.comms import CreateHITLDetailPayload
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        question: dict[str, Any] = {
            "ti_id": context["ti"].id,
            "options": self.options,
            "subject": self.subject,
            "body": self.body,
        }
        upsert_hitl_detail(
            **question, defaults=self.defaults, params=self.serialized_params, assigned_users=self.assigned_users
        )
        # Asked once more it changes nothing, and the answer tells what is kept: Airflow's own function throws it away.
        return getattr(
            SUPERVISOR_COMMS.send(CreateHITLDetailPayload(**question, params={}, assigned_users=[])), "body", None
        )
