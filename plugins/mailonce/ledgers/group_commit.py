"""Group commit: what the threads of one task write at the same time shares one round trip to the ledger.

::

    thread 1: claim ──▶ nobody writes: writes its own ──▶┐
    thread 2:    claim ──▶ waits                          │ done; thread 2 writes for all that wait
    thread 3:      claim ──▶ waits                        └▶ claims of 2 and 3 in one statement ──▶ both answered

No clock is in it: a thread alone never waits, and the more wait, the more is shared. Each thread still has one claim
at most, and begins to send only when its own is answered, so that nothing more is ever in doubt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from mailonce.errors import LedgerUnavailable

log = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Group(Generic[Asked, Answer]):
    """Writes together what is asked for while another write is under way.

    :param together: writes several with distinct keys. :param alone: writes one. :param key: of what is asked for.
    """

    def __init__(
        self,
        together: Callable[[Sequence[Asked]], Sequence[Answer]],
        alone: Callable[[Asked], Answer],
        key: Callable[[Asked], str],
    ) -> None:
        self._together = together
        self._alone = alone
        self._key = key
        self._lock = threading.Lock()
        self._waiting: list[_Turn[Asked, Answer]] = []
        self._writing = False

    def write(self, asked: Asked) -> Answer:
        """Write it, with others or alone.

        :return: its answer. :raises mailonce.errors.LedgerError: as the ledger's own call does.
        """
        turn = _Turn[Asked, Answer](asked)
        with self._lock:
            self._waiting.append(turn)
            turn.leads, self._writing = not self._writing, True
        try:
            if not turn.leads:
                turn.come.acquire()
            if turn.leads:
                self._lead()
        except BaseException:
            self._leave(turn)
            raise
        if turn.away is not None:
            raise LedgerUnavailable(str(turn.away)) from turn.away
        return turn.answer[0] if turn.answer else self._alone(asked)

    def _lead(self) -> None:
        """Write for everybody that waits, oneself among them; then the next of those who came meanwhile leads."""
        with self._lock:
            # Of one key only the first: what the others find depends on it.
            group = list({self._key(turn.asked): turn for turn in reversed(self._waiting)}.values())
            self._waiting = [turn for turn in self._waiting if turn not in group]
        try:
            self._write(group)
        finally:
            for turn in group:
                turn.come.release()
            with self._lock:
                self._hand_over()

    def _write(self, group: Sequence[_Turn[Asked, Answer]]) -> None:
        if len(group) == 1:
            group[0].answer = [self._alone(group[0].asked)]
            return
        try:
            answers = self._together([turn.asked for turn in group])
        except LedgerUnavailable as away:
            for turn in group:
                turn.away = away
        except Exception as refused:  # noqa: BLE001 - whatever it is, each finds out by its own call
            log.warning("%d rows could not be written together, and are written one by one: %s", len(group), refused)
        else:
            for turn, answer in zip(group, answers, strict=True):
                turn.answer = [answer]

    def _hand_over(self) -> None:
        self._writing = bool(self._waiting)
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].come.release()

    def _leave(self, turn: _Turn[Asked, Answer]) -> None:
        """Go without an answer, because the thread is told to stop; nobody may wait for it to lead."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                if turn.leads:
                    self._hand_over()


class _Turn(Generic[Asked, Answer]):
    """One thread's place among those that wait.

    :ivar answer: what it asked for, in a list; empty as long as nothing was written for it.
    :ivar away: why nothing was. :ivar leads: whether it is to write for all. :ivar come: released when its turn has come.
    """

    __slots__ = ("answer", "asked", "away", "come", "leads")

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.answer: list[Answer] = []
        self.away: LedgerUnavailable | None = None
        self.leads = False
        self.come = threading.Lock()
        self.come.acquire()
