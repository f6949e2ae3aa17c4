"""Publishes what became of each mail, in the background, so that no answer waits for it."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Any, Protocol

from .event_records import EVENT_NAMES, Fate, fate_by_address, records_of
from .records import Mail, bare_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .resources import Resources

log = logging.getLogger(__name__)
ATTEMPTS = 5
BATCH = 10


class Publisher(Protocol):
    """Where events go. May also have `publish_many(events)`, which then gets up to ten at a time."""

    def publish(self, event: dict[str, Any]) -> None:
        """Publish one event; raise if that failed, and it is tried again."""


class EventStream:
    """Turns accepted mails into events and publishes them in order from one thread.

    As with the real service, only mails with a configuration set have events, and publishing is best
    effort: after some attempts an event is given up.
    """

    def __init__(self, publisher: Publisher | None, resources: Resources) -> None:
        self._publisher = publisher
        self._resources = resources
        self._lock = threading.Lock()
        self._fates: dict[str, Fate] = {}
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ses-standin-events", daemon=True)
        self.published = 0
        self.given_up = 0
        if publisher:
            self._thread.start()

    def put_fates(self, fates: Mapping[str, Fate | str]) -> None:
        """Set the fates of addresses. Raises ValueError for an unknown fate, and then sets none."""
        known = {bare_address(address): Fate(fate) for address, fate in fates.items()}
        with self._lock:
            self._fates.update(known)

    def clear_fates(self) -> None:
        """Addresses decide about their own fates again."""
        with self._lock:
            self._fates.clear()

    def fates(self) -> dict[str, str]:
        """The fates that were set, by address."""
        with self._lock:
            return {address: fate.value for address, fate in self._fates.items()}

    def fate_of(self, mail: Mail) -> Fate:
        """What becomes of a mail: a failed rendering first, then what was set, then what the address says."""
        if mail.rendering_error:
            return Fate.RENDERING_FAILURE
        recipient = mail.recipients[0]
        with self._lock:
            if recipient in self._fates:
                return self._fates[recipient]
        return Fate.SUPPRESSED if self._resources.is_suppressed(recipient) else fate_by_address(recipient)

    def mail_accepted(self, mail: Mail) -> None:
        """Queue the events of a mail that was just accepted."""
        if self._publisher is None or not mail.configuration_set:
            return
        configuration_set = self._resources.configuration_set(mail.configuration_set)
        for record in records_of(mail, self.fate_of(mail)):
            if configuration_set.publishes(EVENT_NAMES[record["eventType"]]):
                self._queue.put(record)

    def stop(self, timeout: float = 3.0) -> None:
        """Publish what is queued, as far as `timeout` seconds allow, and end the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(timeout)
            self._stopping.set()
            self._thread.join(1.0)

    def _run(self) -> None:
        while True:
            events = [self._queue.get()]
            while len(events) < BATCH and events[-1] is not None and not self._queue.empty():
                events.append(self._queue.get())
            self._publish([event for event in events if event is not None])
            if events[-1] is None or self._stopping.is_set():
                return

    def _publish(self, events: list[dict[str, Any]]) -> None:
        publish_many = getattr(self._publisher, "publish_many", None)
        if publish_many and events:
            self._attempt(publish_many, events, len(events))
        elif self._publisher:
            for event in events:
                self._attempt(self._publisher.publish, event, 1)

    def _attempt(self, publish: Any, content: Any, count: int) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                publish(content)
            except Exception as error:
                log.warning("could not publish %d events, attempt %d: %s", count, attempt, error)
                if self._stopping.wait(0.1 * 2**attempt):
                    break
            else:
                self.published += count
                return
        self.given_up += count
