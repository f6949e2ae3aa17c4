"""Runs of other Dags, as a task may start them.

A task of Airflow 3 has no database, and no credentials of its own for the REST API; it asks its supervisor. What is
asked here is what ``TriggerDagRunOperator`` has its supervisor asked too
(``airflow.sdk.execution_time.task_runner``, ``_handle_trigger_dag_run``). That operator itself starts one run and is
done: it could not start several, nor delete a message once its run exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailonce.compatibility import need
from mailonce.errors import StartRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk.types import RuntimeTaskInstanceProtocol

TAG = "mailonce"
"""Only Dags with this tag are started: whoever may write to a queue shall not start anything else."""


@dataclass(frozen=True)
class DagRuns:
    """Starts runs on behalf of a task.

    :param instance: the task that runs in this process.
    """

    instance: RuntimeTaskInstanceProtocol

    def check(self, dag_id: str) -> None:
        """Return if a run of the Dag would begin now.

        :raises mailonce.errors.StartRefused: there is no such Dag, it is paused, or it is not one of ours.
        :raises mailonce.errors.UnsupportedAirflow: this Airflow does not tell a task about Dags.
        """
        from airflow.sdk.exceptions import AirflowRuntimeError

        need(
            "Starting a month by a message",
            "3.2",
            present=hasattr(self.instance, "get_dag"),
            instead="Schedule the Dag of the campaign by the asset itself.",
        )
        try:
            dag: Any = self.instance.get_dag(dag_id)
        except AirflowRuntimeError as error:
            if _status(error) != _NOT_FOUND:
                raise
            raise StartRefused(
                f"there is no Dag {dag_id}: correct the campaign, or name its Dag in [mailonce] campaign_dags"
            ) from error
        if TAG not in dag.tags:
            raise StartRefused(f"the Dag {dag_id} does not have the tag {TAG}: give it the tag if it is to be started")
        if dag.is_paused:
            raise StartRefused(f"the Dag {dag_id} is paused: unpause it")

    def start(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> bool:
        """Start a run; return False if one with this id exists already, which then is left as it is.

        :raises mailonce.errors.StartRefused: Airflow does not let it start.
        """
        from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
        from airflow.sdk.execution_time import task_runner
        from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

        asked = TriggerDagRun(dag_id=dag_id, run_id=run_id, conf=dict(conf))
        try:
            answer: Any = task_runner.SUPERVISOR_COMMS.send(asked)
        except AirflowRuntimeError as error:
            if _status(error) not in _REFUSALS:
                raise
            raise StartRefused(f"Airflow does not start a run of {dag_id}: {error.error.detail}") from error
        return not (isinstance(answer, ErrorResponse) and answer.error is ErrorType.DAGRUN_ALREADY_EXISTS)

    def state(self, dag_id: str, run_id: str) -> str | None:
        """Return the state of a run; None: there is no such run."""
        from airflow.sdk.exceptions import AirflowRuntimeError

        try:
            state: Any = self.instance.get_dagrun_state(dag_id, run_id)
        except AirflowRuntimeError as error:
            if _status(error) != _NOT_FOUND:
                raise
            return None
        return str(getattr(state, "value", state))


_NOT_FOUND = 404
_REFUSALS = (400, _NOT_FOUND, 422)
"""What Airflow answers when trying again would not help."""


def _status(error: Any) -> int | None:
    """Return the HTTP status behind an error of the supervisor, if there is one."""
    status: int | None = (error.error.detail or {}).get("status_code")
    return status
