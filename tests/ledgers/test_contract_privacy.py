"""What leaves every ledger again, what stays of it, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from mailonce.certificate import facts_of
from mailonce.delivery import Conclusion, Entry
from mailonce.events import EventKind
from mailonce.ledgers.base import Ledger
from mailonce.privacy.erasure import Erasure, erasure_of
from mailonce.privacy.purges import Purge
from mailonce.states import State
from mailonce.suppression import Suppression
from tests.fakes import make_claim, make_delivery
from tests.ledgers.conftest import MakeLedger
from tests.ledgers.tools import FORGOTTEN_AT_ONCE, NOON, decision, drive, look, make_event

MONTH = ("usage", "2030-01")
PSEUDONYM = "hmac-sha256:" + "0f" * 32
WHO = {"by": "ann", "reason": "art. 17, ticket 7"}


def work_out(entry: Entry, pseudonym: str = PSEUDONYM) -> Erasure:
    erasure = erasure_of(entry, pseudonym, **WHO)
    assert erasure
    return erasure


def purge_of(edition: str = "original", **changes: str) -> Purge:
    told = {"campaign": MONTH[0], "period": MONTH[1], "edition": edition, "by": "ann", "reason": "retention"}
    return Purge(**{**told, **changes})


def test_an_erased_row_keeps_the_proof_and_no_address(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    address = claim.delivery.message.to
    bounce = make_event(claim, EventKind.BOUNCE, detail=f"550 <{address}>: user unknown")
    ledger.observe(bounce)
    before = look(ledger, claim)
    assert ledger.privacy.erase(work_out(before)) is True
    after = look(ledger, claim)
    assert address not in str(vars(after))
    assert (after.email, after.fate_detail, after.fingerprint) == (PSEUDONYM, "550 <(address)>: user unknown", "")
    assert after.history[-1]["state"] == "ERASED"
    assert (after.history[-1]["by"], after.history[-1]["note"]) == ("ann", "art. 17, ticket 7")
    assert [line["by"] for line in after.history[:-1]] == [line["by"] for line in before.history]
    for kept in ("key", "identity", "state", "message_id", "sent_at", "claimed_at", "fate", "fate_at", "event_ids"):
        assert getattr(after, kept) == getattr(before, kept), kept
    assert facts_of(after) == facts_of(before), "a certificate says the same"


def test_an_erased_row_is_found_by_the_pseudonym_alone(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    address = claim.delivery.message.to
    ledger.privacy.erase(work_out(look(ledger, claim)))
    assert [entry.key for entry in ledger.of_address(PSEUDONYM)] == [claim.delivery.key]
    assert list(ledger.of_address(address)) == []
    assert [entry.key for entry in ledger.of_month(*MONTH)] == [claim.delivery.key]


@pytest.mark.parametrize("state", [State.REJECTED, State.CANCELLED])
def test_what_else_is_finished_is_erased_too(ledger: Ledger, state: State) -> None:
    claim = make_claim(make_delivery())
    ledger.claim(claim)
    error = f"no mailbox {claim.delivery.message.to} here"
    ledger.conclude(claim.delivery.key, claim.token, Conclusion(state=State.REJECTED, error=error))
    if state is State.CANCELLED:
        ledger.decide(claim.delivery.key, decision(State.CANCELLED))
    assert ledger.privacy.erase(work_out(look(ledger, claim))) is True
    after = look(ledger, claim)
    assert (after.state, after.error) == (state, "no mailbox (address) here")
    assert claim.delivery.message.to not in str(after.history)


@pytest.mark.parametrize("state", [State.SENDING, State.IN_DOUBT, State.RELEASED])
def test_what_is_not_finished_is_not_erased(ledger: Ledger, state: State) -> None:
    claim = drive(ledger, state, "C-1")
    before = look(ledger, claim)
    assert ledger.privacy.erase(work_out(before)) is False
    assert replace(look(ledger, claim), read_at=before.read_at) == before


def test_what_was_written_since_it_was_read_is_not_lost(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    stale = work_out(look(ledger, claim))
    ledger.observe(make_event(claim, EventKind.DELIVERY))
    assert ledger.privacy.erase(stale) is False
    assert ledger.privacy.erase(work_out(look(ledger, claim))) is True
    assert [line["by"] for line in look(ledger, claim).history][-2:] == ["event Delivery", "ann"]


def test_an_erasure_is_made_once_however_often_it_is_tried(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    claim = drive(ledger, State.SENT, "C-1")
    erasure = work_out(look(ledger, claim))
    assert ledger.privacy.erase(erasure) is make_ledger().privacy.erase(erasure) is True
    erased = look(ledger, claim)
    assert erasure_of(erased, PSEUDONYM, **WHO) is None, "there is nothing left to erase"
    assert ledger.privacy.erase(replace(erasure, key="0" * 64)) is False


def test_an_event_that_comes_late_brings_no_address_back(ledger: Ledger) -> None:
    claim = drive(ledger, State.SENT, "C-1")
    ledger.privacy.erase(work_out(look(ledger, claim)))
    after = ledger.observe(make_event(claim, EventKind.COMPLAINT, known=True))
    assert after
    assert after.email == PSEUDONYM
    assert claim.delivery.message.to not in str(vars(after))


def test_what_is_known_of_a_suppressed_address_is_forgotten(ledger: Ledger) -> None:
    for address in ("ann@example.org", "bob@example.org"):
        ledger.suppressions.add(Suppression(address=address, reason="bounce", since=NOON, by="event Bounce"))
    ledger.suppressions.lift("bob@example.org", by="support", reason="mended")
    for address in ("Ann@example.org", "bob@example.org"):
        assert ledger.privacy.forget_suppression(address) is True
        assert ledger.privacy.forget_suppression(address) is False
    assert list(ledger.suppressions.all()) == []


def test_a_mark_keeps_its_first_words_until_it_is_taken_away(make_ledger: MakeLedger) -> None:
    privacy = make_ledger().privacy
    assert privacy.purged(*MONTH, "original") is None
    mark = privacy.mark(purge_of())
    assert mark.at
    assert abs(mark.at - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert privacy.mark(purge_of(by="bob", reason="again")) == mark
    assert make_ledger().privacy.purged(*MONTH, "original") == mark
    assert privacy.purged(*MONTH, "corrected") is None
    assert privacy.reopen(*MONTH, "original", by="ann", reason="restored from the archive") == mark
    assert privacy.reopen(*MONTH, "original", by="ann", reason="once more") is None
    assert privacy.purged(*MONTH, "original") is None
    assert privacy.mark(purge_of(by="bob", reason="again")).by == "bob"


def test_marks_are_listed_in_order(ledger: Ledger) -> None:
    marks = [
        ledger.privacy.mark(purge_of("corrected", period="2030-02")),
        ledger.privacy.mark(purge_of("original", period="2030-02")),
        ledger.privacy.mark(purge_of("original", campaign="welcome")),
    ]
    ledger.privacy.mark(purge_of("reopened"))
    ledger.privacy.reopen(*MONTH, "reopened", by="ann", reason="a mistake")
    assert list(ledger.privacy.purges()) == marks


def empty(ledger: Ledger, *, unsettled: bool = False) -> int:
    deleted = 0
    while some := ledger.privacy.purge(*MONTH, unsettled=unsettled):
        deleted += some
    return deleted


def test_a_month_is_deleted_and_no_other(ledger: Ledger) -> None:
    for number in range(5):
        drive(ledger, State.SENT, f"C-{number}")
    for state in (State.REJECTED, State.RELEASED, State.CANCELLED):
        drive(ledger, state, f"C-{state}")
    others = [make_claim(make_delivery(period="2030-02")), make_claim(make_delivery(campaign="welcome"))]
    for other in others:
        ledger.claim(other)
        ledger.conclude(other.delivery.key, other.token, Conclusion(state=State.SENT, message_id="m"))
    assert empty(ledger) == 8
    assert list(ledger.of_month(*MONTH)) == []
    assert {entry.key for entry in ledger.find(other.delivery.key for other in others)} == {
        other.delivery.key for other in others
    }


def test_who_may_still_be_sending_is_deleted_only_when_that_is_asked_and_settled(ledger: Ledger) -> None:
    settled = [drive(ledger, state, f"C-{state}") for state in (State.SENDING, State.IN_DOUBT)]
    fresh = make_claim(make_delivery("C-fresh"))
    ledger.claim(fresh)
    assert empty(ledger) == 0
    assert empty(ledger, unsettled=True) == len(settled)
    assert [entry.key for entry in ledger.of_month(*MONTH)] == [fresh.delivery.key]


def test_what_has_expired_is_deleted_and_nothing_else(ledger: Ledger) -> None:
    for number in range(3):
        claim = make_claim(make_delivery(f"C-{number}"), timing=FORGOTTEN_AT_ONCE)
        ledger.claim(claim)
        ledger.conclude(claim.delivery.key, claim.token, Conclusion(state=State.SENT, message_id="m"))
    kept = drive(ledger, State.SENT, "C-kept")
    ledger.suppressions.add(Suppression(address="ann@example.org", reason="bounce", since=NOON, by="event Bounce"))
    assert ledger.privacy.purge_expired() == 3
    assert ledger.privacy.purge_expired() == 0
    assert look(ledger, kept).state is State.SENT
    assert len(list(ledger.suppressions.all())) == 1
