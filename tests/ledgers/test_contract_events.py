"""What every ledger does with the provider's events: each once, however often it comes, in whatever order."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailonce.delivery import Claim, Entry, Receipt, Timing
from mailonce.events import Event, EventKind, Fate
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery
from tests.ledgers.tools import (
    IN_DOUBT,
    NOON,
    RELEASED,
    ROUNDS,
    SENT,
    ZERO,
    at_once,
    decision,
    drive,
    gist,
    look,
    make_event,
    states_told,
)

DELIVERY, BOUNCE, SEND = EventKind.DELIVERY, EventKind.BOUNCE, EventKind.SEND
WITH_FATE = [kind for kind in EventKind if kind is not SEND]
STATES = [None, *State]


def name(state: State | None) -> str:
    return state.value if state else "no row"


@pytest.mark.parametrize("kind", WITH_FATE)
@pytest.mark.parametrize("state", STATES, ids=name)
def test_an_event_proves_acceptance_and_tells_a_fate(ledger: Ledger, state: State | None, kind: EventKind) -> None:
    claim = drive(ledger, state, "C-1")
    before = len(look(ledger, claim).history) if state else 0
    event = make_event(claim, kind, detail="550 5.1.1 né quelqu'un", known=True)
    entry = ledger.observe(event)
    assert entry
    assert (entry.state, entry.message_id, entry.duplicate_message_ids) == (State.SENT, "m-1", ())
    assert (entry.fate, entry.fate_at, entry.fate_detail) == (event.fate, NOON, "550 5.1.1 né quelqu'un")
    assert entry.event_ids == {event.id}
    assert (entry.error, entry.sent_at is not None) == (None, True)
    proof = ("SENT", f"event {kind.value}", "m-1")
    told = ("SENT", f"event {kind.value}", "550 5.1.1 né quelqu'un (2030-02-01T12:00:00+00:00)")
    assert states_told(entry)[before:] == ([told] if state is State.SENT else [proof, told])
    assert gist(ledger.observe(event)) == gist(entry) == gist(look(ledger, claim))
    assert ledger.claim(make_claim(claim.delivery)).state is State.SENT


@pytest.mark.parametrize("state", STATES, ids=name)
def test_an_event_without_a_fate_is_proof_and_no_more(ledger: Ledger, state: State | None) -> None:
    claim = drive(ledger, state, "C-1")
    before = len(look(ledger, claim).history) if state else 0
    entry = ledger.observe(make_event(claim, SEND, known=True))
    assert entry
    assert (entry.state, entry.message_id, entry.fate, entry.event_ids) == (State.SENT, "m-1", None, frozenset())
    assert states_told(entry)[before:] == ([] if state is State.SENT else [("SENT", "event Send", "m-1")])
    assert gist(ledger.observe(make_event(claim, SEND, at=NOON + timedelta(days=1)))) == gist(entry)


def test_an_event_without_words(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    entry = ledger.observe(make_event(claim, DELIVERY, at=datetime.fromisoformat("2030-02-01T14:00:00.123456+02:00")))
    assert entry
    assert (entry.fate_detail, entry.fate_at) == (None, NOON + timedelta(microseconds=123456))
    assert states_told(entry)[-1] == ("SENT", "event Delivery", "2030-02-01T12:00:00.123456+00:00")


def test_the_line_of_history_is_dated_by_the_ledgers_own_clock(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    entry = ledger.observe(make_event(claim, DELIVERY, at=datetime(1999, 12, 31, tzinfo=timezone.utc)))
    assert entry
    told = datetime.fromisoformat(str(entry.history[-1]["at"]))
    assert abs(told - entry.read_at) < timedelta(minutes=1)


def test_an_event_about_a_key_that_nobody_knows(ledger: Ledger) -> None:
    claim = make_claim(make_delivery())
    assert ledger.observe(make_event(claim, BOUNCE)) is None
    assert list(ledger.find([claim.delivery.key])) == []
    assert ledger.claim(claim).token == claim.token


def test_an_event_that_tells_whose_mail_it_is_makes_the_row_that_was_forgotten(ledger: Ledger) -> None:
    claim = make_claim(make_delivery("Ünïcode 1"))
    delivery = claim.delivery
    ledger.observe(make_event(claim, DELIVERY, known=True))
    entry = look(ledger, claim)
    assert (entry.state, entry.identity, entry.email) == (State.SENT, delivery.identity, delivery.message.to)
    assert (entry.attempt, entry.fingerprint, entry.token, entry.claimed_at) == (0, "", None, None)
    assert [row.key for row in ledger.of_month("usage", "2030-01")] == [delivery.key]
    assert [row.key for row in ledger.of_address(delivery.message.to)] == [delivery.key]


def test_a_row_knows_better_than_an_event_whose_mail_it_is(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    stranger = make_delivery("somebody else")
    event = make_event(claim, DELIVERY, identity=stranger.identity, address=stranger.message.to)
    entry = ledger.observe(event)
    assert entry
    assert (entry.identity, entry.email) == (claim.delivery.identity, claim.delivery.message.to)
    assert entry.fingerprint == claim.delivery.message.fingerprint


def test_the_highest_fate_stands(ledger: Ledger) -> None:
    kinds = [EventKind.DELIVERY_DELAY, DELIVERY, BOUNCE, EventKind.REJECT, EventKind.COMPLAINT]
    for number, order in enumerate((kinds, kinds[::-1])):
        claim = drive(ledger, State.SENT, f"C-{number}")
        for minute, kind in enumerate(order):
            ledger.observe(make_event(claim, kind, detail=kind.value, at=NOON - timedelta(minutes=minute)))
        entry = look(ledger, claim)
        assert (entry.fate, entry.fate_detail) == (Fate.COMPLAINED, "Complaint")
        assert entry.fate_at == NOON - timedelta(minutes=order.index(EventKind.COMPLAINT))
        assert len(entry.event_ids) == 5
        assert [line["by"] for line in entry.history][2:] == [f"event {kind.value}" for kind in order]


@pytest.mark.parametrize("turn", [1, -1], ids=["in order", "reversed"])
def test_of_two_equal_fates_the_later_stands(ledger: Ledger, turn: int) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    events = [make_event(claim, BOUNCE, at=NOON + timedelta(hours=hour), detail=f"{9 - hour}") for hour in (0, 1)]
    # Two kinds for one fate, at one moment: the greater text stands, by its code points.
    events += [
        make_event(claim, kind, at=NOON, detail=text)
        for kind, text in ((EventKind.REJECT, "a"), (EventKind.RENDERING_FAILURE, "B"))
    ]
    for event in events[:2][::turn]:
        entry = ledger.observe(event)
    assert entry
    assert (entry.fate_at, entry.fate_detail) == (NOON + timedelta(hours=1), "8")
    for event in events[2:][::turn]:
        entry = ledger.observe(event)
    assert entry
    assert (entry.fate, entry.fate_at, entry.fate_detail) == (Fate.DROPPED, NOON, "a")


def test_an_event_about_a_second_mail_is_a_measured_duplicate(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    ledger.observe(make_event(claim, DELIVERY, "m-1"))
    entry = ledger.observe(make_event(claim, DELIVERY, "m-2"))
    assert entry
    assert (entry.message_id, entry.duplicate_message_ids, entry.fate) == ("m-1", ("m-2",), Fate.DELIVERED)
    assert [by for _, by, _ in states_told(entry)[2:]] == ["event Delivery"] * 3
    assert gist(ledger.observe(make_event(claim, SEND, "m-2"))) == gist(entry)


def test_receipt_answer_and_event_about_one_mail_are_one_acceptance(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENDING, "C-1")
    ledger.observe(make_event(claim, DELIVERY))
    ledger.conclude(claim.delivery.key, claim.token, SENT)
    entry = ledger.witness(Receipt(key=claim.delivery.key, message_id="m-1", evidence="kept receipt"))
    assert entry
    assert (entry.state, entry.message_id, entry.duplicate_message_ids) == (State.SENT, "m-1", ())
    assert len(entry.history) == 3
    assert entry.fate is Fate.DELIVERED


def test_nothing_takes_a_fate_back(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENDING, "C-1")
    entry = ledger.observe(make_event(claim, BOUNCE))
    for conclusion in (SENT, RELEASED, IN_DOUBT):
        assert gist(ledger.conclude(claim.delivery.key, claim.token, conclusion)) == gist(entry)
    for state in (State.SENT, State.RELEASED, State.CANCELLED):
        assert gist(ledger.decide(claim.delivery.key, decision(state))) == gist(entry)
    assert gist(ledger.claim(make_claim(claim.delivery))) == gist(entry)


def test_a_persons_word_and_then_the_event(ledger: Ledger) -> None:
    claim = drive(ledger, State.IN_DOUBT, "C-1")
    said = ledger.decide(claim.delivery.key, decision(State.SENT))
    assert said
    entry = ledger.observe(make_event(claim, DELIVERY, "m-9"))
    assert entry
    assert (entry.message_id, entry.duplicate_message_ids, entry.sent_at) == ("m-9", (), said.sent_at)


def test_a_new_claim_of_an_expired_row_knows_nothing_of_its_events(ledger: Ledger) -> None:
    claim = make_claim(make_delivery(), timing=Timing(window=ZERO, settle=ZERO, retention=ZERO))
    ledger.claim(claim)
    ledger.conclude(claim.delivery.key, claim.token, SENT)
    entry = ledger.observe(make_event(claim, DELIVERY))
    assert entry
    assert entry.fate is Fate.DELIVERED
    again = make_claim(make_delivery())
    entry = ledger.claim(again)
    assert (entry.token, entry.state, entry.message_id) == (again.token, State.SENDING, None)
    assert (entry.fate, entry.fate_at, entry.fate_detail, entry.event_ids) == (None, None, None, frozenset())
    ledger.conclude(again.delivery.key, again.token, SENT)
    entry = ledger.observe(make_event(claim, BOUNCE))
    assert entry
    assert entry.fate is Fate.BOUNCED


def test_an_event_makes_an_expired_refusal_a_lasting_fact(ledger: Ledger) -> None:
    claim = make_claim(make_delivery(), timing=Timing(retention=timedelta(days=1)))
    ledger.claim(claim)
    ledger.decide(claim.delivery.key, decision(State.CANCELLED))
    ledger.observe(make_event(claim, DELIVERY))
    assert look(ledger, claim).state is State.SENT


# Any order, any repetition


def events_about(claim: Claim) -> st.SearchStrategy[list[Event]]:
    """Some events about one key: a few kinds, mails and moments, so that they meet often."""
    told = st.builds(
        functools.partial(make_event, claim),
        st.sampled_from(EventKind),
        st.sampled_from(["m-1", "m-2", "m-3"]),
        at=st.sampled_from([NOON, NOON + timedelta(microseconds=1), NOON + timedelta(days=1)]),
        detail=st.sampled_from(["", "a", "B", "é", "z\N{GRINNING FACE}", "z\ufffd"]),
        known=st.just(True),
    )
    return st.lists(told, min_size=1, max_size=6, unique_by=lambda event: event.id)


def told(ledger: Ledger, state: State | None, events: Sequence[Event]) -> object:
    """Tell a fresh row in a certain state the events, and return what must not depend on order or repetition."""
    claim = drive(ledger, state, uuid.uuid4().hex)
    for event in events:
        ledger.observe(replace(event, key=claim.delivery.key))
    entry = look(ledger, claim)
    message_ids = sorted([entry.message_id or "", *entry.duplicate_message_ids])
    fate = (entry.fate, entry.fate_at, entry.fate_detail)
    return entry.state, message_ids, fate, entry.event_ids, len(entry.history)


@st.composite
def two_tellings(draw: st.DrawFn) -> tuple[State | None, list[Event], list[Event]]:
    """A state, some events, and the same events in another order with some of them repeated."""
    events = draw(events_about(make_claim(make_delivery())))
    repeated = draw(st.lists(st.sampled_from(events), max_size=6))
    other = draw(st.permutations([*events, *repeated]))
    return draw(st.sampled_from(STATES)), events, other


@settings(max_examples=400)
@given(two_tellings())
def test_order_and_repetition_are_nothing_in_memory(tellings: tuple[State | None, list[Event], list[Event]]) -> None:
    state, events, other = tellings
    assert told(MemoryLedger(), state, other) == told(MemoryLedger(), state, events)


# The table outlives an example; each example has rows of its own.
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tellings=two_tellings())
def test_order_and_repetition_are_nothing(
    ledger: Ledger, tellings: tuple[State | None, list[Event], list[Event]]
) -> None:
    state, events, other = tellings
    first = told(ledger, state, events)
    assert told(ledger, state, other) == first
    assert first == told(MemoryLedger(), state, events), "the ledgers disagree"


# Many at once


def test_no_event_is_lost_and_none_is_told_twice(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    ledger.prepare()
    for number in range(ROUNDS // 4):
        claim = drive(ledger, (None, State.SENDING, State.IN_DOUBT)[number % 3], f"C-{number}")
        before = len(look(ledger, claim).history) if number % 3 else 0
        events = [make_event(claim, kind, f"m-{nth % 2}", known=True) for nth, kind in enumerate(WITH_FATE)]
        at_once(pool, [functools.partial(ledger.observe, event) for event in events * 2])
        entry = look(ledger, claim)
        assert entry.event_ids == {event.id for event in events}
        assert sorted([entry.message_id or "", *entry.duplicate_message_ids]) == ["m-0", "m-1"]
        assert (entry.fate, len(entry.history) - before) == (Fate.COMPLAINED, len(events) + 2)


def test_the_event_and_the_owners_answer_at_once(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    """Whoever comes first, it is one acceptance; and the owner's doubt does not outlive the proof."""
    ledger.prepare()
    for number in range(ROUNDS):
        claim = drive(ledger, State.SENDING, f"C-{number}")
        conclusion = (SENT, IN_DOUBT, RELEASED)[number % 3]
        at_once(pool, [
            functools.partial(ledger.conclude, claim.delivery.key, claim.token, conclusion),
            functools.partial(ledger.observe, make_event(claim, DELIVERY)),
            functools.partial(ledger.observe, make_event(claim, SEND)),
        ])  # fmt: skip
        entry = look(ledger, claim)
        assert (entry.state, entry.message_id, entry.duplicate_message_ids) == (State.SENT, "m-1", ())
        assert entry.fate is Fate.DELIVERED


@pytest.mark.parametrize("state", [None, State.RELEASED], ids=name)
@pytest.mark.parametrize("known", [True, False])
def test_the_event_and_a_claim_at_once(
    ledger: Ledger, pool: ThreadPoolExecutor, state: State | None, known: bool
) -> None:
    """A mail that was sent already, to which the event comes while somebody claims it anew: the proof is never lost.

    Unless the event came first, to no row, and could not make one.
    """
    ledger.prepare()
    for number in range(ROUNDS):
        claim = drive(ledger, state, f"C-{number}")
        observe: Callable[[], Entry | None] = functools.partial(ledger.observe, make_event(claim, BOUNCE, known=known))
        claimed, observed = at_once(pool, [functools.partial(ledger.claim, make_claim(claim.delivery)), observe])
        entry = look(ledger, claim)
        if observed is None:
            assert (state, known, entry.state) == (None, False, State.SENDING)
        else:
            assert (entry.state, entry.fate, observed.fate) == (State.SENT, Fate.BOUNCED, Fate.BOUNCED)
        assert claimed


def test_proof_without_a_row_and_a_claim_at_once(ledger: Ledger, pool: ThreadPoolExecutor) -> None:
    """Either there was no row for the proof, and it says so, or the claim has to live with it."""
    ledger.prepare()
    for number in range(ROUNDS):
        claim = make_claim(make_delivery(f"C-{number}"))
        receipt = Receipt(key=claim.delivery.key, message_id="m-1")
        _, proved = at_once(pool, [
            functools.partial(ledger.claim, claim), functools.partial(ledger.witness, receipt),
        ])  # fmt: skip
        assert proved is None or proved.has_message("m-1")
        assert look(ledger, claim).has_message("m-1") == (proved is not None)
