"""When a task is tried again: Airflow's own retries, with one row a kind of failure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from mailonce.compatibility import RetryDecision, RetryPolicy, asks_retry_policies
from mailonce.errors import (
    AwaitingProof,
    AwaitingQuota,
    BatchIncomplete,
    DuplicateMeasured,
    EventsSetAside,
    InDoubt,
    InFlight,
    InvalidInput,
    LedgerUnavailable,
    LedgerUnusable,
    MonthBusy,
    NeverLeft,
    RecipientsUnresolved,
    Rejected,
    RequestsUnmet,
    RunBlocked,
    TemporarilyRefused,
    Throttled,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How often and how slowly one kind of failure is tried again.

    :param count: how many retries. :param delay: before the first.
    :param growth: each delay is so many times the one before. :param cap: longest delay.
    :param jitter: each delay is longer or shorter by up to this share of it. Airflow's own jitter ignores the map
        index, so that all mapped tasks would come back at the same moment.
    """

    count: int
    delay: timedelta = timedelta(0)
    growth: float = 2.0
    cap: timedelta = timedelta(minutes=10)
    jitter: float = 0.5

    def before_retry(self, number: int, *, chance: float) -> timedelta:
        """Return the delay before retry ``number`` (1 is the first).

        :param chance: from 0 to 1, where in the jitter's range.
        """
        # Capped in seconds first: a large exponent is more than a timedelta can hold.
        seconds = min(self.delay.total_seconds() * self.growth ** min(number - 1, 64), self.cap.total_seconds())
        return timedelta(seconds=seconds * (1 + self.jitter * (2 * chance - 1)))


NEVER = Backoff(count=0)

RETRIES: Mapping[type[BaseException], Backoff] = {
    # failure                 retries    first delay                  each times, at most
    Throttled: Backoff(count=10, delay=timedelta(seconds=2), growth=2, cap=timedelta(minutes=5)),
    # Long enough for greylisting, which mostly lasts from five minutes to an hour.
    TemporarilyRefused: Backoff(count=8, delay=timedelta(minutes=1), growth=2, cap=timedelta(minutes=30)),
    NeverLeft: Backoff(count=8, delay=timedelta(seconds=5), growth=2, cap=timedelta(minutes=10)),
    # For more than four hours, as long as a large month takes.
    MonthBusy: Backoff(count=24, delay=timedelta(seconds=30), growth=1.5, cap=timedelta(minutes=15), jitter=0.2),
    InFlight: Backoff(count=5, delay=timedelta(seconds=20), growth=2, cap=timedelta(minutes=2), jitter=0.2),
    # Long enough for the settled moment and for the provider's events; the ledger's clock says when it is in vain.
    AwaitingProof: Backoff(count=24, delay=timedelta(seconds=20), growth=1.5, cap=timedelta(minutes=5), jitter=0.2),
    # For six days: the quota is a moving 24-hour window, which frees again what was sent a day before.
    AwaitingQuota: Backoff(count=24, delay=timedelta(hours=6), growth=1, cap=timedelta(hours=6), jitter=0.2),
    LedgerUnavailable: Backoff(count=8, delay=timedelta(seconds=10), growth=2, cap=timedelta(minutes=10)),
    # Not helped by trying again: somebody must decide, correct or permit something first.
    InDoubt: NEVER,
    Rejected: NEVER,
    RunBlocked: NEVER,
    InvalidInput: NEVER,
    LedgerUnusable: NEVER,
    RecipientsUnresolved: NEVER,
    DuplicateMeasured: NEVER,
    EventsSetAside: NEVER,
    RequestsUnmet: NEVER,
    # Anything else: Airflow's own trouble, a worker that was killed.
    BaseException: Backoff(count=3, delay=timedelta(seconds=10), growth=3, cap=timedelta(minutes=10)),
}
"""The table. The most specific class that fits counts; ``DeliveryRetryPolicy({Throttled: Backoff(…)})`` overrides a row."""


AFTER_KILL = timedelta(seconds=75)
"""Delay after a task was killed outright: no policy is asked then, and Airflow waits its ``retry_delay`` (5 minutes by
default). A little longer than a claim's window, so that the next try can tell what the killed one left behind."""


LONGEST_PLAIN_DELAY = timedelta(minutes=10)
"""Between two tries, where Airflow asks no policy (before 3.3) and doubles the delay each time."""


class DeliveryRetryPolicy(RetryPolicy):
    """Decides by the kind of failure. Give a task all of :attr:`task_arguments`: a policy alone cannot exceed ``retries``.

    :param overrides: rows that take the place of those in :data:`RETRIES`, or add to them.
    """

    def __init__(self, overrides: Mapping[type[BaseException], Backoff] | None = None) -> None:
        self.table = {**RETRIES, **(overrides or {})}

    @property
    def most(self) -> int:
        """The largest count in the table: what the task's ``retries`` must be."""
        return max(backoff.count for backoff in self.table.values())

    @property
    def task_arguments(self) -> dict[str, Any]:
        """What a task needs to follow this policy: arguments for an operator, or a Dag's ``default_args``."""
        ours: dict[str, Any] = {"retries": self.most, "retry_delay": AFTER_KILL}
        if asks_retry_policies():
            return {"retry_policy": self, **ours}
        # Whether it is tried again is decided here too; how long after, by Airflow, for all kinds of failure alike.
        return {**ours, "retry_exponential_backoff": True, "max_retry_delay": LONGEST_PLAIN_DELAY}

    def backoff(self, error: BaseException) -> Backoff:
        """Return the row for an error."""
        return next(self.table[kind] for kind in type(error).__mro__ if kind in self.table)

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """See :class:`airflow.sdk.RetryPolicy`. Of a batch, whoever is helped by the next try soonest decides."""
        errors = exception.errors if isinstance(exception, BatchIncomplete) else (exception,)
        retry = self._retry_number(try_number, max_tries, context)
        rows = {type(error): self.backoff(error) for error in errors}
        helped = [error for error in errors if retry <= rows[type(error)].count]
        name = type(exception).__name__
        if not helped:
            most = max(row.count for row in rows.values())
            tries = f" after {most} retries" if most else ": trying again would not help"
            return RetryDecision.fail(f"{name}{tries}. {exception}")
        chance = random.random()  # noqa: S311 - spreads load, guards nothing
        delay, error = min(
            ((self._delay(error, retry, chance), error) for error in helped), key=lambda choice: choice[0]
        )
        count = rows[type(error)].count
        return RetryDecision.retry(delay, f"{name}: retry {retry} of {count} in {delay.total_seconds():.0f} s")

    def _delay(self, error: BaseException, retry: int, chance: float) -> timedelta:
        if isinstance(error, AwaitingProof) and error.retry_after is not None:
            # Not earlier, for it would be in vain; a little later for some, so that not all come at once.
            return timedelta(seconds=error.retry_after + 10 * chance)
        return self.backoff(error).before_retry(retry, chance=chance)

    def _retry_number(self, try_number: int, max_tries: int, context: Context | None) -> int:
        """Return which retry would come next, since the task was last cleared: Airflow goes on counting tries then."""
        task = context.get("task") if context else None
        allowed = getattr(task, "retries", None) or self.most
        return max(1, try_number - (max_tries - allowed))

    def serialize(self) -> dict[str, Any]:
        """Return nothing: the policy is read from the Dag file wherever it is needed."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DeliveryRetryPolicy:
        """Return the default policy."""
        return cls()


def decided_here(work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let what trying again would not help fail at once, also where Airflow asks no policy (before 3.3).

    For a function that a task calls. From Airflow 3.3 on it is left as it is.
    """
    if asks_retry_policies():
        return work

    @wraps(work)
    def decided(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        from airflow.sdk import get_current_context

        from mailonce.compatibility import AirflowException, AirflowFailException

        try:
            return work(*arguments, **named)
        except AirflowException:
            raise  # skipped, deferred, failed for good: said to Airflow on purpose
        except Exception as error:
            context = get_current_context()
            instance: Any = context["ti"]
            decision = DeliveryRetryPolicy().evaluate(error, instance.try_number, instance.max_tries, context)
            if decision.action == RetryDecision.fail().action:
                raise AirflowFailException(decision.reason) from error
            raise

    return decided
