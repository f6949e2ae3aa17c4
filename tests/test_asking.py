"""A lost answer is asked for again under the same idempotency key, where the provider recognises it; example by example."""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mailonce import protocol
from mailonce.delivery import Conclusion, Delivery, Entry, Receipt, Takeover, Timing
from mailonce.departure import Fence
from mailonce.doubt import ASK_MARGIN, ASK_PAUSE, DoubtRules, InDoubtPolicy
from mailonce.errors import AwaitingProof, InDoubt, InFlight, NeverLeft, Rejected
from mailonce.journal import Journal
from mailonce.protocol import Result, Step, Tools, deliver
from mailonce.receipts import ReceiptsInMemory
from mailonce.recording import record_kept_receipts
from mailonce.recovery import recover
from mailonce.states import State
from mailonce.tokens import idempotency_key, stand_in
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeClock, FakeProvider, make_delivery, row

REMEMBERS = timedelta(minutes=15)
OVERDUE = Timing().window + timedelta(seconds=1)
LAST = REMEMBERS - ASK_MARGIN


class Recognising(FakeProvider):
    """Accepts once a key, and says that it knows a key; loses as many answers as it is told to."""

    def __init__(self) -> None:
        super().__init__(remembers=REMEMBERS)
        self.lose = 0
        self.take = True

    def send(self, message, *, tags, idempotency_key, departure) -> str:
        known = idempotency_key in self.idempotency_keys and bool(self.accepted)
        self.answer = self._answer(known, stand_in(idempotency_key))
        return super().send(message, tags=tags, idempotency_key=idempotency_key, departure=departure)

    def _answer(self, known: bool, its_name: str):
        def answer(_message, tags) -> str:
            told = its_name if known else self.accept(tags) if self.take else ""
            if self.lose:
                self.lose -= 1
                raise InDoubt("no answer")
            return told

        return answer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(protocol, "Fence", functools.partial(Fence, clock=fake.seconds))
    return fake


@pytest.fixture
def ledger(clock: FakeClock) -> MemoryLedger:
    return MemoryLedger(clock.now)


@pytest.fixture
def provider() -> Recognising:
    return Recognising()


@pytest.fixture
def tools(ledger: MemoryLedger, provider: Recognising) -> Tools:
    return Tools(ledger=ledger, provider=provider, receipts=ReceiptsInMemory(), by="run 1")


def lose_the_answer(tools: Tools, provider: Recognising, *, taken: bool = True) -> Delivery:
    provider.lose, provider.take = 1, taken
    with pytest.raises(AwaitingProof, match="can be asked again under the same idempotency key") as caught:
        deliver(make_delivery(), tools)
    assert caught.value.retry_after == Timing().window.total_seconds() + 1
    provider.take = True
    return make_delivery()


@pytest.mark.parametrize("taken", [True, False], ids=["accepted", "never arrived"])
def test_a_lost_answer_ends_sent_with_one_mail(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: Recognising, taken: bool
) -> None:
    delivery = lose_the_answer(tools, provider, taken=taken)
    clock.advance(OVERDUE)
    result, entry = deliver(delivery, tools)
    (key,) = set(provider.idempotency_keys)
    assert (result, entry.state, len(provider.accepted)) == (Result.SENT, State.SENT, 1)
    assert entry.message_id == (stand_in(key) if taken else "m-1")
    assert deliver(delivery, tools)[0] is Result.ALREADY_SENT
    assert len(provider.idempotency_keys) == 2


def test_nobody_asks_while_its_owner_may_still_send(tools: Tools, clock: FakeClock, provider: Recognising) -> None:
    delivery = lose_the_answer(tools, provider)
    clock.advance(timedelta(seconds=30))
    with pytest.raises(AwaitingProof):
        deliver(delivery, tools)
    assert provider.asked == 1


def test_one_call_asks_once_and_comes_back_after_a_pause(tools: Tools, clock: FakeClock, provider: Recognising) -> None:
    delivery = lose_the_answer(tools, provider)
    clock.advance(OVERDUE)
    asked = 0
    while clock.now() < FakeClock().now() + LAST:
        provider.lose, asked = 1, asked + 1
        with pytest.raises(InDoubt) as caught:
            deliver(delivery, tools)
        assert provider.asked == 1 + asked
        assert type(caught.value) is AwaitingProof
        assert caught.value.retry_after == ASK_PAUSE.total_seconds()
        clock.advance(ASK_PAUSE + timedelta(seconds=5))
    assert asked <= 12
    with pytest.raises(InDoubt) as caught:
        deliver(delivery, tools)
    assert type(caught.value) is InDoubt, "held, as with a provider that recognises nothing"
    assert provider.asked == 1 + asked


def test_an_asking_that_is_refused_proves_nothing(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: Recognising
) -> None:
    delivery = lose_the_answer(tools, provider)
    clock.advance(OVERDUE)

    class Refusing(Recognising):
        def _answer(self, known: bool, its_name: str):
            raise Rejected("no such address")

    with pytest.raises(AwaitingProof):
        deliver(delivery, replace(tools, provider=Refusing()))
    assert row(ledger, delivery).state is State.IN_DOUBT


def test_what_would_say_something_else_by_now_does_not_ask(
    tools: Tools, clock: FakeClock, provider: Recognising
) -> None:
    lose_the_answer(tools, provider)
    clock.advance(OVERDUE)
    with pytest.raises(InDoubt) as caught:
        deliver(make_delivery(text="Corrected."), tools)
    assert type(caught.value) is InDoubt
    assert provider.asked == 1


def test_a_frozen_asker_lets_nothing_leave_when_the_provider_may_have_forgotten(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: Recognising
) -> None:
    delivery = lose_the_answer(tools, provider)
    clock.advance(LAST - timedelta(seconds=1))
    take_over = ledger.take_over

    def slowly(key: str, takeover: Takeover) -> Entry | None:
        clock.advance(timedelta(seconds=2))
        return take_over(key, takeover)

    ledger.take_over = slowly  # type: ignore[method-assign]
    with pytest.raises(InDoubt):
        deliver(delivery, tools)
    assert len(provider.idempotency_keys) == 1
    assert row(ledger, delivery).state is State.IN_DOUBT


def test_the_dead_are_asked_about_too(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: Recognising
) -> None:
    """A worker that died on another machine: nobody knows whether its request had left."""

    def dies(step: Step) -> None:
        if step is Step.LEAVING:
            raise KeyboardInterrupt

    ledger.conclude = lambda *_, **__: None  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        deliver(make_delivery(), replace(tools, reached=dies))
    del ledger.conclude
    with pytest.raises(InFlight):
        deliver(make_delivery(), tools)
    clock.advance(OVERDUE)
    assert deliver(make_delivery(), tools)[0] is Result.SENT
    assert len(provider.accepted) == 1


def test_what_its_former_owner_comes_to_know_does_not_free_a_mail_that_was_asked_about(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: Recognising, tmp_path: Path
) -> None:
    """It never sent, and says so: but somebody else's asking was accepted meanwhile, and that answer was lost."""
    delivery = make_delivery()

    def frozen(step: Step) -> None:
        if step is not Step.CLAIMED:
            return
        clock.advance(OVERDUE)
        provider.lose = 1
        with pytest.raises(AwaitingProof):
            deliver(delivery, tools)

    with pytest.raises(NeverLeft):
        deliver(delivery, replace(tools, by="run 0", reached=frozen, journal=Journal(tmp_path)))
    assert (row(ledger, delivery).state, len(provider.accepted)) == (State.IN_DOUBT, 1)
    assert deliver(delivery, tools)[0] is Result.SENT
    assert len(provider.accepted) == 1


@pytest.mark.parametrize("first", ["answer", "asking"])
def test_one_mail_known_by_its_id_and_by_its_key_is_no_duplicate(
    tools: Tools, ledger: MemoryLedger, clock: FakeClock, first: str, tmp_path: Path
) -> None:
    """The owner's answer comes late, when an asking has already proved the mail sent; or the other way round."""
    claim = protocol.Claim(delivery=make_delivery(), timing=Timing(), by="run 0")
    key = claim.delivery.key
    ledger.claim(claim)
    ledger.conclude(key, claim.token, Conclusion(state=State.IN_DOUBT, error="no answer"))
    takeover = Takeover(token=claim.token, by="run 1")
    ledger.take_over(key, takeover)
    asking = replace(claim, token=takeover.successor)
    proofs = [(claim, "m-1"), (asking, stand_in(idempotency_key(claim.token)))]
    for owner, message_id in proofs if first == "answer" else reversed(proofs):
        protocol._accepted(owner, message_id, tools)
        tools.receipts.keep(Receipt(key=key, message_id=message_id))
    assert not record_kept_receipts(tools)
    dead = Journal(tmp_path)
    dead.leaving(claim)
    dead.accepted(claim, "m-1")
    dead.close()
    assert recover(tmp_path, ledger, young=timedelta(0)) == 1
    assert row(ledger, claim.delivery).duplicate_message_ids == ()


def test_resend_comes_after_asking(tools: Tools, clock: FakeClock, provider: Recognising, ledger: MemoryLedger) -> None:
    resending = replace(tools, doubt=DoubtRules(policy=InDoubtPolicy.RESEND))
    delivery = lose_the_answer(resending, provider, taken=False)
    clock.advance(LAST + timedelta(seconds=1))
    with pytest.raises(AwaitingProof, match="sent again once nothing of it can be accepted"):
        deliver(delivery, resending)
    clock.advance(Timing().settle)
    assert deliver(delivery, resending)[0] is Result.SENT
    assert len(set(provider.idempotency_keys)) == 2, "a new claim has a key of its own"
