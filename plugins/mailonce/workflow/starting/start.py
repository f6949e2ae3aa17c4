"""The task of the Dag ``start_usage_email``: what asked for a month, from asset events and a queue, becomes runs."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from mailonce.errors import InvalidInput, RequestsUnmet, StartRefused
from mailonce.workflow.campaign_dags import dag_of
from mailonce.workflow.connections import queue_client
from mailonce.workflow.events.queue import EventQueue, Message
from mailonce.workflow.events.set_aside import SetAside
from mailonce.workflow.retries import decided_here
from mailonce.workflow.settings import Settings
from mailonce.workflow.starting.dag_runs import DagRuns
from mailonce.workflow.starting.request import Request, request_in, request_of_event

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

TIME_BUDGET = timedelta(minutes=5)
"""How long one run takes messages from the queue; the next one goes on."""

WAIT_SECONDS = 600
"""After so long a message comes again whose run could not be started: each time is an alert, so not every minute."""

NAMED = 20
"""So many troubles are named in the failure; all of them in the log."""


class Outcome(str, Enum):
    """What became of a request."""

    STARTED = "started"
    KNOWN = "already started"
    WAITING = "waiting"
    SET_ASIDE = "set aside"


class Runs(Protocol):
    """What starts runs: :class:`mailonce.workflow.starting.dag_runs.DagRuns`."""

    def check(self, dag_id: str) -> None:
        """Return if a run would begin now."""

    def start(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> bool:
        """Start a run; return False if it exists already."""

    def state(self, dag_id: str, run_id: str) -> str | None:
        """Return the state of a run; None: there is none."""


class Starter:
    """Starts the run of each request, and remembers what a person must hear of.

    A request that comes twice finds its run, because the run's id follows from the request. Nothing is kept here, so
    it may stop anywhere: whoever goes on asks for the same runs again.
    """

    def __init__(self, runs: Runs) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.troubles: list[str] = []
        self._runs = runs

    def from_events(self, events: Iterable[Any]) -> None:
        """Start what asset events ask for. Airflow keeps them, so a cleared task reads the same ones.

        :param events: of Airflow, with ``extra`` and ``timestamp``.
        """
        for event in events:
            name = f"the asset event of {event.timestamp:%Y-%m-%d %H:%M:%S}"
            try:
                request = request_of_event(event.extra)
            except InvalidInput as error:
                self._trouble(Outcome.SET_ASIDE, f"{name} asks for nothing that can be started: {error}")
            else:
                self._start(request, name, "Clear this task then, or trigger the month by hand")

    def from_queue(self, queue: EventQueue, set_aside: SetAside, *, budget: timedelta = TIME_BUDGET) -> None:
        """Start what messages ask for, until the queue gives no more. A message is deleted once its run exists."""
        ends = time.monotonic() + budget.total_seconds()
        while messages := queue.receive():
            self._take(messages, queue, set_aside)
            if time.monotonic() >= ends:
                log.warning("the time is up, and the queue is not known to be empty: the next run goes on")
                return

    def _take(self, messages: Sequence[Message], queue: EventQueue, set_aside: SetAside) -> None:
        done: list[Message] = []
        waiting: list[Message] = []
        try:
            for message in messages:
                outcome = self._message(message, set_aside)
                (waiting if outcome is Outcome.WAITING else done).append(message)
        except BaseException:
            queue.give_back([message for message in messages if message not in done])
            raise
        finally:
            if done:
                queue.delete(done)
        if waiting:
            queue.give_back(waiting, after=WAIT_SECONDS)

    def _message(self, message: Message, set_aside: SetAside) -> Outcome:
        name = f"message {message.id}"
        try:
            request = request_in(message.body)
        except InvalidInput as error:
            set_aside.keep(message, f"asks for nothing that can be started: {error}")
            return self._trouble(Outcome.SET_ASIDE, f"{name} was taken out of the queue, and kept: {error}")
        return self._start(request, name, f"The message waits in the queue, and is tried again every {WAIT_SECONDS} s")

    def _start(self, request: Request, name: str, then: str) -> Outcome:
        dag_id, run_id = dag_of(request.campaign), request.run_id
        refused: StartRefused | None = None
        try:
            self._runs.check(dag_id)
            new = self._runs.start(dag_id, run_id, request.conf)
        except StartRefused as error:
            new = False
            refused = error if self._runs.state(dag_id, run_id) is None else None
        if refused:
            return self._trouble(
                Outcome.WAITING, f"{name} asks for {request.campaign} {request.period}: {refused}. {then}"
            )
        if new:
            log.info("%s: started run %s of %s", name, run_id, dag_id)
        else:
            log.info(
                "%s: run %s of %s exists already (%s), so nothing is started. To repeat it on purpose, clear that run or "
                "trigger the Dag by hand: only the missing mails go out",
                name, run_id, dag_id, self._runs.state(dag_id, run_id),
            )  # fmt: skip
        outcome = Outcome.STARTED if new else Outcome.KNOWN
        self.outcomes[outcome] += 1
        return outcome

    def _trouble(self, outcome: Outcome, what: str) -> Outcome:
        log.warning("%s", what)
        self.troubles.append(what)
        self.outcomes[outcome] += 1
        return outcome


@decided_here
def start_months(context: Context) -> dict[str, int]:
    """Start the runs that the asset events behind this run ask for, and those that the messages in the queue ask for.

    :return: counts by :class:`Outcome`.
    :raises mailonce.errors.RequestsUnmet: some ask for nothing that can be started, or not now; all others are done.
    :raises mailonce.errors.InvalidInput: the queue is not there, or may not be used.
    """
    settings = Settings.load()
    starter = Starter(DagRuns(context["ti"]))
    starter.from_events(event for events in context["triggering_asset_events"].values() for event in events)
    set_aside = SetAside(settings.snapshot_uri, of="triggers")
    if url := settings.trigger_queue_url:
        queue = EventQueue(queue_client(settings, url), url, setting="trigger_queue_url")
        starter.from_queue(queue, set_aside)
    if starter.troubles:
        more = f" And {len(starter.troubles) - NAMED} more, see the log." if len(starter.troubles) > NAMED else ""
        kept = f" What was taken out of the queue lies under {set_aside.uri}." if url else ""
        raise RequestsUnmet(". ".join(starter.troubles[:NAMED]) + f".{more}{kept}")
    return {outcome.value: count for outcome, count in starter.outcomes.items()}
