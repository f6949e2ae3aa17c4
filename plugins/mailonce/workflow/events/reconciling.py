"""The tasks of the Dag ``reconcile_usage_email``: the provider's events become facts in the ledger, and alarms."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any

from mailonce.errors import DuplicateMeasured, EventsSetAside
from mailonce.recovery import recover
from mailonce.workflow.connections import events_client, open_ledger
from mailonce.workflow.events.draining import Drain
from mailonce.workflow.events.observing import Outcome
from mailonce.workflow.events.queue import EventQueue
from mailonce.workflow.events.set_aside import SetAside
from mailonce.workflow.events.watching import EventsWatch
from mailonce.workflow.metrics import AirflowMetrics
from mailonce.workflow.retries import decided_here
from mailonce.workflow.settings import Settings

log = logging.getLogger(__name__)

NAMES_IN_RESULT = 50
"""So many duplicates are named in the task's result and in the alarm; all of them in the log, and in the ledger."""


@decided_here
def reconcile() -> dict[str, Any]:
    """Empty the queue of events into the ledger, and the journals that dead processes left on this machine.

    :return: counts by :class:`mailonce.workflow.events.observing.Outcome`, and what :func:`raise_alarm` needs.
    :raises AirflowSkipException: no queue is set.
    :raises mailonce.errors.InvalidInput: the queue is not there, or may not be used.
    :raises mailonce.errors.LedgerError: the ledger is away; what it does not hold is still in the queue.
    """
    settings = Settings.load()
    if not settings.events_queue_url:
        from mailonce.compatibility import AirflowSkipException

        raise AirflowSkipException(
            "No events are read. Set AIRFLOW__MAILONCE__EVENTS_QUEUE_URL to the URL of the SQS queue in which the events "
            "of the configuration set arrive; until then, only a person can settle a mail in doubt."
        )
    queue = EventQueue(events_client(settings), settings.events_queue_url)
    set_aside = SetAside(settings.snapshot_uri)
    with (
        closing(open_ledger(settings, connections=settings.concurrency)) as ledger,
        EventsWatch(AirflowMetrics, settings) as watch,
    ):
        if settings.journal_folder:
            recover(settings.journal_folder, ledger)
        tally = Drain(queue, ledger, set_aside, threads=settings.concurrency, watch=watch.observed).run()
        watch.drained(ledger, queue)
    log.info("%s; the queue is %s", tally.in_words(), "empty" if tally.drained else "not known to be empty")
    duplicates = list(tally.duplicates.values())
    # Small and plain: it goes through XCom.
    return {
        **{outcome.value: count for outcome, count in tally.outcomes.items()},
        "drained": tally.drained,
        "stopped_by": tally.stopped_by,
        "duplicates": len(duplicates),
        "named_duplicates": [asdict(duplicate) for duplicate in duplicates[:NAMES_IN_RESULT]],
        "set_aside_in": set_aside.uri,
    }


@decided_here
def raise_alarm(result: Mapping[str, Any]) -> None:
    """Fail if a run found what a person must hear of: once, for the messages that told it are deleted by now.

    :param result: of :func:`reconcile`.
    :raises mailonce.errors.DuplicateMeasured: somebody got more than one mail.
    :raises mailonce.errors.EventsSetAside: messages told nothing that the ledger can keep.
    """
    said = []
    if count := result["duplicates"]:
        named = [
            f"{each['recipient_id']}: messages {', '.join(each['message_ids'])} [key {each['key']}]"
            for each in result["named_duplicates"]
        ]
        said.append(
            f"By the provider's own events, {count} recipients were sent more than one mail for the same key. Each key's "
            f"history in the ledger tells how that came. {'; '.join(named)}."
        )
    if kept := result.get(Outcome.SET_ASIDE.value):
        said.append(
            f"{kept} messages told nothing that the ledger can keep. They are out of the queue, and lie with the reason "
            f"under {result['set_aside_in']}; mend the cause, and send a body to the queue again if it was of use."
        )
    if result["stopped_by"]:
        said.append(f"The run also stopped early ({result['stopped_by']}); nothing is lost, the next one goes on.")
    if said:
        raise (DuplicateMeasured if count else EventsSetAside)(" ".join(said))
