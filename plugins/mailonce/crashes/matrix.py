"""Runs the cases side by side, each on a key of its own, and leaves nothing held behind."""

from __future__ import annotations

import tempfile
import traceback
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from mailonce.crashes.orders import LedgerMaker
from mailonce.crashes.points import Case, Machine
from mailonce.crashes.provider import CountingProvider
from mailonce.crashes.running import CaseRun, NotReached, Stage
from mailonce.crashes.verdicts import Verdict, judge
from mailonce.crashes.workers import Workers
from mailonce.delivery import Decision, Entry
from mailonce.journal import boot_id
from mailonce.messages.message import Message
from mailonce.protocol import abandon
from mailonce.states import State

ADDRESS = "crash-test@example.com"
"""Whom the rows of a crash test name: no customer, about whom somebody may ask the ledger."""

PLAIN = Message(
    sender="Crash test <crash-test@example.com>", to=ADDRESS, subject="Crash test", text="This mail never leaves."
)
_LONGEST_WINDOW = 30.0


class Matrix:
    """The cases, on one ledger. Entered, its servers start; left, they end, and every key that was used is done with.

    :param ledger: opens the ledger, here and in each worker.
    :param message: the mail to deliver; it never leaves this machine.
    :param window: seconds from a claim until its owner refuses to sign. Where a case finds it too short for this
        machine, it is run again with twice as much.
    :param retention: seconds after which the ledger may forget the rows.
    :param at_once: how many cases run side by side.
    """

    def __init__(
        self,
        ledger: LedgerMaker,
        *,
        message: Message = PLAIN,
        window: float = 1.0,
        retention: float = 3600.0,
        at_once: int = 8,
    ) -> None:
        self.campaign = f"crashtest-{uuid.uuid4().hex[:8]}"
        """The campaign of the ledger's rows."""
        self.ledger_made = False
        """Whether there was no ledger, and one was made for the test."""
        self._maker = ledger
        self._message = replace(message, to=ADDRESS)
        self._window = window
        self._retention = retention
        self._verdicts: dict[Case, Future[Verdict]] = {}
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="crash-matrix")
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            ledger = self._maker.open()
            opening.callback(ledger.close)
            self.ledger_made = ledger.prepare()
            directory = Path(opening.enter_context(tempfile.TemporaryDirectory(prefix="mailonce-crashes-")))
            self._stage = Stage(
                ledger=ledger,
                maker=self._maker,
                provider=opening.enter_context(CountingProvider()),
                workers=opening.enter_context(Workers(directory / "workers.log")),
                directory=directory,
                campaign=self.campaign,
                message=self._message,
                retention=self._retention,
            )
            self._opened = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._opened:
            self._pool.shutdown(cancel_futures=True)
            self.finish()

    def start(self, cases: Iterable[Case]) -> None:
        """Run these cases, as many at once as may be; do not wait for them."""
        for case in cases:
            if case not in self._verdicts:
                self._verdicts[case] = self._pool.submit(self._verdict, case)

    def verdict(self, case: Case) -> Verdict:
        """Return what is made of a case; run it, if it was not started."""
        self.start([case])
        return self._verdicts[case].result()

    def verdicts(self, cases: Iterable[Case]) -> Iterator[Verdict]:
        """Run cases, and yield what is made of each, in their order."""
        wanted = list(cases)
        self.start(wanted)
        return map(self.verdict, wanted)

    def finish(self) -> list[Entry]:
        """Cancel what the cases have left held, so that nobody is asked to decide about it.

        :return: the rows that are still open: their claims' deadlines have not passed.
        """
        rows = [self._cancelled(entry) for entry in list(self._stage.ledger.find(sorted(self._stage.keys)))]
        return [row for row in rows if row.state not in (State.SENT, State.CANCELLED)]

    def _cancelled(self, entry: Entry) -> Entry:
        entry = abandon(entry, self._stage.ledger)
        if entry.state not in (State.IN_DOUBT, State.RELEASED, State.REJECTED):
            return entry
        decision = Decision(state=State.CANCELLED, by="crash test", reason="crash test")
        return self._stage.ledger.decide(entry.key, decision) or entry

    def _verdict(self, case: Case) -> Verdict:
        window = self._window
        while True:
            try:
                facts = CaseRun(self._stage, case, window).facts()
                # Where there are no journals, the machine of a dead process knows no more than any other.
                judged = case if boot_id() else replace(case, machine=Machine.ANOTHER)
                return replace(judge(judged, facts), case=case)
            except NotReached as ended:
                window *= 2
                if window > _LONGEST_WINDOW:
                    return Verdict(case=case, end=None, faults=[f"The process did not come to this point: {ended}"])
            except Exception:  # noqa: BLE001
                # Whatever a ledger that is being tried out may raise: the other cases still count.
                return Verdict(case=case, end=None, faults=[f"It could not be run:\n{traceback.format_exc()}"])
