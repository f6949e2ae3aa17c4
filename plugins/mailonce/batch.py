"""A batch: many independent deliveries side by side, each with its own claim, outcome and error."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from mailonce.delivery import Delivery, Entry
from mailonce.errors import BatchIncomplete, InvalidInput, MailonceError, NotDelivered, RunBlocked
from mailonce.protocol import Result, Tools, deliver

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0
"""How often a batch says how far it is."""


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


def deliver_all(makers: Sequence[Callable[[], Delivery]], tools: Tools, *, concurrency: int = 1) -> Tally:
    """Deliver every mail at most once, several side by side.

    One recipient's trouble never stops the others; only what would hit everybody does
    (:class:`mailonce.errors.RunBlocked`), and then nothing further is claimed.

    :param makers: each returns one delivery, or raises InvalidInput; called just before it is needed.
    :param concurrency: how many at once.
    :return: how each ended.
    :raises mailonce.errors.BatchIncomplete: some are not done; of one delivery alone, its own error.
    """
    tally = Tally()
    if concurrency == 1 or len(makers) == 1:
        _collect((_attempt(maker, tools) for maker in makers), tally, len(makers))
    else:
        with ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="mailonce") as pool:
            _collect(_side_by_side(pool, makers, tools, concurrency), tally, len(makers))
    if skipped := len(makers) - tally.done:
        log.error("%d of %d recipients were not tried: the run is blocked", skipped, len(makers))
    if tally.errors:
        raise tally.errors[0] if len(makers) == 1 else BatchIncomplete(tally.errors, total=len(makers))
    return tally


Outcome = tuple[Result, Entry] | MailonceError


def _attempt(maker: Callable[[], Delivery], tools: Tools) -> Outcome:
    try:
        return deliver(maker(), tools)
    except (NotDelivered, InvalidInput) as error:
        return error


def _side_by_side(
    pool: ThreadPoolExecutor, makers: Sequence[Callable[[], Delivery]], tools: Tools, concurrency: int
) -> Iterator[Outcome]:
    """Yield outcomes as they come; never hand the pool more than it works on, so that stopping means stopping."""
    waiting = iter(makers)
    running: set[Future[Outcome]] = {pool.submit(_attempt, maker, tools) for maker in islice(waiting, concurrency)}
    try:
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
            running |= {pool.submit(_attempt, maker, tools) for maker in islice(waiting, len(finished))}
    finally:
        # Stopped early (a blocked run, a killed task): what is on the wire still gets its outcome written down.
        for future in running:
            future.cancel()


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
