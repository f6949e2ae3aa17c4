"""What every ledger must do. Each test runs against each ledger; a new ledger is one more parameter in conftest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from mailonce.delivery import Claim, Conclusion, Receipt, Timing
from mailonce.events import EventKind
from mailonce.findings import Severity
from mailonce.ledgers.base import Ledger
from mailonce.states import ALLOWED, State
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery
from tests.ledgers.conftest import MakeLedger
from tests.ledgers.tools import (
    FORGOTTEN_AT_ONCE,
    IN_DOUBT,
    REJECTED,
    RELEASED,
    SENT,
    SETTLED_AT_ONCE,
    ZERO,
    decision,
    drive,
    gist,
    look,
    make_event,
    states_told,
)

STRANGER = "00000000-0000-4000-8000-000000000000"


def test_a_first_claim_is_won_and_says_all_there_is_to_know(ledger: Ledger) -> None:
    claim = make_claim(make_delivery("Ünïcode 1"), by="dag run 1, try 2")
    before = datetime.now(timezone.utc) - timedelta(seconds=3)
    entry = ledger.claim(claim)
    assert (entry.state, entry.token, entry.attempt, entry.claimed_by) == (State.SENDING, claim.token, 1, claim.by)
    assert (entry.key, entry.identity) == (claim.delivery.key, claim.delivery.identity)
    assert (entry.email, entry.fingerprint) == (claim.delivery.message.to, claim.delivery.message.fingerprint)
    assert (entry.message_id, entry.duplicate_message_ids, entry.sent_at, entry.error) == (None, (), None, None)
    assert entry.claimed_at
    assert entry.deadline_at
    assert entry.settled_at
    assert before < entry.claimed_at <= entry.read_at < before + timedelta(minutes=1)
    assert entry.deadline_at - entry.claimed_at == claim.timing.window
    assert entry.settled_at - entry.deadline_at == claim.timing.settle
    assert not entry.overdue
    assert not entry.settled
    assert states_told(entry) == [("SENDING", claim.by, None)]
    assert gist(look(ledger, claim)) == gist(entry)


def test_a_second_claim_is_lost_and_told_who_won(make_ledger: MakeLedger) -> None:
    first, second = make_claim(make_delivery(), by="A"), make_claim(make_delivery(text="changed"), by="B")
    won = make_ledger().claim(first)
    assert gist(make_ledger().claim(second)) == gist(won)


def test_a_claim_repeated_by_its_owner_is_won_once(ledger: Ledger) -> None:
    claim = make_claim(make_delivery())
    won = ledger.claim(claim)
    assert gist(ledger.claim(claim)) == gist(won)
    assert won.attempt == len(won.history) == 1


@pytest.mark.parametrize("conclusion", [SENT, RELEASED, REJECTED, IN_DOUBT], ids=lambda c: c.state.value)
def test_a_conclusion_is_written_once_however_often_it_is_repeated(ledger: Ledger, conclusion: Conclusion) -> None:
    claim = drive(ledger, State.SENDING, "C-1")
    entry = ledger.conclude(claim.delivery.key, claim.token, conclusion)
    assert entry is not None
    assert (entry.state, entry.message_id, entry.error) == (conclusion.state, conclusion.message_id, conclusion.error)
    assert (entry.sent_at is not None) == (conclusion is SENT)
    assert states_told(entry)[1:] == [(conclusion.state.value, "worker", conclusion.error or conclusion.message_id)]
    assert gist(ledger.conclude(claim.delivery.key, claim.token, conclusion)) == gist(entry)
    assert gist(look(ledger, claim)) == gist(entry)


def test_a_late_answer_of_the_owner_ends_the_doubt(ledger: Ledger) -> None:
    for number, conclusion in enumerate((SENT, RELEASED, REJECTED)):
        claim = drive(ledger, State.IN_DOUBT, f"C-{number}")
        entry = ledger.conclude(claim.delivery.key, claim.token, conclusion)
        assert entry
        assert entry.state is conclusion.state


def test_the_error_goes_when_the_mail_turns_out_sent(ledger: Ledger) -> None:
    claim = drive(ledger, State.IN_DOUBT, "C-1")
    entry = ledger.conclude(claim.delivery.key, claim.token, SENT)
    assert entry
    assert entry.error is None


def test_a_conclusion_about_an_unknown_key_changes_nothing(ledger: Ledger) -> None:
    key = make_delivery().key
    assert ledger.conclude(key, STRANGER, SENT) is None
    assert list(ledger.find([key])) == []


def test_a_stale_owner_changes_nothing_of_its_successors(ledger: Ledger) -> None:
    first = drive(ledger, State.RELEASED, "C-1")
    second = make_claim(first.delivery, by="successor")
    won = ledger.claim(second)
    assert (won.token, won.attempt) == (second.token, 2)
    for conclusion in (SENT, RELEASED, REJECTED, IN_DOUBT):
        assert gist(ledger.conclude(first.delivery.key, first.token, conclusion)) == gist(won)
    assert gist(look(ledger, first)) == gist(won)


def test_a_released_row_keeps_its_history_and_counts_on(ledger: Ledger) -> None:
    delivery = make_delivery()
    for attempt in (1, 2, 3):
        claim = make_claim(delivery, by=f"try {attempt}")
        assert ledger.claim(claim).attempt == attempt
        ledger.conclude(delivery.key, claim.token, RELEASED)
    entry = look(ledger, claim)
    assert entry.error == "slow down"
    assert states_told(entry)[-2:] == [("SENDING", "try 3", None), ("RELEASED", "try 3", "slow down")]
    assert len(entry.history) == 6
    moments = [line["at"] for line in entry.history]
    assert [*map(datetime.fromisoformat, filter(None, moments))]


def test_a_new_claim_is_about_the_new_message(ledger: Ledger) -> None:
    drive(ledger, State.RELEASED, "C-1")
    corrected = make_claim(make_delivery("C-1", email="new@example.org", text="4 units"))
    entry = ledger.claim(corrected)
    assert (entry.email, entry.fingerprint) == ("new@example.org", corrected.delivery.message.fingerprint)
    assert entry.error is None
    assert [row.key for row in ledger.of_address("new@example.org")] == [entry.key]
    assert list(ledger.of_address("C-1@example.org")) == []


@pytest.mark.parametrize("state", [None, *State], ids=lambda state: state.value if state else "no row")
def test_proof_of_acceptance_wins_from_every_state(ledger: Ledger, state: State | None) -> None:
    claim = drive(ledger, state, "C-1")
    receipt = Receipt(key=claim.delivery.key, message_id="m-1", evidence="event")
    entry = ledger.witness(receipt, claim.delivery)
    assert (entry.state, entry.message_id, entry.duplicate_message_ids) == (State.SENT, "m-1", ())
    assert entry.sent_at is not None
    assert entry.error is None
    if state is not State.SENT:
        assert states_told(entry)[-1] == ("SENT", "event", "m-1")
    assert gist(ledger.witness(receipt)) == gist(entry)
    assert ledger.claim(make_claim(claim.delivery)).state is State.SENT


def test_proof_for_a_key_that_nobody_knows(ledger: Ledger) -> None:
    assert ledger.witness(Receipt(key=make_delivery().key, message_id="m-1")) is None
    assert list(ledger.find([make_delivery().key])) == []


def test_a_row_made_by_proof_alone_is_whole(ledger: Ledger) -> None:
    delivery = make_delivery()
    ledger.witness(Receipt(key=delivery.key, message_id="m-1"), delivery)
    (entry,) = ledger.find([delivery.key])
    assert (entry.identity, entry.email, entry.attempt) == (delivery.identity, delivery.message.to, 0)
    assert (entry.token, entry.claimed_by, entry.claimed_at) == (None, None, None)
    assert list(ledger.of_month("usage", "2030-01")) != []
    assert list(ledger.of_address(delivery.message.to)) != []


def test_a_second_message_id_is_a_measured_duplicate(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    key = claim.delivery.key
    for message_id in ("m-2", "m-1", "m-3", "m-2", "m-3"):
        ledger.witness(Receipt(key=key, message_id=message_id, evidence="event"))
    entry = look(ledger, claim)
    assert (entry.message_id, entry.duplicate_message_ids) == ("m-1", ("m-2", "m-3"))
    assert len(entry.history) == 4


def test_the_owners_own_receipt_after_the_event_is_no_duplicate(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENDING, "C-1")
    ledger.witness(Receipt(key=claim.delivery.key, message_id="m-1", evidence="event"))
    entry = ledger.conclude(claim.delivery.key, claim.token, SENT)
    assert entry
    assert (entry.state, entry.message_id, entry.duplicate_message_ids) == (State.SENT, "m-1", ())


def test_a_persons_word_and_then_the_proof(ledger: Ledger) -> None:
    claim = drive(ledger, State.IN_DOUBT, "C-1")
    said = ledger.decide(claim.delivery.key, decision(State.SENT))
    assert said
    assert (said.state, said.message_id) == (State.SENT, None)
    proved = ledger.witness(Receipt(key=claim.delivery.key, message_id="m-9", evidence="event"))
    assert proved
    assert (proved.message_id, proved.duplicate_message_ids, proved.sent_at) == ("m-9", (), said.sent_at)


def test_a_decision_is_written_with_its_author_and_reason(ledger: Ledger) -> None:
    for state in (State.SENT, State.RELEASED, State.CANCELLED):
        claim = drive(ledger, State.IN_DOUBT, f"C-{state}")
        entry = ledger.decide(claim.delivery.key, decision(state, claim.token))
        assert entry
        assert states_told(entry)[-1] == (state.value, "support", f"I looked: {state.value}")
        assert (entry.sent_at is not None) == (state is State.SENT)
        again = ledger.decide(claim.delivery.key, decision(state, claim.token))
        assert gist(again) == gist(entry)


def test_a_mail_in_doubt_is_released_only_once_its_claim_is_settled(ledger: Ledger) -> None:
    early = drive(ledger, State.IN_DOUBT, "C-1", Timing(window=ZERO, settle=timedelta(minutes=1)))
    entry = ledger.decide(early.delivery.key, decision(State.RELEASED, early.token))
    assert entry
    assert entry.state is State.IN_DOUBT
    assert entry.overdue
    assert not entry.settled
    late = drive(ledger, State.IN_DOUBT, "C-2", SETTLED_AT_ONCE)
    entry = ledger.decide(late.delivery.key, decision(State.RELEASED, late.token))
    assert entry
    assert entry.state is State.RELEASED
    assert entry.token is None


def test_to_cancel_and_release_is_no_way_round(ledger: Ledger) -> None:
    claim = drive(ledger, State.IN_DOUBT, "C-1", Timing(window=ZERO, settle=timedelta(minutes=1)))
    ledger.decide(claim.delivery.key, decision(State.CANCELLED))
    entry = ledger.decide(claim.delivery.key, decision(State.RELEASED))
    assert entry
    assert entry.state is State.CANCELLED


def test_a_decision_about_another_claim_changes_nothing(ledger: Ledger) -> None:
    claim = drive(ledger, State.IN_DOUBT, "C-1")
    before = look(ledger, claim)
    for state in (State.SENT, State.RELEASED, State.CANCELLED):
        assert gist(ledger.decide(claim.delivery.key, decision(state, STRANGER))) == gist(before)
    assert ledger.decide(make_delivery("unknown").key, decision(State.SENT)) is None


def operations() -> Mapping[str, Callable[[Ledger, Claim], object]]:
    """Every call that changes a row, by name; each is tried on a row in each state."""
    found: dict[str, Callable[[Ledger, Claim], object]] = {
        "claim": lambda ledger, claim: ledger.claim(make_claim(claim.delivery)),
        "repeated claim": lambda ledger, claim: ledger.claim(claim),
        "witness": lambda ledger, claim: ledger.witness(
            Receipt(key=claim.delivery.key, message_id="m-7"), claim.delivery
        ),
        "observe": lambda ledger, claim: ledger.observe(make_event(claim, EventKind.BOUNCE, "m-7", known=True)),
    }
    for one in (SENT, RELEASED, REJECTED, IN_DOUBT):
        found[f"owner concludes {one.state.value}"] = lambda ledger, claim, one=one: ledger.conclude(
            claim.delivery.key, claim.token, one
        )
        found[f"stranger concludes {one.state.value}"] = lambda ledger, claim, one=one: ledger.conclude(
            claim.delivery.key, STRANGER, one
        )
    for state in (State.SENT, State.RELEASED, State.CANCELLED):
        found[f"person decides {state.value}"] = lambda ledger, claim, state=state: ledger.decide(
            claim.delivery.key, decision(state)
        )
    return found


def test_every_allowed_move_is_possible_and_no_other(ledger: Ledger) -> None:
    moves: dict[State | None, set[State]] = {before: set() for before in ALLOWED}
    for before in ALLOWED:
        for name, operation in operations().items():
            claim = drive(ledger, before, f"{before}, {name}")
            operation(ledger, claim)
            after = next((entry.state for entry in ledger.find([claim.delivery.key])), None)
            if after is not before:
                assert after is not None, f"{name} removed the row"
                assert not name.startswith("stranger"), f"{name} moved {before} to {after}"
                moves[before].add(after)
    assert moves == {before: set(after) for before, after in ALLOWED.items()}


@pytest.mark.parametrize("state", [State.SENT, State.REJECTED, State.CANCELLED], ids=lambda state: state.value)
def test_an_expired_row_is_as_good_as_none(ledger: Ledger, state: State) -> None:
    timing = Timing(window=ZERO, settle=ZERO, retention=ZERO)
    claim = make_claim(make_delivery(), timing=timing, by="long ago")
    key = claim.delivery.key
    ledger.claim(claim)
    ends = {State.SENT: SENT, State.REJECTED: REJECTED}
    ledger.conclude(key, claim.token, ends.get(state, IN_DOUBT))
    if state is State.CANCELLED:
        ledger.decide(key, decision(State.CANCELLED))
    assert list(ledger.find([key])) == []
    assert list(ledger.of_month("usage", "2030-01")) == []
    assert list(ledger.of_address(claim.delivery.message.to)) == []
    # Another month may share the key, where the key recipe leaves the period out.
    other = make_delivery(period="2030-02")
    again = make_claim(replace(other, key=key), by="today")
    entry = ledger.claim(again)
    assert (entry.state, entry.token, entry.attempt) == (State.SENDING, again.token, 1)
    assert (entry.message_id, entry.error, entry.sent_at) == (None, None, None)
    assert states_told(entry) == [("SENDING", "today", None)]
    assert [row.key for row in ledger.of_month("usage", "2030-02")] == [key]


def test_a_repeated_receipt_finds_its_row_though_it_has_expired(ledger: Ledger) -> None:
    claim = drive_forgotten(ledger)
    again = ledger.conclude(claim.delivery.key, claim.token, SENT)
    assert again
    assert again.message_id == "m-1"
    proved = ledger.witness(Receipt(key=claim.delivery.key, message_id="m-1"), claim.delivery)
    assert proved.message_id == "m-1"


def drive_forgotten(ledger: Ledger) -> Claim:
    claim = make_claim(make_delivery(), timing=FORGOTTEN_AT_ONCE)
    ledger.claim(claim)
    ledger.conclude(claim.delivery.key, claim.token, SENT)
    return claim


def test_proof_makes_an_expired_refusal_a_lasting_fact(ledger: Ledger) -> None:
    """The row of a mail that was refused, and then turned out to be sent, is kept from the proof on."""
    claim = make_claim(make_delivery(), timing=Timing(retention=timedelta(seconds=2)))
    ledger.claim(claim)
    ledger.conclude(claim.delivery.key, claim.token, REJECTED)
    ledger.witness(Receipt(key=claim.delivery.key, message_id="m-1", evidence="event"))
    assert look(ledger, claim).state is State.SENT


def test_what_is_not_finished_never_expires(ledger: Ledger) -> None:
    for state in (State.SENDING, State.RELEASED, State.IN_DOUBT):
        drive(ledger, state, f"C-{state}", Timing(window=ZERO, settle=ZERO, retention=timedelta(seconds=-1)))
    assert len(list(ledger.of_month("usage", "2030-01"))) == 3


def test_retention_keeps_a_row_as_long_as_it_says(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENT, "C-1", Timing(retention=timedelta(days=400)))
    assert look(ledger, claim).state is State.SENT
    assert ledger.claim(make_claim(claim.delivery)).state is State.SENT


def test_find_takes_any_number_of_keys(ledger: Ledger) -> None:
    claims = [make_claim(make_delivery(f"C-{number}")) for number in range(130)]
    for claim in claims:
        ledger.claim(claim)
    keys = [claim.delivery.key for claim in claims]
    strangers = [make_delivery(f"X-{number}").key for number in range(130)]
    asked = (key for pair in zip(keys, keys, strangers, strict=True) for key in pair)
    assert {entry.key for entry in ledger.find(asked)} == set(keys)
    assert [entry.key for entry in ledger.find([keys[0], keys[0]])] == keys[:1]
    assert list(ledger.find([])) == []


def test_a_month_is_streamed_in_the_order_of_its_recipients(ledger: Ledger) -> None:
    for number in range(120):
        ledger.claim(make_claim(make_delivery(f"C-{number:03}", email=f"box{number % 3}@example.org")))
    for campaign, period in (("usage", "2030-02"), ("usage-2", "2030-01"), ("usag", "2030-01")):
        ledger.claim(make_claim(make_delivery("C-001", campaign=campaign, period=period)))
    rows = ledger.of_month("usage", "2030-01")
    first = next(rows)
    # A row may be changed, and others asked for, while the rest still comes.
    assert first.token
    ledger.conclude(first.key, first.token, SENT)
    assert [entry.key for entry in ledger.find([first.key])] == [first.key]
    ids = [first.identity.recipient_id, *(entry.identity.recipient_id for entry in rows)]
    assert ids == [f"C-{number:03}" for number in range(120)]
    assert list(ledger.of_month("usage", "1999-12")) == []


def test_one_address_newest_first_across_months_and_campaigns(ledger: Ledger) -> None:
    address = "shared@example.org"
    periods = ["2030-03", "2030-01", "2030-02"]
    claims = [make_claim(make_delivery(email=address, period=period)) for period in periods]
    for claim in claims:
        ledger.claim(claim)
    ledger.claim(make_claim(make_delivery("other")))
    forgotten = make_delivery("proof alone", email=address)
    ledger.witness(Receipt(key=forgotten.key, message_id="m-1"), forgotten)
    found = [entry.key for entry in ledger.of_address(address)]
    assert found == [*(claim.delivery.key for claim in reversed(claims)), forgotten.key]
    assert list(ledger.of_address("nobody@example.org")) == []


def test_the_table_is_made_on_first_use_or_on_request(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    assert list(ledger.find([make_delivery().key])) == []
    assert make_ledger().prepare() is False
    assert make_ledger().claim(make_claim(make_delivery())).state is State.SENDING


def test_an_examination_finds_nothing_wrong_and_changes_nothing(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    for _ in range(2):
        findings = list(ledger.examine())
        assert findings
        assert [str(finding) for finding in findings if finding.severity is Severity.ERROR] == []
        assert all(finding.check and finding.found for finding in findings)
    in_memory = isinstance(getattr(ledger, "_ledger", ledger), MemoryLedger)
    assert ledger.prepare() is not in_memory, "the examination made the table"
    drive(ledger, State.SENT, "C-1")
    assert [str(finding) for finding in ledger.examine() if finding.severity is Severity.ERROR] == []


def test_long_values_come_back_whole(ledger: Ledger) -> None:
    delivery = make_delivery("é" * 256, edition="e" * 256, campaign="c" * 256, period="p" * 256)
    claim = make_claim(delivery, by="b" * 1000)
    ledger.claim(claim)
    entry = ledger.conclude(delivery.key, claim.token, Conclusion(state=State.IN_DOUBT, error="ö" * 5000))
    assert entry
    assert entry.error == "ö" * 1000
    assert entry.identity == delivery.identity
    assert [row.key for row in ledger.of_month("c" * 256, "p" * 256)] == [delivery.key]
