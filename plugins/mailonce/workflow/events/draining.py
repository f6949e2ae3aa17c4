"""Empties the queue of the provider's events into the ledger."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import timedelta

from mailonce.ledgers.base import Ledger
from mailonce.workflow.events.observing import Duplicate, Observation, Outcome, observe_all
from mailonce.workflow.events.queue import BATCH, EventQueue, Message
from mailonce.workflow.events.set_aside import SetAside

log = logging.getLogger(__name__)

TIME_BUDGET = timedelta(minutes=10)
"""How long one run takes messages from the queue; the next one goes on."""

PROGRESS_SECONDS = 5.0
"""How often it says how far it is."""


@dataclass
class Tally:
    """What became of the messages of one run.

    :param duplicates: what was newly measured, by key.
    :param drained: whether the queue was empty at the end, so that the ledger holds every event that had arrived.
    :param stopped_by: the error that ended the run early, if one did.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    duplicates: dict[str, Duplicate] = field(default_factory=dict)
    drained: bool = False
    stopped_by: str = ""

    def add(self, observations: Sequence[Observation]) -> None:
        """Count a batch."""
        self.outcomes.update(observation.outcome for observation in observations)
        self.duplicates.update((each.duplicate.key, each.duplicate) for each in observations if each.duplicate)

    @property
    def alarming(self) -> bool:
        """Whether there is something that a person must hear of."""
        return bool(self.duplicates or self.outcomes[Outcome.SET_ASIDE])

    def in_words(self) -> str:
        """Return the counts as text."""
        counts = [f"{self.outcomes[outcome]} {outcome.value}" for outcome in Outcome if self.outcomes[outcome]]
        return ", ".join(counts) or "no messages"


class Drain:
    """One run over a queue. A message is deleted only once the ledger holds what it tells.

    :param threads: how many batches are worked on at once. :param budget: when to stop though there is more.
    :param watch: is shown every batch of observations, by one thread at a time.
    """

    def __init__(
        self,
        queue: EventQueue,
        ledger: Ledger,
        set_aside: SetAside,
        *,
        threads: int = 1,
        budget: timedelta = TIME_BUDGET,
        watch: Callable[[Sequence[Observation]], None] = lambda _observations: None,
    ) -> None:
        self.tally = Tally()
        self._queue = queue
        self._ledger = ledger
        self._set_aside = set_aside
        self._threads = threads
        self._watch = watch
        self._started = self._said = time.monotonic()
        self._ends = self._started + budget.total_seconds()
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> Tally:
        """Work until the queue is empty, or the time is up.

        An error does not hide what was found before it: if that is alarming, the error stands in the tally instead.

        :raises mailonce.errors.LedgerError: the ledger is away; what it does not hold is still in the queue.
        """
        try:
            self.tally.drained = self._until_empty()
        except Exception as error:
            if not self.tally.alarming:
                raise
            log.exception("stopped early; what is left in the queue is for the next run")
            self.tally.stopped_by = f"{type(error).__name__}: {error}"
        return self.tally

    def _until_empty(self) -> bool:
        while not self._over:
            # The ledger's clock, read before the queue is asked: whatever had arrived by then, the queue would show.
            moment = self._ledger.epoch.read().read_at
            if messages := self._queue.receive():
                self._sweep(messages)
                continue
            depth = self._queue.depth()
            if depth.hidden and not depth.waiting:
                # Somebody has taken them and neither deleted nor given them back: was killed, perhaps. Until they come
                # again nobody may conclude anything from an event that is not in the ledger.
                log.info("the queue is empty, but %d messages are in somebody else's hands", depth.hidden)
                return False
            if not depth.waiting:
                self._ledger.epoch.drained(moment)
                return True
        log.warning("the time is up, and the queue is not empty: the next run goes on")
        return False

    def _sweep(self, first: Sequence[Message]) -> None:
        """Work on what waits, side by side if it is much."""
        waiting = self._queue.depth().waiting
        threads = min(self._threads, 1 + waiting // BATCH)
        if threads == 1:
            self._take(first)
            return
        log.info("about %d messages wait", waiting + len(first))
        with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="mailonce") as pool:
            try:
                working = [pool.submit(self._work, first if number == 0 else ()) for number in range(threads)]
                for future in as_completed(working):
                    future.result()
            except BaseException:
                self._stopped.set()  # the others end the batch that they have
                raise

    def _work(self, messages: Sequence[Message]) -> None:
        messages = messages or self._queue.receive()
        while messages:
            self._take(messages)
            messages = () if self._over else self._queue.receive()

    def _take(self, messages: Sequence[Message]) -> None:
        """Write what a batch tells, then delete it: in this order, so that a crash in between loses nothing."""
        try:
            observations = list(observe_all(messages, self._ledger))
            for observation in observations:
                if observation.outcome is Outcome.SET_ASIDE:
                    self._set_aside.keep(observation.message, observation.reason)
        except BaseException:
            self._queue.give_back(messages)
            raise
        with self._lock:
            self.tally.add(observations)
            self._watch(observations)
            self._say_progress()
        self._queue.delete(messages)

    @property
    def _over(self) -> bool:
        return self._stopped.is_set() or time.monotonic() >= self._ends

    def _say_progress(self) -> None:
        now = time.monotonic()
        if now - self._said >= PROGRESS_SECONDS:
            self._said = now
            done = self.tally.outcomes.total()
            log.info("%d messages so far, %.0f/s: %s", done, done / (now - self._started), self.tally.in_words())
