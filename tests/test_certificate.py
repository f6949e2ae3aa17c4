from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.canonical import canonical
from mailonce.certificate import CertificateBroken, Head, certify, facts_of, verified
from mailonce.delivery import Conclusion, Decision, Entry, Receipt
from mailonce.events import Event, EventKind
from mailonce.merkle import Tree
from mailonce.states import State
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery

HEAD = Head(
    campaign="usage", period="2030-01", ledger={"epoch": "e-1"}, version="0.1.0", at="2030-02-01T09:00:00+00:00"
)
NOON = datetime(2030, 2, 1, 12, tzinfo=timezone.utc)


def brought_to(state: State, recipient_id: str = "C-1", ledger: MemoryLedger | None = None) -> Entry:
    ledger = ledger or MemoryLedger()
    delivery = make_delivery(recipient_id)
    claim = make_claim(delivery)
    ledger.claim(claim)
    if state is State.SENT:
        ledger.conclude(delivery.key, claim.token, Conclusion(state=state, message_id=f"m-{recipient_id}"))
    elif state is State.CANCELLED:
        ledger.conclude(delivery.key, claim.token, Conclusion(state=State.REJECTED, error="x"))
        ledger.decide(delivery.key, Decision(state=state, by="ann", reason="the account of ann@example.com was closed"))
    elif state is not State.SENDING:
        ledger.conclude(delivery.key, claim.token, Conclusion(state=state, error="ann@example.com: no such user"))
    return row(ledger, recipient_id)


def row(ledger: MemoryLedger, recipient_id: str = "C-1") -> Entry:
    (entry,) = ledger.find([make_delivery(recipient_id).key])
    return entry


def event(kind: EventKind, message_id: str = "m-C-1", **facts: Any) -> Event:
    return Event(kind=kind, key=make_delivery().key, message_id=message_id, at=NOON, address="ann@example.com", **facts)


ENTRIES = st.lists(
    st.builds(
        lambda state, number, fate: replace(brought_to(state, f"Ü-{number}"), fate=fate),
        st.sampled_from(State),
        st.integers(0, 9),
        st.just(None),
    ),
    max_size=6,
)


def written(entries: list[Entry]) -> bytes:
    file = io.BytesIO()
    certify(HEAD, iter(entries), file.write)
    return file.getvalue()


def checked(text: bytes) -> Any:
    return verified(io.BytesIO(text))


@given(ENTRIES)
def test_a_certificate_that_nobody_touched_holds(entries: list[Entry]) -> None:
    told: list[Any] = []
    file = io.BytesIO()
    seal = certify(HEAD, iter(entries), file.write)
    head, found = verified(io.BytesIO(file.getvalue()), each=told.append)
    assert (head, found) == (HEAD, seal)
    assert told == [json.loads(canonical(facts_of(entry))) for entry in entries]
    assert seal.counts["messages"] == sum(facts["messages"] for facts in told)


@given(ENTRIES)
def test_the_root_is_that_of_all_lines_at_once(entries: list[Entry]) -> None:
    lines = written(entries).splitlines(keepends=True)
    tree = Tree()
    for line in lines[:-1]:
        tree.add(line)
    assert json.loads(lines[-1])["root"] == tree.root()


@given(ENTRIES, st.data())
def test_every_change_of_every_line_is_found(entries: list[Entry], data: st.DataObject) -> None:
    text = written(entries)
    at = data.draw(st.integers(0, len(text) - 1))
    change = data.draw(st.sampled_from(["alter", "remove", "insert"]))
    other = bytes([data.draw(st.integers(0, 255).filter(lambda value: value != text[at]))])
    touched = {
        "alter": text[:at] + other + text[at + 1 :],
        "remove": text[:at] + text[at + 1 :],
        "insert": text[:at] + other + text[at:],
    }[change]
    with pytest.raises(CertificateBroken):
        checked(touched)


@given(ENTRIES.filter(lambda entries: len(entries) > 1), st.data())
def test_lines_cannot_be_left_out_repeated_exchanged_or_added(entries: list[Entry], data: st.DataObject) -> None:
    lines = written(entries).splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    other = data.draw(st.integers(0, len(lines) - 1))
    exchanged = list(lines)
    exchanged[at], exchanged[other] = exchanged[other], exchanged[at]
    changes = [lines[:at] + lines[at + 1 :], lines[: at + 1] + lines[at:], lines[:at], [*lines, b"\n"]]
    for changed in [*changes, *([exchanged] if exchanged != lines else [])]:
        with pytest.raises(CertificateBroken):
            checked(b"".join(changed))


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"{}\n", b"[]\n", b"not json", b"\xff\xfe", b'{"mailonce": "certificate"}\n', b"[" * 100_000,
     b'{"mailonce": "certificate", "format": 2}\n'],
)  # fmt: skip
def test_what_is_no_certificate_is_refused(text: bytes) -> None:
    with pytest.raises(CertificateBroken):
        checked(text)


def test_a_text_that_cannot_be_written_does_not_get_past() -> None:
    lines = written([brought_to(State.SENT)]).splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"state":"SENT"', b'"state":"\\ud800"')
    with pytest.raises(CertificateBroken):
        checked(b"".join(lines))


class TestLine:
    @pytest.mark.parametrize("state", sorted(set(State) - {State.SENT}))
    def test_whoever_has_no_mail_is_an_exception(self, state: State) -> None:
        facts = facts_of(brought_to(state))
        assert (facts["state"], facts["messages"], facts["exceptions"]) == (state.value, 0, [state.value])

    def test_sent_once_by_the_providers_answer(self) -> None:
        facts = facts_of(brought_to(State.SENT))
        assert (facts["messages"], facts["message_ids"]) == (1, ["m-C-1"])
        assert (facts["evidence"], facts["exceptions"]) == (["answer"], [])

    def test_no_address_and_nobodys_words(self) -> None:
        for state in State:
            assert b"ann@example.com" not in canonical(facts_of(brought_to(state)))
            assert b"example.org" not in canonical(facts_of(brought_to(state)))

    def test_an_event_is_evidence_beside_the_answer(self) -> None:
        ledger = MemoryLedger()
        brought_to(State.SENT, ledger=ledger)
        ledger.observe(event(EventKind.DELIVERY))
        facts = facts_of(row(ledger))
        assert (facts["evidence"], facts["fate"], facts["exceptions"]) == (["answer", "event"], "DELIVERED", [])

    def test_a_bounce_is_an_exception(self) -> None:
        ledger = MemoryLedger()
        brought_to(State.SENT, ledger=ledger)
        ledger.observe(event(EventKind.BOUNCE, detail="ann@example.com: unknown"))
        assert facts_of(row(ledger))["exceptions"] == ["BOUNCED"]

    @pytest.mark.parametrize("evidence", ["kept receipt", "journal"])
    def test_a_receipt_that_was_made_good_later(self, evidence: str) -> None:
        ledger = MemoryLedger()
        brought_to(State.IN_DOUBT, ledger=ledger)
        ledger.witness(Receipt(key=make_delivery().key, message_id="m-1", evidence=evidence))
        assert facts_of(row(ledger))["evidence"] == [evidence]

    def test_a_duplicate(self) -> None:
        ledger = MemoryLedger()
        brought_to(State.SENT, ledger=ledger)
        ledger.witness(Receipt(key=make_delivery().key, message_id="a-2", evidence="event Send"))
        facts = facts_of(row(ledger))
        assert (facts["messages"], facts["message_ids"]) == (2, ["a-2", "m-C-1"])
        assert (facts["evidence"], facts["exceptions"]) == (["answer", "event"], ["duplicate"])

    def test_sent_as_a_person_says(self) -> None:
        ledger = MemoryLedger()
        brought_to(State.IN_DOUBT, ledger=ledger)
        ledger.decide(make_delivery().key, Decision(state=State.SENT, by="ann", reason="the customer has it"))
        facts = facts_of(row(ledger))
        assert (facts["messages"], facts["evidence"]) == (0, ["person"])
        assert facts["exceptions"] == ["sent as a person says"]
