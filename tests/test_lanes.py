"""Lanes: at most so many mails on their way, however many threads there are, and none waits for another's record."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from mailonce.batch import deliver_all
from mailonce.delivery import Conclusion, Entry
from mailonce.errors import BatchIncomplete, NeverLeft, RunBlocked
from mailonce.messages.message import Message
from mailonce.pace import Pace
from mailonce.protocol import Result, Step, Tools
from mailonce.providers.base import Departure
from mailonce.receipts import ReceiptsInMemory
from mailonce.states import State
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeProvider, make_delivery

LANES = 3


class Together:
    """Accepts a mail only when as many are on their way as there are lanes."""

    remembers = None

    def __init__(self) -> None:
        self.at_once = threading.Barrier(LANES, timeout=30)
        self.lock = threading.Lock()
        self.on_their_way = self.most = self.accepted = 0

    def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
        departure.signing()
        departure.leaving()
        with self.lock:
            self.on_their_way += 1
            self.most = max(self.most, self.on_their_way)
        self.at_once.wait()
        with self.lock:
            self.on_their_way -= 1
            self.accepted += 1
            return f"m-{self.accepted}"


class SlowToRecord(MemoryLedger):
    """Records nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()

    def conclude(
        self, key: str, token: str, conclusion: Conclusion, *, patience: timedelta | None = None
    ) -> Entry | None:
        assert self.let.wait(30)
        return super().conclude(key, token, conclusion, patience=patience)


def tools_of(ledger: MemoryLedger, provider: object) -> Tools:
    return Tools(ledger=ledger, provider=provider, receipts=ReceiptsInMemory(), by="test")  # type: ignore[arg-type]


def makers(count: int) -> list[object]:
    return [lambda number=number: make_delivery(f"C-{number}") for number in range(count)]


def test_as_many_as_there_are_lanes_are_on_their_way_and_never_more() -> None:
    provider = Together()
    tally = deliver_all(makers(10 * LANES), tools_of(MemoryLedger(), provider), concurrency=LANES)  # type: ignore[arg-type]
    assert tally.results == {Result.SENT: 10 * LANES}
    assert provider.most == LANES


def test_no_more_claims_than_lanes_wait_for_an_answer() -> None:
    """What a killed worker leaves in doubt."""
    ledger, claimed = MemoryLedger(), []

    class Counting(FakeProvider):
        def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
            with lock:
                states = [entry.state for entry in ledger.of_month("usage", "2030-01")]
                claimed.append(states.count(State.SENDING))
                return super().send(message, tags=tags, idempotency_key=idempotency_key, departure=departure)

    lock = threading.Lock()
    deliver_all(makers(60), tools_of(ledger, Counting()), concurrency=LANES)  # type: ignore[arg-type]
    # On their way, and besides those that were answered and are being written down by the other half of the threads.
    assert max(claimed) <= 2 * LANES


def test_the_next_leave_while_the_first_are_written_down() -> None:
    ledger, provider = SlowToRecord(), FakeProvider()
    left = threading.Semaphore(0)

    def accept(_message: Message, tags: Mapping[str, str]) -> str:
        left.release()
        return provider.accept(tags)

    provider.answer = accept
    done = threading.Thread(target=deliver_all, args=(makers(9), tools_of(ledger, provider)), kwargs={"concurrency": 3})
    done.start()
    assert all(left.acquire(timeout=30) for _ in range(4)), "three are being written down, and one more has left"
    assert not left.acquire(timeout=0.2), "nobody has a thread left"
    ledger.let.set()
    done.join(30)
    assert provider.asked == 9


@pytest.mark.parametrize("where", ["pace", "claimed"])
def test_a_mail_that_gets_no_farther_leaves_its_lane(where: str) -> None:
    class Stubborn(Pace):
        def wait(self) -> None:
            raise NeverLeft("not now")

    def reached(step: Step) -> None:
        if step is Step.CLAIMED:
            raise RuntimeError("a fault of our own")

    tools = tools_of(MemoryLedger(), FakeProvider())
    tools = replace(tools, pace=Stubborn()) if where == "pace" else replace(tools, reached=reached)
    with pytest.raises(BatchIncomplete) as caught:
        deliver_all(makers(10), tools, concurrency=2)  # type: ignore[arg-type]
    assert len(caught.value.errors) == 10


def test_who_waits_for_a_lane_when_the_run_is_blocked_claims_nothing() -> None:
    ledger, let = MemoryLedger(), threading.Event()

    def answer(_message: Message, _tags: Mapping[str, str]) -> str:
        assert let.wait(30)
        raise RunBlocked("sending is paused")

    provider = FakeProvider(answer=answer)
    stopper = threading.Timer(0.3, let.set)  # by then the third thread waits for one of the two lanes
    stopper.start()
    with pytest.raises(BatchIncomplete):
        deliver_all(makers(20), tools_of(ledger, provider), concurrency=2)  # type: ignore[arg-type]
    stopper.join()
    assert provider.asked == 2
    assert len(list(ledger.of_month("usage", "2030-01"))) == 2
