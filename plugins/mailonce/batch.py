"""A batch: many independent deliveries side by side, each with its own claim, outcome and error."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from mailonce.delivery import Delivery, Entry, PlannedDelivery
from mailonce.errors import BatchIncomplete, InvalidInput, MailonceError, NotDelivered, RunBlocked, Throttled
from mailonce.lanes import Lanes
from mailonce.protocol import Result, Tools, deliver, replay
from mailonce.states import State

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0
"""How often a batch says how far it is."""

NEWS_SECONDS = 0.2
"""How often a batch counts what has ended, as long as it goes on."""

PAGE = 100
"""So many keys are one question to the ledger: who has their mail already."""

TRIES = 4
"""How often a mail that the provider throttles is tried in a batch, each time when its turn comes. One that is alone is
left to Airflow's retries: its task has nothing else to do meanwhile."""


@dataclass
class Tally:
    """How the deliveries of a batch ended."""

    results: Counter[Result] = field(default_factory=Counter)
    errors: list[MailonceError] = field(default_factory=list)
    last: Entry | None = None

    @property
    def done(self) -> int:
        """How many have ended, well or not."""
        return self.results.total() + len(self.errors)


Outcome = tuple[Result, Entry] | MailonceError
Maker = Callable[[], Delivery]
Item = TypeVar("Item")


def deliver_all(makers: Sequence[Maker], tools: Tools, *, concurrency: int = 1) -> Tally:
    """Deliver every mail at most once, several side by side.

    One recipient's trouble never stops the others; only what would hit everybody does
    (:class:`mailonce.errors.RunBlocked`), and then nothing further is claimed.

    The ledger is asked first who has their mail already: they need no claim and no turn in the pace. Only a mail that is
    alone and need not wait for its turn is claimed without a look.

    :param makers: each returns one delivery, or raises InvalidInput; called shortly before it is needed. One that is a
        :class:`mailonce.delivery.PlannedDelivery` is not called for a mail that was sent before.
    :param concurrency: how many at once, between their claim and the provider's answer.
    :return: how each ended.
    :raises mailonce.errors.BatchIncomplete: some are not done; of one delivery alone, its own error.
    """
    tally = Tally()
    look = len(makers) > 1 or tools.pace.governed
    found = _looked_up(makers, tools) if look else (_made(maker) for maker in makers)
    tries = TRIES if len(makers) > 1 else 1
    if concurrency == 1 or len(makers) == 1:
        outcomes = (_attempt(each, tools, tries) if isinstance(each, Delivery) else each for each in found)
        _collect(outcomes, tally, len(makers))
    else:
        threads, lanes = threads_of(concurrency), Lanes(concurrency)
        laned = lanes.through(tools)
        attempt = partial(_attempt_in_a_lane, tools=laned, tries=tries, lanes=lanes)
        with (
            ThreadPoolExecutor(max_workers=threads, thread_name_prefix="mailonce") as pool,
            closing(_side_by_side(pool, found, attempt, threads, stop=laned.pace.stop)) as side_by_side,
        ):
            try:
                _collect(side_by_side, tally, len(makers))
            finally:
                if tally.done < len(makers):
                    laned.pace.stop()
    if skipped := len(makers) - tally.done:
        log.error("%d of %d recipients were not tried: the run is blocked", skipped, len(makers))
    if tally.errors:
        if len(makers) == 1:
            raise tally.errors[0]
        raise BatchIncomplete(tally.errors, total=len(makers), results=tally.results)
    return tally


def threads_of(concurrency: int) -> int:
    """Return how many threads deliver: more than mails are on their way, so that others are written down meanwhile."""
    return concurrency + concurrency // 2


def _looked_up(makers: Sequence[Maker], tools: Tools) -> Iterator[Delivery | Outcome]:
    """Yield for each recipient the delivery, or how it ended if it need not be made: a page at a time, and the next page
    is made while this one is delivered.
    """
    pages = [makers[start : start + PAGE] for start in range(0, len(makers), PAGE)]
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="mailonce-look") as ahead:
        coming: Future[Sequence[Delivery | Outcome]] | None = None
        for page in [*pages, None]:
            here, coming = coming, ahead.submit(_look, page, tools) if page else None
            yield from here.result() if here else ()


def _look(makers: Sequence[Maker], tools: Tools) -> Sequence[Delivery | Outcome]:
    # What was planned is known by its key, and is made only if somebody is to get it.
    known = [maker if isinstance(maker, PlannedDelivery) else _made(maker) for maker in makers]
    entries = {entry.key: entry for entry in tools.ledger.find(_keys(known))}
    return [each if isinstance(each, MailonceError) else _done(each, entries.get(each.key)) for each in known]


def _made(maker: Maker) -> Delivery | InvalidInput:
    try:
        return maker()
    except InvalidInput as error:
        return error


def _keys(known: Iterable[PlannedDelivery | Delivery | MailonceError]) -> list[str]:
    return [each.key for each in known if not isinstance(each, MailonceError)]


def _done(each: PlannedDelivery | Delivery, entry: Entry | None) -> Delivery | Outcome:
    if entry and entry.state in (State.SENT, State.CANCELLED):
        if isinstance(each, PlannedDelivery):
            return replay(entry, each.recipient_id, each.fingerprint), entry
        return replay(entry, each.identity.recipient_id, each.message.fingerprint), entry
    return _made(each) if isinstance(each, PlannedDelivery) else each


def _attempt(delivery: Delivery, tools: Tools, tries: int) -> Outcome:
    for _ in range(tries):
        try:
            return deliver(delivery, tools)
        except Throttled as error:
            outcome = error
            tools.pace.throttled()
        except (NotDelivered, InvalidInput) as error:
            return error
    return outcome


def _attempt_in_a_lane(delivery: Delivery, tools: Tools, tries: int, lanes: Lanes) -> Outcome:
    try:
        return _attempt(delivery, tools, tries)
    finally:
        lanes.leave()  # of a mail that did not get as far as the provider


def _side_by_side(
    pool: ThreadPoolExecutor,
    found: Iterable[Delivery | Outcome],
    attempt: Callable[[Delivery], Outcome],
    threads: int,
    *,
    stop: Callable[[], None],
) -> Generator[Outcome, None, None]:
    """Yield outcomes as they come. Each thread takes the next one when it is free, so that stopping means stopping."""
    waiting = _Shared(found)
    told: deque[Outcome | Future[None]] = deque()
    ended = threading.Event()

    def work() -> None:
        for each in waiting:
            outcome = attempt(each) if isinstance(each, Delivery) else each
            told.append(outcome)
            if isinstance(outcome, RunBlocked):
                # At once, and not when the news has been read: who has a mail in hand and no claim on it goes no further.
                waiting.stop()
                stop()

    def end(future: Future[None]) -> None:
        told.append(future)
        ended.set()

    try:
        for _ in range(threads):
            pool.submit(work).add_done_callback(end)
        working = threads
        while working:
            # Not at each outcome: to be woken a thousand times a second would slow down those who send.
            ended.wait(NEWS_SECONDS)
            ended.clear()
            while told:
                news = told.popleft()
                if isinstance(news, Future):
                    news.result()  # raises what ended the thread before its time
                    working -= 1
                else:
                    yield news
    finally:
        # Stopped early (a blocked run, a killed task): what is on the wire still gets its outcome written down.
        waiting.stop()


class _Shared(Iterator[Item]):
    """What several threads take from, one at a time, until it is stopped."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._lock = threading.Lock()
        self._stopped = False

    def __next__(self) -> Item:
        with self._lock:
            if self._stopped:
                raise StopIteration
            return next(self._items)

    def stop(self) -> None:
        """Give nothing out any more."""
        self._stopped = True


def _collect(outcomes: Iterable[Outcome], tally: Tally, total: int) -> None:
    started = said = time.monotonic()
    for outcome in outcomes:
        if isinstance(outcome, MailonceError):
            tally.errors.append(outcome)
            if total > 1:
                log.warning("%s", outcome)  # of one delivery alone, the task's own failure says it
            if isinstance(outcome, RunBlocked):
                return
        else:
            tally.results[outcome[0]] += 1
            tally.last = outcome[1]
        now = time.monotonic()
        if now - said >= PROGRESS_SECONDS:
            said = now
            rate = tally.done / (now - started)
            log.info(
                "%d of %d done (%d unresolved), %.1f/s, about %.0f s to go",
                tally.done, total, len(tally.errors), rate, (total - tally.done) / rate,
            )  # fmt: skip
