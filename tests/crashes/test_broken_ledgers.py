"""The matrix is worth something only if it finds out a ledger that breaks the promise."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from mailonce.crashes.matrix import Matrix
from mailonce.crashes.orders import LedgerMaker
from mailonce.crashes.points import Case, CrashPoint, Machine, Next, Treatment

# It is the matrix that is tested here: one real ledger under the broken ones is enough.
pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("mailonce_crash_ledger", ["postgres"], indirect=True)]

WIRE = Case(CrashPoint.ON_THE_WIRE, Treatment.ACCEPT_SILENTLY, Next.RETRIED, Machine.ANOTHER)
UNTAKEN = Case(CrashPoint.ON_THE_WIRE, Treatment.IGNORE, Next.CLEARED, Machine.SAME)
RECORDED = Case(CrashPoint.RECORDED, Treatment.ACCEPT, Next.CLEARED, Machine.ANOTHER)
EVENT = Case(CrashPoint.ON_THE_WIRE, Treatment.ACCEPT_SILENTLY, Next.EVENT_ARRIVES, Machine.SAME)


@pytest.mark.parametrize(
    ("kind", "case", "said"),
    [
        ("LeaseLedger", WIRE, "2 mails for one key"),
        ("ForgetfulLedger", RECORDED, "should be: already sent, and known to be. It is: held"),
        ("SilentLedger", UNTAKEN, "without a word"),
        ("HastyLedger", UNTAKEN, "it is lost"),
        ("DeafLedger", EVENT, "It is: held"),
    ],
)
def test_a_broken_ledger_is_found_out(mailonce_crash_ledger: LedgerMaker, kind: str, case: Case, said: str) -> None:
    maker = LedgerMaker(
        name="tests.crashes.broken:broken", arguments={"kind": kind, "maker": asdict(mailonce_crash_ledger)}
    )
    with Matrix(maker) as matrix:
        verdict = matrix.verdict(case)
    assert not verdict.ok
    assert said in verdict.sentence, verdict.sentence


def test_without_journals_the_same_machine_is_like_any_other(
    mailonce_crash_ledger: LedgerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailonce.crashes.matrix.boot_id", str)
    case = Case(CrashPoint.CLAIMED, Treatment.NOT_ASKED, Next.RETRIED, Machine.SAME)
    with Matrix(mailonce_crash_ledger) as matrix:
        verdict = matrix.verdict(case)
    assert "The end should be: held, by name. It is: sent by the next try." in verdict.sentence
    assert verdict.case == case


def test_a_ledger_that_cannot_be_opened_by_the_workers_is_a_verdict(mailonce_crash_ledger: LedgerMaker) -> None:
    maker = LedgerMaker(
        name="tests.crashes.broken:broken", arguments={"kind": "LeaseLedger", "maker": asdict(mailonce_crash_ledger)}
    )
    with Matrix(maker) as matrix:
        matrix._stage.maker.arguments["kind"] = "NoSuchLedger"
        verdict = matrix.verdict(RECORDED)
    assert not verdict.ok
    assert "NoSuchLedger" in verdict.sentence
