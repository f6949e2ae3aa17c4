"""Does Airflow give the sending tasks the time and the retries that they need?

``[core] killed_task_cleanup_time`` is not looked at: Airflow 3.3 does not read it any more. Its supervisor gives a
killed task 5 seconds, whatever is configured (``airflow.sdk.execution_time.supervisor``, ``WatchedSubprocess.kill``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mailonce.compatibility import asks_retry_policies
from mailonce.doctor.installation import Installation
from mailonce.findings import Finding, Severity
from mailonce.workflow.retries import DeliveryRetryPolicy
from mailonce.workflow.senders import senders

if TYPE_CHECKING:
    from airflow.sdk import DAG

TIME = "task's time"
RETRIES = "task's retries"
DAGS = "Dags"

_REDELIVERING_BROKERS = ("redis://", "rediss://", "sqs://", "sentinel://")
_DEFAULT_REDELIVERY = timedelta(days=1)
"""What Airflow's Celery provider sets for those brokers, if nobody says otherwise
(``airflow.providers.celery.executors.default_celery``)."""


def check(installation: Installation) -> Iterator[Finding]:
    """Look at every task that sends, and at Airflow's own settings."""
    for file, why in installation.broken_dags.items():
        yield Finding(
            severity=Severity.WARNING,
            check=DAGS,
            found=f"{file} cannot be read as a Dag: {why.strip().splitlines()[-1]}",
            remedy="Mend the file: none of its Dags runs.",
        )
    tasks = list(senders(installation.dags))
    needed = _needed(installation)
    troubles = [finding for dag, task in tasks for finding in _task(dag, task, needed, installation)]
    troubles += _heartbeat(needed)
    troubles += _redelivery(needed, tasks)
    yield from troubles
    if not troubles:
        names = ", ".join(_name(dag, task) for dag, task in tasks) or "no task that sends is among those looked at"
        yield Finding(severity=Severity.OK, check=TIME, found=f"{names}: time enough, and the retries of the policy.")


def load_dags() -> tuple[list[DAG], Mapping[str, str]]:
    """Read the Dag files of every bundle, as ``airflow dags list-import-errors --local`` does; not for a task.

    :return: the Dags, and the files that could not be read, each with Airflow's complaint.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    from mailonce.compatibility import BundleDagBag

    dags: list[DAG] = []
    broken: dict[str, str] = {}
    manager: Any = DagBundlesManager
    for bundle in manager().get_all_dag_bundles():
        try:
            bundle.initialize()
            bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        except Exception as error:  # noqa: BLE001 - a repository that is away must not hide the others
            broken[f"bundle {bundle.name}"] = f"{type(error).__name__}: {error}"
            continue
        dags += bag.dags.values()
        broken |= bag.import_errors
    return dags, broken


def _needed(installation: Installation) -> timedelta:
    """Return how long one mail may take from its claim to its record, if all goes as badly as is planned for."""
    timing = installation.settings.timing
    return timing.window + installation.longest_request + timing.record_patience


def _task(dag: DAG, task: Any, needed: timedelta, installation: Installation) -> Iterator[Finding]:
    name = _name(dag, task)
    if task.execution_timeout is not None and task.execution_timeout < needed:
        yield Finding(
            severity=Severity.WARNING,
            check=TIME,
            found=f"{name} is killed after {_seconds(task.execution_timeout)} (execution_timeout), but one mail may take "
            f"{_seconds(needed)}: what is on the wire in that moment (of a batch, up to {installation.settings.concurrency} "
            "mails) is in doubt.",
            remedy=f"Take execution_timeout away, or give it {_seconds(needed)}; a batch also needs the time of all its mails.",
        )
    # Where Airflow asks no policy, the package's own is asked, and only the number of retries is the task's.
    policy = task.retry_policy if asks_retry_policies() else DeliveryRetryPolicy()
    if not isinstance(policy, DeliveryRetryPolicy):
        yield Finding(
            severity=Severity.WARNING,
            check=RETRIES,
            found=f"{name} has no DeliveryRetryPolicy: what only somebody can mend is tried again in vain, and what comes "
            "right by itself perhaps not often enough.",
            remedy="Give it **DeliveryRetryPolicy().task_arguments (the operator's default).",
        )
    elif (task.retries or 0) < policy.most:
        yield Finding(
            severity=Severity.WARNING,
            check=RETRIES,
            found=f"{name} has retries={task.retries}, and its policy cannot exceed that: it would go up to {policy.most}.",
            remedy="Give it **DeliveryRetryPolicy().task_arguments (the operator's default).",
        )
    timing = installation.settings.timing
    settled = timing.window + timing.settle
    if dag.dagrun_timeout is not None and dag.dagrun_timeout < settled:
        yield Finding(
            severity=Severity.WARNING,
            check=TIME,
            found=f"runs of {dag.dag_id} end after {_seconds(dag.dagrun_timeout)} (dagrun_timeout), but a mail in doubt is "
            f"settled only after {_seconds(settled)}: the run is ended while its tasks still wait for that.",
            remedy=f"Take dagrun_timeout away, or give it hours (at the very least {_seconds(settled)}).",
        )


def _heartbeat(needed: timedelta) -> Iterator[Finding]:
    from mailonce.compatibility import conf

    patience = timedelta(seconds=conf.getint("scheduler", "task_instance_heartbeat_timeout"))
    if patience < needed:
        yield Finding(
            severity=Severity.WARNING,
            check=TIME,
            found=f"Airflow takes a task for dead after {_seconds(patience)} without a sign of life ([scheduler] "
            f"task_instance_heartbeat_timeout), and runs it again; its process may live on for {_seconds(needed)}. The "
            "second sends nothing that the first has claimed, but has to wait for it.",
            remedy=f"Set it to {_seconds(needed)} or more (Airflow's default: 300 s), or claim_window and record_patience lower.",
        )


def _redelivery(needed: timedelta, tasks: list[tuple[DAG, Any]]) -> Iterator[Finding]:
    from mailonce.compatibility import conf

    if "Celery" not in conf.get("core", "executor"):
        return
    # The provider's own default, where it is not installed.
    if not conf.get("celery", "broker_url", fallback="redis://").startswith(_REDELIVERING_BROKERS):
        return
    told = conf.get("celery_broker_transport_options", "visibility_timeout", fallback=None)
    redelivery = timedelta(seconds=float(told)) if told else _DEFAULT_REDELIVERY
    limits = {_name(dag, task): task.execution_timeout or needed for dag, task in tasks}
    for name, longest in (limits or {"a task": needed}).items():
        if redelivery < longest:
            yield Finding(
                severity=Severity.WARNING,
                check=TIME,
                found=f"{name} may run for {_seconds(longest)}, but Celery's broker hands it to a second worker after "
                f"{_seconds(redelivery)} ([celery_broker_transport_options] visibility_timeout). The ledger keeps the second "
                "from sending, but Airflow may take the task for failed.",
                remedy=f"Set visibility_timeout above the longest task (default: {_seconds(_DEFAULT_REDELIVERY)}).",
            )


def _name(dag: DAG, task: Any) -> str:
    return f"{dag.dag_id}.{task.task_id}"


def _seconds(time: timedelta) -> str:
    return f"{time.total_seconds():.0f} s"
