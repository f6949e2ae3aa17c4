"""The protocol under everything that chance can do to it: whatever happens, one key is one mail.

Several workers deliver the same mail. Each runs in a thread of its own, but only when told, and stands still at
every step of the protocol and while its request is on the wire. Between any two steps the machine may kill a worker,
move the clock, lose the ledger's or the provider's answer, let a person decide, or let an event arrive.

``MAILONCE_CHAOS_EXAMPLES`` sets how many such histories are tried: 200 for every day, 2000 before a release.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mailonce import protocol
from mailonce.delivery import Claim, Decision, Receipt, Takeover, Timing
from mailonce.departure import Fence
from mailonce.doubt import ASK_MARGIN, DoubtRules, InDoubtPolicy
from mailonce.errors import InDoubt, LedgerError, MailonceError, Rejected, RunBlocked, Throttled
from mailonce.journal import Journal
from mailonce.messages.message import Message
from mailonce.protocol import Step, Tools, deliver
from mailonce.providers.base import Departure
from mailonce.receipts import ReceiptsInMemory
from mailonce.recording import record_kept_receipts
from mailonce.recovery import recover
from mailonce.states import State, may_follow
from mailonce.tokens import idempotency_key, stand_in
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeClock, make_delivery

DELIVERY = make_delivery()
KEY = DELIVERY.key
EXAMPLES = int(os.environ.get("MAILONCE_CHAOS_EXAMPLES", "200"))
WORKERS = 3
OLDEST_SIGNATURE = timedelta(minutes=15)
ON_THE_WIRE = "on the wire"
IDLE = "idle"
SETTLED = 22 * 60
"""Seconds after which every claim that was made before is settled."""


class Died(BaseException):
    """The process is gone: nothing that it does from here on happens."""


@dataclass(frozen=True)
class Request:
    """A signed request on its way. It may arrive long after its sender is gone."""

    token: str
    signed_at: Any
    idempotency_key: str


class Worker:
    """One process: delivers when told, one step at a time."""

    def __init__(self, name: str, world: ProtocolMachine) -> None:
        self.where: Step | str = IDLE
        self.request: Request | None = None
        self.failure: BaseException | None = None
        self._name = name
        self._world = world
        self._token = ""
        self._journal = Journal()
        self._dead = False
        self._orders: queue.SimpleQueue[Callable[[], str] | None] = queue.SimpleQueue()
        self._stops: queue.SimpleQueue[Step | str] = queue.SimpleQueue()

    def start(self) -> None:
        self._dead, self.failure = False, None
        self._journal = Journal(self._world.journals)
        tools = Tools(
            ledger=self,  # type: ignore[arg-type]
            provider=self,
            receipts=self._world.receipts,
            by=self._name,
            timing=self._world.timing,
            journal=self._journal,
            doubt=DoubtRules(policy=self._world.policy),
            reached=lambda step: self._stand(step) and None,
        )
        threading.Thread(target=self._run, args=(tools,), daemon=True).start()
        self._wait()

    def go(self, outcome: Callable[[], str] | None = None) -> None:
        """Go on to the next step, with what becomes of the request that is on the wire, if one is."""
        self._orders.put(outcome)
        self._wait()

    def die(self) -> None:
        self._dead = True
        # As the kernel does: the file is closed, its lock is gone, and nothing is written to it any more.
        if self._journal._file is not None:
            os.close(self._journal._file)
            self._journal._file = None
        self.go()

    def _wait(self) -> None:
        self.where = self._stops.get(timeout=30)

    def _stand(self, where: Step | str) -> Callable[[], str] | None:
        self._stops.put(where)
        order = self._orders.get()
        if self._dead:
            raise Died
        return order

    def _run(self, tools: Tools) -> None:
        try:
            deliver(DELIVERY, tools)
        except (MailonceError, KeyboardInterrupt, Died):
            pass
        except BaseException as unexpected:  # noqa: BLE001
            self.failure = unexpected
        if not self._dead:
            self._journal.close()
        self._stops.put(IDLE)

    # What the protocol sees as the ledger: the world's, as long as this process lives.

    def claim(self, claim: Claim) -> Any:
        self._token = claim.token
        entry = self._living().claim(claim)
        if entry.token == claim.token:
            self._world.claimed_at[idempotency_key(claim.token)] = entry.claimed_at
        return entry

    def conclude(self, *given: Any, **named: Any) -> Any:
        return self._living().conclude(*given, **named)

    def take_over(self, key: str, takeover: Takeover) -> Any:
        self._token = takeover.successor
        entry = self._living().take_over(key, takeover)
        self._world.claimed_at[idempotency_key(takeover.token)] = entry.claimed_at
        return entry

    def witness(self, *given: Any) -> Any:
        return self._living().witness(*given)

    def decide(self, *given: Any) -> Any:
        return self._living().decide(*given)

    def _living(self) -> MemoryLedger:
        if self._dead:
            raise Died
        return self._world.ledger

    # What the protocol sees as the provider.

    @property
    def remembers(self) -> timedelta | None:
        return self._world.remembers

    def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
        departure.signing()
        signed_at = self._world.clock.now()
        departure.leaving()
        self.request = Request(self._token, signed_at, idempotency_key)
        self._world.requests.append(self.request)
        outcome = self._stand(ON_THE_WIRE)
        assert outcome is not None
        return outcome()


class ProtocolMachine(RuleBasedStateMachine):
    policy = InDoubtPolicy.HOLD
    timing = Timing()
    remembers: timedelta | None = None

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.ledger = MemoryLedger(self.clock.now)
        self.receipts = ReceiptsInMemory()
        self.journals = Path(tempfile.mkdtemp(prefix="mailonce-chaos-"))
        self.workers = [Worker(f"worker {number}", self) for number in range(WORKERS)]
        self.accepted: list[str] = []
        self.stand_ins: set[str] = set()
        self.requests: list[Request] = []
        self.claimed_at: dict[str, Any] = {}
        self.released_though_accepted = False
        self.overtaken = False
        self.late: list[Request] = []
        self.patch = mock.patch.object(protocol, "Fence", functools.partial(Fence, clock=self.clock.seconds))
        self.patch.start()

    def teardown(self) -> None:
        for worker in self.workers:
            if worker.where is not IDLE:
                worker.die()
        self.patch.stop()
        shutil.rmtree(self.journals)

    # -- the workers

    @rule(data=st.data())
    def turn(self, data: st.DataObject) -> None:
        """Let workers go on, then the world. One rule, because chance leaves out some rules of each run."""
        for _ in range(data.draw(st.integers(0, 3), "steps")):
            worker = data.draw(st.sampled_from(self.workers), "worker")
            if worker.where == IDLE:
                worker.start()
                while worker.where in (Step.BEFORE_CLAIM, Step.CLAIMED) and data.draw(st.booleans(), "at once"):
                    worker.go()
            elif worker.where == ON_THE_WIRE:
                worker.go(data.draw(st.sampled_from(self.outcomes(worker)), "outcome"))
            else:
                worker.go()
        happens = data.draw(st.sampled_from(self.EVENTS), "happens")
        happens(self, data)

    def outcomes(self, worker: Worker) -> list[Callable[[], str]]:
        """What may become of a request: taken or not (yet), and its sender hears of it or not; or refused."""
        request = worker.request
        assert request is not None

        def told() -> str:
            message_id = self.accept(request)
            if message_id is None:
                raise InDoubt("expired")
            return message_id

        def taken_but_unheard(stop: BaseException) -> str:
            self.accept(request)
            raise stop

        def under_way(stop: BaseException) -> str:
            self.late.append(request)
            raise stop

        def refused(failure: Exception) -> str:
            raise failure

        return [
            told,
            told,
            *(functools.partial(taken_but_unheard, stop) for stop in (InDoubt("no answer"), KeyboardInterrupt())),
            *(functools.partial(under_way, stop) for stop in (InDoubt("no answer"), KeyboardInterrupt())),
            *(functools.partial(refused, failure("no")) for failure in (Throttled, Rejected, RunBlocked)),
        ]

    # -- the world

    def nothing(self, data: st.DataObject) -> None: ...

    def time_passes(self, data: st.DataObject) -> None:
        self.clock.advance(timedelta(seconds=data.draw(st.sampled_from([1, 61, 600, SETTLED, SETTLED]), "seconds")))

    def a_worker_is_killed(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.workers), "killed")
        if worker.where == ON_THE_WIRE and worker.request is not None:
            self.late.append(worker.request)
        if worker.where != IDLE:
            worker.die()

    def a_request_arrives_late(self, data: st.DataObject) -> None:
        if self.late:
            self.accept(self.late.pop(data.draw(st.integers(0, len(self.late) - 1), "late request")))

    def the_ledger_will_fail_once(self, data: st.DataObject) -> None:
        self.ledger.fail_next = data.draw(st.sampled_from(["before", "after"]))

    def a_person_decides(self, data: st.DataObject) -> None:
        state = data.draw(st.sampled_from([*[State.RELEASED] * 3, State.CANCELLED, State.SENT]), "decision")
        moves = len(self.ledger.moves)
        with contextlib.suppress(LedgerError):
            exact = data.draw(st.booleans(), "about the claim that is there")
            token = next((entry.token for entry in self.ledger.find([KEY])), None) if exact else None
            self.ledger.decide(KEY, Decision(state=state, by="support", reason="looked", token=token))
        if self.accepted and any(move.after is State.RELEASED for move in self.ledger.moves[moves:]):
            self.released_though_accepted = True

    def an_event_arrives(self, data: st.DataObject) -> None:
        if self.accepted:
            message_id = data.draw(st.sampled_from(self.accepted), "event")
            with contextlib.suppress(LedgerError):
                self.ledger.witness(Receipt(key=KEY, message_id=message_id, evidence="event"))

    def a_new_try_writes_the_kept_receipts(self, data: st.DataObject) -> None:
        tools = Tools(ledger=self.ledger, provider=self.workers[0], receipts=self.receipts, by="new try")
        with contextlib.suppress(LedgerError):
            record_kept_receipts(tools)

    def somebody_reads_the_journals(self, data: st.DataObject) -> None:
        with contextlib.suppress(LedgerError):
            recover(self.journals, self.ledger, young=timedelta(0))

    EVENTS = (
        nothing, nothing, time_passes, time_passes, a_worker_is_killed, a_request_arrives_late,
        the_ledger_will_fail_once, a_person_decides, a_person_decides, an_event_arrives,
        a_new_try_writes_the_kept_receipts, somebody_reads_the_journals, somebody_reads_the_journals,
    )  # fmt: skip

    def accept(self, request: Request) -> str | None:
        """Accept a mail, as the provider does whenever the signature is not too old."""
        if self.clock.now() - request.signed_at > OLDEST_SIGNATURE:
            return None
        claims = [move.token_given or "" for move in self.ledger.moves if move.operation == "claim"]
        # The frozen-worker hole: a mail of an earlier claim goes out although a later claim exists.
        self.overtaken = self.overtaken or idempotency_key(claims[-1]) != request.idempotency_key
        self.accepted.append(f"m-{len(self.accepted) + 1}")
        return self.accepted[-1]

    # -- what must hold, whatever happens

    @invariant()
    def nothing_fails_in_a_way_that_nobody_foresaw(self) -> None:
        for worker in self.workers:
            assert worker.failure is None, repr(worker.failure)

    @invariant()
    def no_request_is_accepted_after_its_key_was_claimed_again(self) -> None:
        assert not self.overtaken

    @invariant()
    def one_key_is_one_mail(self) -> None:
        if self.policy is InDoubtPolicy.HOLD and not self.released_though_accepted:
            assert len(self.accepted) <= 1

    @invariant()
    def every_move_is_allowed(self) -> None:
        for move in self.ledger.moves:
            assert may_follow(move.before, move.after), move

    @invariant()
    def nobody_moves_what_is_another_ones(self) -> None:
        for move in self.ledger.moves:
            if move.operation == "conclude":
                assert move.token_given == move.owner_before, move
            if move.before is State.SENDING:
                assert move.operation in ("conclude", "witness"), move

    @invariant()
    def the_ledger_never_says_what_is_not_so(self) -> None:
        for entry in self.ledger._rows.values():
            row = entry.entry
            told = {row.message_id, *row.duplicate_message_ids} - {None, *self.stand_ins}
            assert told <= set(self.accepted)
            if row.state in (State.RELEASED, State.REJECTED) and self.policy is InDoubtPolicy.HOLD:
                assert not self.accepted or self.released_though_accepted, f"{row.state.value} though accepted"


class ResendMachine(ProtocolMachine):
    """With `resend` a second copy may be, but never while the first may still be accepted."""

    policy = InDoubtPolicy.RESEND


class AskingMachine(ProtocolMachine):
    """A provider that recognises an idempotency key for a while, but says only that, and publishes no events.

    What it has not got after ``ASK_MARGIN`` it never gets: for nothing else ends the life of its requests.
    """

    remembers = timedelta(minutes=15)
    EVENTS = tuple(event for event in ProtocolMachine.EVENTS if event is not ProtocolMachine.an_event_arrives)

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Any] = {}

    def accept(self, request: Request) -> str | None:
        now, key = self.clock.now(), request.idempotency_key
        if now - request.signed_at >= ASK_MARGIN:
            return None
        if key in self.known and now - self.known[key] < self.remembers:
            self.stand_ins.add(stand_in(key))
            return stand_in(key)
        self.known[key] = now
        return super().accept(request)

    @invariant()
    def no_request_leaves_that_the_provider_may_not_recognise(self) -> None:
        for request in self.requests:
            claimed_at = self.claimed_at[request.idempotency_key]
            assert request.signed_at - claimed_at <= self.remembers - ASK_MARGIN

    @invariant()
    def one_mail_is_never_taken_for_two(self) -> None:
        if len(self.accepted) <= 1:
            assert not any(row.entry.duplicate_message_ids for row in self.ledger._rows.values())


chaos = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestHold = ProtocolMachine.TestCase
TestHold.settings = chaos
TestAsking = AskingMachine.TestCase
TestAsking.settings = chaos
TestResend = ResendMachine.TestCase
TestResend.settings = chaos
