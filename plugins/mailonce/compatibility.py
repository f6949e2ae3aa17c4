"""What differs between the versions of Airflow that the package runs on. No other file asks which one it is.

Whatever has moved is imported from here, by its newest name. Of what a version lacks, this file says so in one
sentence, or has a stand-in; ``docs/installing.md`` lists what becomes of it. Checked against 3.0.6, 3.1.8, 3.2.2 and 3.3.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mailonce.errors import UnsupportedAirflow

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.sdk import (
        AssetOrTimeSchedule,
        BaseHook,
        CronTriggerTimetable,
        ObjectStoragePath,
        RetryDecision,
        RetryPolicy,
        conf,
    )
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSkipException,
    )
    from airflow.sdk.observability import stats

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "AssetOrTimeSchedule",
    "BaseHook",
    "BundleDagBag",
    "CronTriggerTimetable",
    "RetryDecision",
    "RetryPolicy",
    "conf",
    "stats",
]

OLDEST = "3.0.6"
"""The oldest Airflow that the package runs on: the oldest Airflow 3 of Amazon MWAA."""
NEWEST = "3.3"
"""The newest line of versions that all of the package is tested with."""

_HOMES = {
    "AirflowException": ("airflow.sdk.exceptions:", "airflow.exceptions:"),  # the first: since 3.2
    "AirflowFailException": ("airflow.sdk.exceptions:", "airflow.exceptions:"),
    "AirflowNotFoundException": ("airflow.sdk.exceptions:", "airflow.exceptions:"),
    "AirflowSkipException": ("airflow.sdk.exceptions:", "airflow.exceptions:"),
    "AssetOrTimeSchedule": ("airflow.sdk:", "airflow.timetables.assets:"),  # 3.2
    "BaseHook": ("airflow.sdk:", "airflow.hooks.base:"),  # 3.1
    "BundleDagBag": ("airflow.dag_processing.dagbag:", "airflow.models.dagbag:DagBag"),  # 3.2
    "CronTriggerTimetable": ("airflow.sdk:", "airflow.timetables.trigger:"),  # 3.2
    "RetryDecision": ("airflow.sdk:", f"{__name__}:_Decision"),  # 3.3
    "RetryPolicy": ("airflow.sdk:", f"{__name__}:_Policy"),  # 3.3
    "conf": ("airflow.sdk:", "airflow.configuration:"),  # 3.2
    "stats": ("airflow.sdk.observability.stats", "airflow.stats:Stats"),  # 3.2
}
"""Where each is found, the newest place first: in a module, under another name there, or a module itself."""


def __getattr__(name: str) -> Any:
    # Late: Dag files are parsed often, and need few of these.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    newest, older = _HOMES[name]
    found = _found(newest, name) or _found(older, name)
    globals()[name] = found
    return found


def _found(place: str, name: str) -> Any:
    module, in_module, other_name = place.partition(":")
    try:
        home = import_module(module)
    except ImportError:
        return None
    return getattr(home, other_name or name, None) if in_module else home


def airflow_version() -> str:
    """Return the version of the Airflow that is installed."""
    # Not at the top: to import Airflow can mean to import airflow_local_settings.py, and from there this very file.
    import airflow

    return airflow.__version__


def refuse_unsupported(version: str = "") -> None:
    """Say in one sentence that this Airflow is too old. :param version: empty: the one that is installed.

    :raises mailonce.errors.UnsupportedAirflow: it is older than :data:`OLDEST`.
    """
    version = version or airflow_version()
    if _numbers(version) < _numbers(OLDEST):
        raise UnsupportedAirflow(
            f"mailonce needs Apache Airflow {OLDEST} or newer, and this is {version}: nothing of it is active here, and "
            "nothing is sent. Upgrade Airflow; docs/installing.md says what each version offers."
        )


def lacking(feature: str, *, since: str, instead: str) -> UnsupportedAirflow:
    """Return the error that says what this Airflow cannot do.

    :param feature: what somebody asked for. :param since: the Airflow that has it.
    :param instead: what to do without it, as a sentence.
    """
    return UnsupportedAirflow(f"{feature} needs Apache Airflow {since}, and this is {airflow_version()}. {instead}")


def need(feature: str, since: str, *, present: bool, instead: str) -> None:
    """Refuse what this Airflow cannot do, see :func:`lacking`. :param present: whether what it takes is here.

    :raises mailonce.errors.UnsupportedAirflow: it is not.
    """
    if not present:
        raise lacking(feature, since=since, instead=instead)


@cache
def asks_retry_policies() -> bool:
    """Return whether Airflow asks a task's retry policy (3.3). Otherwise the package decides, see ``decided_here``."""
    return _found("airflow.sdk:", "RetryPolicy") is not None


@cache
def shows_plugin_pages() -> bool:
    """Return whether Airflow shows plugins' pages inside its own, and lets a browser sign in to them (3.1)."""
    from airflow.plugins_manager import AirflowPlugin

    return hasattr(AirflowPlugin, "external_views")


def deadline(after: timedelta, missed: Callable[..., Any]) -> dict[str, Any]:
    """Return the argument that gives a Dag a deadline, counted from the run's logical date; nothing before Airflow 3.2.

    3.1 has deadlines too, but their callback is another interface.

    :param after: how long a run may take. :param missed: what is awaited in the triggerer then.
    """
    try:
        from airflow.sdk.definitions.callback import AsyncCallback
        from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
    except ImportError:
        return {}
    return {"deadline": DeadlineAlert(DeadlineReference.DAGRUN_LOGICAL_DATE, after, AsyncCallback(missed))}


def object_storage(uri: str) -> ObjectStoragePath:
    """Return a place in Airflow's object storage, whose open files can be read line by line.

    Before Airflow 3.1 they cannot: the object that watches a file's reads for lineage has ``[]``, and no ``for``.
    """
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import path

    watcher: Any = path._TrackingFileWrapper  # noqa: SLF001 - what an open file is wrapped in
    if not hasattr(watcher, "__iter__"):
        watcher.__iter__ = lambda file: iter(file._obj)  # noqa: SLF001 - same
    return ObjectStoragePath(uri)


def shortcomings() -> Iterator[str]:
    """Say what this Airflow cannot do for the package, one thing at a time; nothing from 3.3 on."""
    if not asks_retry_policies():
        yield (
            "retries come 75 s to 10 min apart, whatever has failed (retry policies: 3.3); what trying again would not help "
            "fails at once all the same, and a used up daily quota is waited for hours rather than days"
        )
        yield "a receipt that the ledger cannot take is kept in the log and the journal only (task state store: 3.3)"
        yield "a plan cannot be approved (3.3)"
    if not deadline(timedelta(hours=1), _nobody):
        yield "nobody is told of a missed deadline (3.2)"
    if not shows_plugin_pages():
        yield "the page Mail ledger opens in no browser (3.1); the terminal tool answers the same"


async def _nobody(context: Any) -> None:
    """A callback to ask with."""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


class _Policy:
    """Stands in for ``airflow.sdk.RetryPolicy`` where Airflow has none: the package asks it, see ``decided_here``."""


@dataclass(frozen=True)
class _Decision:
    """Stands in for ``airflow.sdk.RetryDecision``."""

    action: str
    retry_delay: timedelta | None = None
    reason: str | None = None

    @classmethod
    def fail(cls, reason: str | None = None) -> _Decision:
        """Decide not to try again."""
        return cls("fail", None, reason)

    @classmethod
    def retry(cls, delay: timedelta | None = None, reason: str | None = None) -> _Decision:
        """Decide to try again. :param delay: cannot be kept here: the task's own counts."""
        return cls("retry", delay, reason)
