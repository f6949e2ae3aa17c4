"""Which tasks of a Dag send mails, and through whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mailonce.operators.base import IdempotentMailOperator
from mailonce.workflow.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import DAG

_CONNECTIONS = ("brevo_conn_id", "smtp_conn_id")


def senders(dags: Sequence[DAG]) -> Iterator[tuple[DAG, Any]]:
    """Yield every task that sends, with its Dag."""
    for dag in dags:
        for task in dag.tasks:
            if issubclass(_kind(task), IdempotentMailOperator):
                yield dag, task


def providers_of(dags: Sequence[DAG], settings: Settings) -> frozenset[str]:
    """Return who carries the mails of these Dags; where no task sends, whom the settings name."""
    return frozenset(_kind(task).provider for _, task in senders(dags)) or frozenset({settings.provider})


def as_the_dag_sends(settings: Settings, dag: DAG | None) -> Settings:
    """Return the settings as the tasks of a Dag have them that send: the provider, and the connection that leads to it.

    Where they differ among themselves, or say it only when they run (in a template), the settings stay as they are.
    """
    tasks = [task for _, task in senders([dag] if dag else [])]
    said = {"provider": {_kind(task).provider for task in tasks}}
    said |= {name: {_argument(task, name) for task in tasks} for name in _CONNECTIONS}
    agreed = {name: next(iter(values)) for name, values in said.items() if len(values) == 1}
    return replace(settings, **{name: value for name, value in agreed.items() if value and "{{" not in str(value)})


def _kind(task: Any) -> type[Any]:
    kind: type[Any] = task.operator_class if task.is_mapped else type(task)
    return kind


def _argument(task: Any, name: str) -> Any:
    return task.partial_kwargs.get(name) if task.is_mapped else getattr(task, name, None)
