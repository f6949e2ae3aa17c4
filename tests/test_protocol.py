"""The protocol, example by example. ``test_protocol_random.py`` lets chance look for the examples that are missing."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from mailonce import protocol
from mailonce.delivery import Conclusion, Decision, Delivery, Entry, Receipt, Timing
from mailonce.departure import Fence
from mailonce.doubt import DoubtRules, InDoubtPolicy
from mailonce.errors import (
    AwaitingProof,
    DailyQuotaExceeded,
    InDoubt,
    InFlight,
    LedgerUnavailable,
    NeverLeft,
    NotDelivered,
    Rejected,
    RunBlocked,
    Throttled,
)
from mailonce.messages.message import Message
from mailonce.protocol import (
    Choice,
    Result,
    Step,
    Tools,
    choose,
    deliver,
)
from mailonce.providers.base import Departure
from mailonce.receipts import ReceiptsInMemory
from mailonce.recording import record_kept_receipts
from mailonce.states import State
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeClock, FakeProvider, make_claim, make_delivery, row

SECOND = timedelta(seconds=1)
TIMING = Timing()
PAST_DEADLINE = TIMING.window + SECOND
SETTLED = TIMING.window + TIMING.settle + SECOND


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(protocol, "Fence", functools.partial(Fence, clock=fake.seconds))
    return fake


@pytest.fixture
def ledger(clock: FakeClock) -> MemoryLedger:
    return MemoryLedger(clock.now)


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def tools(ledger: MemoryLedger, provider: FakeProvider) -> Tools:
    return Tools(ledger=ledger, provider=provider, receipts=ReceiptsInMemory(), by="run 1, try 1")


def fails(error: BaseException) -> Callable[[Message, Mapping[str, str]], str]:
    def answer(_message: Message, _tags: Mapping[str, str]) -> str:
        raise error

    return answer


def doubted(ledger: MemoryLedger, delivery: Delivery) -> str:
    """Leave the key in doubt, as a worker does that got no answer; return its token."""
    claim = make_claim(delivery, by="run 0")
    ledger.claim(claim)
    ledger.conclude(delivery.key, claim.token, Conclusion(state=State.IN_DOUBT, error="no answer"))
    return claim.token


# -- choosing --------------------------------------------------------------------------------------------------


def entries(clock: FakeClock, state: State) -> Iterator[tuple[Entry, str]]:
    """Every kind of row in a state: ours or another's; before the deadline, after it, settled."""
    for ours in (True, False):
        for later, when in ((timedelta(0), "fresh"), (PAST_DEADLINE, "overdue"), (SETTLED, "settled")):
            claim = make_claim(make_delivery())
            entry = MemoryLedger(clock.now).claim(claim)
            entry = replace(entry, state=state, read_at=entry.read_at + later)
            yield entry if ours else replace(entry, token="another"), f"{'ours' if ours else 'another'}, {when}"


CHOICES = {
    State.SENDING: {
        "ours, fresh": Choice.SEND, "ours, overdue": Choice.SEND, "ours, settled": Choice.SEND,
        "another, fresh": Choice.WAIT, "another, overdue": Choice.DOUBT, "another, settled": Choice.DOUBT,
    },
    State.SENT: Choice.REPLAY,
    State.RELEASED: Choice.CLAIM,
    State.REJECTED: Choice.DEAD,
    State.IN_DOUBT: Choice.UNSURE,
    State.CANCELLED: Choice.REPLAY,
}  # fmt: skip


@pytest.mark.parametrize("state", State)
def test_the_choice_for_every_row(clock: FakeClock, state: State) -> None:
    expected = CHOICES[state]
    for number, (entry, kind) in enumerate(entries(clock, state)):
        claim = make_claim(make_delivery())
        if number < 3:
            claim = replace(claim, token=entry.token or "")
        wanted = expected[kind] if isinstance(expected, dict) else expected
        assert choose(entry, claim) is wanted, kind


# -- the fence -------------------------------------------------------------------------------------------------


def test_the_fence_refuses_from_its_end_on(clock: FakeClock) -> None:
    fence = Fence(timedelta(seconds=60), clock.seconds)
    clock.advance(timedelta(seconds=59))
    fence.check()
    clock.advance(SECOND)
    with pytest.raises(NeverLeft, match="deadline"):
        fence.check()


def test_a_worker_that_was_frozen_after_its_claim_sends_nothing(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: FakeProvider
) -> None:
    def freeze(step: Step) -> None:
        if step is Step.CLAIMED:
            clock.advance(PAST_DEADLINE)

    delivery = make_delivery()
    with pytest.raises(NeverLeft, match="frozen"):
        deliver(delivery, replace(tools, reached=freeze))
    assert provider.accepted == []
    assert row(ledger, delivery).state is State.RELEASED


def test_the_time_that_the_claim_takes_counts(tools: Tools, clock: FakeClock, ledger: MemoryLedger) -> None:
    """The claim's answer may come late: the window runs from before it was asked for."""
    answer = ledger.claim

    def late(claim):
        entry = answer(claim)
        clock.advance(PAST_DEADLINE)
        return entry

    ledger.claim = late  # type: ignore[method-assign]
    with pytest.raises(NeverLeft):
        deliver(make_delivery(), tools)


# -- a delivery, well and badly --------------------------------------------------------------------------------


def test_the_happy_path_is_two_writes_and_every_step_in_order(tools: Tools, ledger: MemoryLedger) -> None:
    steps: list[Step] = []
    result, entry = deliver(make_delivery(), replace(tools, reached=steps.append))
    assert (result, entry.state, entry.message_id) == (Result.SENT, State.SENT, "m-1")
    assert ledger.calls == ["claim", "conclude"]
    assert ledger.patience_given == TIMING.record_patience
    assert steps == list(Step)


def test_again_sends_nothing_and_says_why(tools: Tools, provider: FakeProvider, caplog) -> None:
    delivery = make_delivery()
    deliver(delivery, tools)
    with caplog.at_level(logging.INFO):
        result, entry = deliver(delivery, tools)
    assert (result, entry.message_id, provider.asked) == (Result.ALREADY_SENT, "m-1", 1)
    assert "already sent on 2030-02-01 09:00 UTC as message m-1" in caplog.text
    assert delivery.message.to not in caplog.text


def test_changed_content_is_reported_and_not_sent(tools: Tools, provider: FakeProvider, caplog) -> None:
    deliver(make_delivery(text="3 units"), tools)
    result, entry = deliver(make_delivery(text="4 units"), tools)
    assert (result, entry.message_id, provider.asked) == (Result.CONTENT_CHANGED, "m-1", 1)
    assert "edition" in caplog.text
    result, _ = deliver(make_delivery(text="4 units", edition="corrected"), tools)
    assert result is Result.SENT


def test_a_cancelled_mail_is_not_sent(tools: Tools, ledger: MemoryLedger, provider: FakeProvider) -> None:
    delivery = make_delivery()
    doubted(ledger, delivery)
    ledger.decide(delivery.key, Decision(state=State.CANCELLED, by="support", reason="left us"))
    assert deliver(delivery, tools)[0] is Result.CANCELLED
    assert provider.asked == 0


@pytest.mark.parametrize(
    ("failure", "state", "sent_on_retry"),
    [
        (NeverLeft("no route"), State.RELEASED, True),
        (Throttled("slow down"), State.RELEASED, True),
        (RunBlocked("paused"), State.RELEASED, True),
        (DailyQuotaExceeded("200 a day"), State.RELEASED, True),
        (Rejected("no such address"), State.REJECTED, False),
        (InDoubt("time-out"), State.IN_DOUBT, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_failure_moves_the_key_as_far_as_it_proves(
    tools: Tools, ledger: MemoryLedger, provider: FakeProvider, failure: NotDelivered, state: State, sent_on_retry: bool
) -> None:
    delivery = make_delivery("C-42")
    provider.answer = fails(failure)
    with pytest.raises(type(failure)) as raised:
        deliver(delivery, tools)
    assert row(ledger, delivery).state is state
    assert row(ledger, delivery).error == failure.detail
    # Who, which key, and what is safe now; never the address.
    assert (raised.value.recipient_id, raised.value.key) == ("C-42", delivery.key)
    text = str(raised.value)
    assert text.startswith("C-42: ")
    assert delivery.key[:12] in text
    assert type(failure).safe_next
    assert text.endswith(type(failure).safe_next)
    assert delivery.message.to not in text
    provider.answer = None
    if sent_on_retry:
        assert deliver(delivery, tools)[0] is Result.SENT
    else:
        with pytest.raises(type(failure)) as again:
            deliver(delivery, tools)
        assert (again.value.recipient_id, again.value.key) == ("C-42", delivery.key)
        assert failure.detail in str(again.value)
    assert len(provider.accepted) == int(sent_on_retry)


@pytest.mark.parametrize("stop", [KeyboardInterrupt("killed"), SystemExit(1), ValueError("a fault of ours")], ids=repr)
def test_whatever_interrupts_the_request_leaves_it_in_doubt(
    tools: Tools, ledger: MemoryLedger, provider: FakeProvider, stop: BaseException
) -> None:
    delivery = make_delivery()
    provider.answer = fails(stop)
    with pytest.raises(InDoubt if isinstance(stop, Exception) else type(stop)):
        deliver(delivery, tools)
    entry = row(ledger, delivery)
    assert entry.state is State.IN_DOUBT
    assert type(stop).__name__ in (entry.error or "")


def test_a_ledger_that_is_away_before_the_claim_sends_nothing(
    tools: Tools, ledger: MemoryLedger, provider: FakeProvider
) -> None:
    for failure in ("before", "after"):
        ledger.fail_next = failure
        with pytest.raises(LedgerUnavailable):
            deliver(make_delivery(failure), tools)
    assert provider.asked == 0


def test_a_failure_that_cannot_be_written_down_is_raised_all_the_same(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: FakeProvider, caplog
) -> None:
    delivery = make_delivery()

    def throttled_as_the_ledger_goes(_message: Message, _tags: Mapping[str, str]) -> str:
        ledger.fail_next = "before"
        raise Throttled("slow down")

    provider.answer = throttled_as_the_ledger_goes
    with pytest.raises(Throttled):
        deliver(delivery, tools)
    assert "held as in doubt" in caplog.text
    clock.advance(PAST_DEADLINE)
    with pytest.raises(InDoubt):
        deliver(delivery, tools)


# -- others at work --------------------------------------------------------------------------------------------


def test_another_worker_is_waited_for_until_its_deadline_and_then_doubted(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: FakeProvider
) -> None:
    delivery = make_delivery("C-42")
    ledger.claim(make_claim(delivery, by="run 0, try 1"))
    clock.advance(TIMING.window)
    with pytest.raises(InFlight, match=r"C-42: being sent right now by run 0, try 1"):
        deliver(delivery, tools)
    clock.advance(SECOND)
    with pytest.raises(InDoubt, match="run 0, try 1"):
        deliver(delivery, tools)
    assert row(ledger, delivery).state is State.IN_DOUBT
    assert provider.asked == 0


def test_resend_waits_until_the_claim_is_settled(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: FakeProvider
) -> None:
    delivery = make_delivery()
    doubted(ledger, delivery)
    tools = replace(tools, doubt=DoubtRules(policy=InDoubtPolicy.RESEND))
    clock.advance(SETTLED - 31 * SECOND)
    with pytest.raises(AwaitingProof, match="sent again once") as waits:
        deliver(delivery, tools)
    # The next try is worth its while just when the claim is settled.
    assert waits.value.retry_after == 31
    assert provider.asked == 0
    clock.advance(31 * SECOND)
    result, entry = deliver(delivery, tools)
    assert (result, entry.attempt) == (Result.SENT, 2)
    (odds,) = (line["note"] or "" for line in entry.history if line["state"] == "RELEASED")
    assert "resend" in odds
    assert "a second copy if the first was accepted" in odds


def test_resend_waits_for_the_events_of_that_time_too(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: FakeProvider
) -> None:
    delivery = make_delivery()
    doubted(ledger, delivery)
    drained_at = [clock.now()]
    tools = replace(
        tools,
        doubt=DoubtRules(policy=InDoubtPolicy.RESEND, patience=timedelta(hours=1)),
        events_drained_at=lambda: drained_at[0],
    )
    clock.advance(SETTLED)
    with pytest.raises(AwaitingProof, match="reconcile_usage_email"):
        deliver(delivery, tools)
    clock.advance(timedelta(hours=2))
    with pytest.raises(InDoubt, match="Held") as held:  # nobody reads the events: not for a policy to decide
        deliver(delivery, tools)
    assert not isinstance(held.value, AwaitingProof)
    assert provider.asked == 0
    drained_at[0] = clock.now()
    result, entry = deliver(delivery, tools)
    assert result is Result.SENT
    assert any("its event was lost too" in (line["note"] or "") for line in entry.history)


def test_an_event_is_waited_for_with_patience_and_no_longer(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: FakeProvider
) -> None:
    delivery = make_delivery()
    provider.answer = lambda _message, _tags: (_ for _ in ()).throw(InDoubt("the answer was lost"))
    tools = replace(tools, doubt=DoubtRules(patience=timedelta(hours=1)))
    for later in (timedelta(0), timedelta(minutes=59)):
        clock.advance(later)
        with pytest.raises(AwaitingProof, match="an event of the provider may prove it until"):
            deliver(delivery, tools)
    clock.advance(timedelta(minutes=2))
    with pytest.raises(InDoubt) as held:
        deliver(delivery, tools)
    assert not isinstance(held.value, AwaitingProof)
    ledger.witness(Receipt(key=delivery.key, message_id="m-1", evidence="event Send"))
    assert deliver(delivery, tools)[0] is Result.ALREADY_SENT
    assert provider.asked == 1


def test_an_event_may_be_faster_than_the_answer(tools: Tools, ledger: MemoryLedger, provider: FakeProvider) -> None:
    delivery = make_delivery()

    def accepted_and_the_answer_lost(_message: Message, tags: Mapping[str, str]) -> str:
        ledger.witness(Receipt(key=delivery.key, message_id=provider.accept(tags), evidence="event Send"))
        raise InDoubt("no answer came")

    provider.answer = accepted_and_the_answer_lost
    result, entry = deliver(delivery, tools)
    assert (result, entry.state, entry.message_id) == (Result.SENT, State.SENT, "m-1")


def test_what_fails_before_the_departure_has_sent_nothing(tools: Tools, ledger: MemoryLedger) -> None:
    class Broken:
        remembers = None

        def __init__(self, trouble: BaseException) -> None:
            self.trouble = trouble

        def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
            departure.signing()
            raise self.trouble

    for trouble, seen in (
        (InDoubt("TLS broke off"), NeverLeft),
        (RuntimeError("a fault"), NeverLeft),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):
        delivery = make_delivery(f"C-{type(trouble).__name__}")
        with pytest.raises(seen):
            deliver(delivery, replace(tools, provider=Broken(trouble)))
        assert row(ledger, delivery).state is State.RELEASED


def test_a_clock_that_runs_ahead_signs_nothing(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: FakeProvider
) -> None:
    behind = MemoryLedger(lambda: datetime.now(timezone.utc) - TIMING.clock_tolerance - 10 * SECOND)
    with pytest.raises(NeverLeft, match="ahead of the ledger's"):
        deliver(make_delivery(), replace(tools, ledger=behind))
    assert provider.asked == 0
    close = MemoryLedger(lambda: datetime.now(timezone.utc) - TIMING.clock_tolerance + 10 * SECOND)
    assert deliver(make_delivery(), replace(tools, ledger=close))[0] is Result.SENT


def test_hold_holds_for_ever(tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: FakeProvider) -> None:
    delivery = make_delivery()
    doubted(ledger, delivery)
    clock.advance(timedelta(days=400))
    with pytest.raises(InDoubt):
        deliver(delivery, tools)
    assert provider.asked == 0


def test_the_late_receipt_of_a_zombie_is_a_measured_duplicate(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: FakeProvider
) -> None:
    """A person released what was accepted after all: the ledger ends up with both message ids."""
    delivery = make_delivery()

    def accepted_while_frozen(_message: Message, tags: Mapping[str, str]) -> str:
        provider.answer = None
        message_id = provider.accept(tags)
        clock.advance(SETTLED)
        with pytest.raises(InDoubt):
            deliver(delivery, replace(tools, by="successor"))
        ledger.decide(delivery.key, Decision(state=State.RELEASED, by="support", reason="not found at the provider"))
        assert deliver(delivery, replace(tools, by="successor"))[0] is Result.SENT
        return message_id

    provider.answer = accepted_while_frozen
    _, entry = deliver(delivery, replace(tools, by="zombie"))
    assert (entry.state, entry.message_id, entry.duplicate_message_ids) == (State.SENT, "m-2", ("m-1",))


def test_an_answer_that_comes_after_the_doubt_still_counts(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: FakeProvider
) -> None:
    delivery = make_delivery()

    def slow(_message: Message, tags: Mapping[str, str]) -> str:
        clock.advance(PAST_DEADLINE)
        with pytest.raises(InDoubt):
            deliver(delivery, tools)
        return provider.accept(tags)

    provider.answer = slow
    result, entry = deliver(delivery, tools)
    assert (result, entry.state, entry.error) == (Result.SENT, State.SENT, None)


# -- receipts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["before", "after"])
def test_a_receipt_outlives_a_ledger_that_is_away(
    tools: Tools, clock: FakeClock, ledger: MemoryLedger, provider: FakeProvider, failure: str, caplog
) -> None:
    delivery = make_delivery()

    def accepted_as_the_ledger_goes(_message: Message, tags: Mapping[str, str]) -> str:
        ledger.fail_next = failure
        return provider.accept(tags)

    provider.answer = accepted_as_the_ledger_goes
    with pytest.raises(LedgerUnavailable):
        deliver(delivery, tools)
    assert list(tools.receipts.kept()) == [Receipt(key=delivery.key, message_id="m-1")]
    assert "m-1" in caplog.text
    clock.advance(PAST_DEADLINE)
    assert not record_kept_receipts(tools)
    assert not tools.receipts.kept()
    result, entry = deliver(delivery, tools)
    assert (result, entry.message_id, entry.duplicate_message_ids) == (Result.ALREADY_SENT, "m-1", ())
    assert provider.asked == 1


def test_a_kept_receipt_is_kept_until_the_ledger_has_it(tools: Tools, ledger: MemoryLedger) -> None:
    delivery = make_delivery()
    doubted(ledger, delivery)
    tools.receipts.keep(Receipt(key=delivery.key, message_id="m-1"))
    ledger.fail_next = "before"
    with pytest.raises(LedgerUnavailable):
        record_kept_receipts(tools)
    assert len(tools.receipts.kept()) == 1
    record_kept_receipts(tools)
    assert row(ledger, delivery).state is State.SENT


def test_a_receipt_that_the_ledger_does_not_take_as_late_truth_is_kept(
    tools: Tools, ledger: MemoryLedger, provider: FakeProvider
) -> None:
    """The row is gone when the answer comes, and the ledger fails as it is to be made anew."""
    delivery = make_delivery()

    def forgets(_message: Message, tags: Mapping[str, str]) -> str:
        ledger._rows.clear()
        return provider.accept(tags)

    def is_away(*_: object) -> None:
        raise LedgerUnavailable("away")

    provider.answer = forgets
    ledger.witness = is_away  # type: ignore[method-assign]
    with pytest.raises(LedgerUnavailable):
        deliver(delivery, tools)
    assert list(tools.receipts.kept()) == [Receipt(key=delivery.key, message_id="m-1")]


def test_a_kept_receipt_whose_row_is_gone_stops_a_second_copy(
    tools: Tools, ledger: MemoryLedger, provider: FakeProvider
) -> None:
    delivery = make_delivery()
    receipt = Receipt(key=delivery.key, message_id="m-1")
    tools.receipts.keep(receipt)
    unrecorded = record_kept_receipts(tools)
    assert unrecorded == {delivery.key: receipt}
    assert tools.receipts.kept()

    result, entry = deliver(delivery, replace(tools, unrecorded=unrecorded))
    assert (result, entry.message_id, provider.asked) == (Result.ALREADY_SENT, "m-1", 0)
    assert not tools.receipts.kept()


def test_a_receipt_whose_row_is_gone_makes_it_anew(tools: Tools, ledger: MemoryLedger, provider: FakeProvider) -> None:
    """The ledger lost the row while the request was on the wire, as a ledger restored from an old copy has."""
    delivery = make_delivery()

    def forgets(_message: Message, tags: Mapping[str, str]) -> str:
        ledger._rows.clear()
        return provider.accept(tags)

    provider.answer = forgets
    result, entry = deliver(delivery, tools)
    assert (result, entry.state, entry.message_id) == (Result.SENT, State.SENT, "m-1")
