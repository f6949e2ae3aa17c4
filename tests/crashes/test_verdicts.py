"""The judge: what it lets pass, and each way in which the promise can be broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mailonce.crashes.points import Case, CrashPoint, End, Machine, Next, Treatment
from mailonce.crashes.verdicts import Facts, judge
from mailonce.delivery import Conclusion, Entry
from mailonce.states import State
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery

DELIVERY = make_delivery()
WIRE = Case(CrashPoint.ON_THE_WIRE, Treatment.ACCEPT_SILENTLY, Next.RETRIED, Machine.ANOTHER)
CLAIMED = Case(CrashPoint.CLAIMED, Treatment.NOT_ASKED, Next.RETRIED, Machine.SAME)
RECORDED = Case(CrashPoint.RECORDED, Treatment.ACCEPT, Next.RETRIED, Machine.SAME)


def row(state: State, message_id: str | None = None, error: str | None = None, **more: Any) -> Entry:
    ledger = MemoryLedger()
    claim = make_claim(DELIVERY)
    entry = ledger.claim(claim)
    if state is not State.SENDING:
        conclusion = Conclusion(state=state, message_id=message_id, error=error)
        entry = ledger.conclude(DELIVERY.key, claim.token, conclusion)
    return replace(entry, **more)


def facts(outcomes: list[str], entry: Entry | None, *mails: str, details: list[str] | None = None) -> Facts:
    errors = {"InFlight", "InDoubt", "Rejected"}
    given = details or [f"{one} said so" if one in errors else "" for one in outcomes]
    return Facts(outcomes=outcomes, details=given, mails=mails, entry=entry)


HELD = row(State.IN_DOUBT, error="no answer")


@pytest.mark.parametrize(
    ("case", "seen", "end"),
    [
        (WIRE, facts(["InFlight", "InDoubt", "InDoubt"], HELD, "m-1"), End.HELD),
        (CLAIMED, facts(["SENT", "ALREADY_SENT"], row(State.SENT, "m-1"), "m-1"), End.SENT_NEXT),
        (RECORDED, facts(["ALREADY_SENT", "ALREADY_SENT"], row(State.SENT, "m-1"), "m-1"), End.SENT_BEFORE),
    ],
)
def test_what_is_as_promised_passes(case: Case, seen: Facts, end: End) -> None:
    verdict = judge(case, seen)
    assert verdict.ok, verdict.sentence
    assert verdict.end is end
    assert verdict.sentence.endswith((", 1 mail.", ", 1 mails."))


@pytest.mark.parametrize(
    ("case", "seen", "said"),
    [
        (WIRE, facts(["SENT", "ALREADY_SENT"], row(State.SENT, "m-2"), "m-1", "m-2"), "2 mails for one key"),
        (CLAIMED, facts(["SENT", "SENT"], None, "m-1"), "no row"),
        (CLAIMED, facts(["ALREADY_SENT", "ALREADY_SENT"], row(State.SENT, "m-1")), "it is lost"),
        (RECORDED, facts(["ALREADY_SENT"] * 2, row(State.SENT, "m-9"), "m-1"), "the provider has m-1"),
        (CLAIMED, facts(["Throttled"] * 2, row(State.RELEASED, error="x")), "left RELEASED"),
        (CLAIMED, facts(["InFlight"] * 2, row(State.SENDING)), "left SENDING"),
        (WIRE, facts(["InDoubt"] * 2, row(State.IN_DOUBT), "m-1"), "without a word"),
        (WIRE, facts(["InDoubt"] * 2, HELD, "m-1", details=["", ""]), "no error was raised"),
        (RECORDED, facts(["ALREADY_SENT"] * 2, row(State.SENT, "m-1", duplicate_message_ids=("m-2",)), "m-1"), "duplicates"),
        (CLAIMED, facts(["InDoubt"] * 2, HELD), "The end should be: sent by the next try. It is: held, by name."),
        (WIRE, facts(["Fault"] * 2, HELD, "m-1", details=["oh", "oh"]), "the tries said Fault, Fault"),
        (RECORDED, facts(["CONTENT_CHANGED"] * 2, row(State.SENT, "m-1"), "m-1"), "The end should be"),
    ],
)  # fmt: skip
def test_what_breaks_the_promise_is_said(case: Case, seen: Facts, said: str) -> None:
    verdict = judge(case, seen)
    assert not verdict.ok
    assert said in verdict.sentence
    assert "WRONG" in verdict.sentence
