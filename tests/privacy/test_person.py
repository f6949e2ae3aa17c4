"""Who a recipient id or an address stands for, and erasing them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from mailonce.delivery import Conclusion, Decision, Delivery
from mailonce.errors import InvalidInput
from mailonce.events import EventKind
from mailonce.ledgers.base import Ledger
from mailonce.privacy.erasure import address_shown
from mailonce.privacy.person import deliveries_to, erase_person, find_person
from mailonce.privacy.pseudonyms import KEY_CHECK, Pseudonyms
from mailonce.states import State
from mailonce.suppression import Suppression
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery
from tests.ledgers.tools import make_event

KEYS = Pseudonyms(b"0123456789abcdef0123456789abcdef")
ANN = "ann@example.com"
WHO = {"by": "support", "reason": "asked for by ann@example.com"}


@pytest.fixture
def ledger() -> MemoryLedger:
    made = MemoryLedger()
    send(made, make_delivery("C-1", email=ANN))
    send(made, make_delivery("C-1", email="Ann@Example.com", period="2030-02"))
    send(made, make_delivery("C-1", email="new@example.com", period="2030-03"))
    send(made, make_delivery("C-2", email="bob@example.com"))
    return made


def send(ledger: Ledger, delivery: Delivery, state: State = State.SENT) -> None:
    claim = make_claim(delivery)
    ledger.claim(claim)
    told = {"message_id": "m-1"} if state is State.SENT else {"error": f"no mailbox {delivery.message.to}"}
    ledger.conclude(delivery.key, claim.token, Conclusion(state=state, **told))


def suppress(ledger: Ledger, address: str = ANN) -> None:
    since = datetime(2030, 1, 2, tzinfo=timezone.utc)
    ledger.suppressions.add(Suppression(address=address, reason=f"complaint of {address}", since=since, by="event"))


def test_an_address_stands_for_its_deliveries_however_it_is_spelled(ledger: MemoryLedger) -> None:
    person = find_person(ledger, " ANN@example.com", KEYS)
    assert {entry.identity.period for entry in person.entries} == {"2030-01", "2030-02"}
    assert [entry.identity.period for entry in person.elsewhere] == ["2030-03"]
    assert person.recipient_ids == ["C-1"]


def test_a_recipient_id_stands_for_all_addresses(ledger: MemoryLedger) -> None:
    suppress(ledger, "new@example.com")
    person = find_person(ledger, "C-1", None)
    assert len(person.entries) == 3
    assert person.elsewhere == ()
    assert person.addresses == {ANN, "new@example.com"}
    assert [one.address for one in person.suppressions] == ["new@example.com"]
    assert find_person(ledger, "C-1", None, campaign="other").entries == ()
    assert find_person(ledger, "C-9", None).entries == ()


def test_nothing_of_the_address_is_left_and_whoever_has_the_key_finds_the_proof(ledger: MemoryLedger) -> None:
    erased, _ = erase_person(ledger, find_person(ledger, ANN, KEYS), KEYS, **WHO)
    assert len(erased) == 2
    left = [*ledger.of_month("usage", "2030-01"), *ledger.of_month("usage", "2030-02")]
    assert ANN not in str([vars(entry) for entry in left if entry.identity.recipient_id == "C-1"]).lower()
    again = deliveries_to(ledger, ANN, KEYS)
    assert set(again) == {entry.key for entry in erased}
    assert {entry.message_id for entry in again.values()} == {"m-1"}
    assert deliveries_to(ledger, ANN, None) == {}
    assert address_shown(erased[0]).startswith("erased on 20")
    assert {entry.email for entry in ledger.browser.of_recipient("C-2")} == {"bob@example.com"}


def test_done_again_it_changes_nothing_and_hides_what_came_since(ledger: MemoryLedger) -> None:
    for _ in range(2):
        erased, _ = erase_person(ledger, find_person(ledger, "C-1", KEYS), KEYS, **WHO)
        assert [line["state"] for line in erased[0].history].count("ERASED") == 1
    claim = make_claim(make_delivery("C-1", email=ANN))
    ledger.observe(make_event(claim, EventKind.BOUNCE, detail="forwarded to ann@elsewhere.example, unknown"))
    erase_person(ledger, find_person(ledger, "C-1", KEYS), KEYS, **WHO)
    (entry,) = ledger.find([claim.delivery.key])
    assert entry.fate_detail == "forwarded to (address), unknown"


def test_who_is_suppressed_stays_so_under_the_hash(ledger: MemoryLedger) -> None:
    suppress(ledger)
    _, kept = erase_person(ledger, find_person(ledger, ANN, KEYS), KEYS, **WHO)
    assert kept == [KEYS.of(ANN)]
    assert list(ledger.suppressions.of([ANN])) == []
    (held,) = ledger.suppressions.of([KEYS.of(ANN)])
    assert (held.reason, held.by) == ("complaint of (address)", "event")
    assert [one.address for one in find_person(ledger, ANN, KEYS).suppressions] == [KEYS.of(ANN)]


def test_a_suppression_without_any_delivery_is_erased_too() -> None:
    ledger = MemoryLedger()
    suppress(ledger)
    erase_person(ledger, find_person(ledger, ANN, KEYS), KEYS, **WHO)
    assert {one.address for one in ledger.suppressions.all()} == {KEY_CHECK, KEYS.of(ANN)}


@pytest.mark.parametrize("state", [State.SENDING, State.IN_DOUBT, State.RELEASED])
def test_what_is_not_finished_is_refused_before_anything_is_erased(ledger: MemoryLedger, state: State) -> None:
    open_one = make_delivery("C-1", email=ANN, period="2030-04")
    ledger.claim(make_claim(open_one)) if state is State.SENDING else send(ledger, open_one, state)
    person = find_person(ledger, ANN, KEYS)
    assert [entry.state for entry in person.unfinished] == [state]
    with pytest.raises(InvalidInput, match=f"is {state.value}, and so not finished") as refused:
        erase_person(ledger, person, KEYS, **WHO)
    assert f"mailonce resolve {open_one.key}" in str(refused.value)
    assert len(deliveries_to(ledger, ANN, None)) == 2
    if state is not State.SENDING:
        ledger.decide(open_one.key, Decision(state=State.CANCELLED, by="support", reason="the account was closed"))
        erase_person(ledger, find_person(ledger, ANN, KEYS), KEYS, **WHO)
        assert deliveries_to(ledger, ANN, None) == {}


def test_another_key_than_before_erases_nobody(ledger: MemoryLedger) -> None:
    erase_person(ledger, find_person(ledger, "C-2", KEYS), KEYS, **WHO)
    other = Pseudonyms(b"f" * 32)
    with pytest.raises(InvalidInput, match="another key"):
        erase_person(ledger, find_person(ledger, ANN, other), other, **WHO)
    assert len(deliveries_to(ledger, ANN, None)) == 1
