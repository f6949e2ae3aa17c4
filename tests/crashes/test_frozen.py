"""A worker that stands still (a paused container, a machine out of memory) and goes on when others have taken over."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from mailonce.crashes.orders import LedgerMaker
from mailonce.crashes.points import CrashPoint
from mailonce.crashes.workers import Workers
from mailonce.delivery import Decision, Entry
from mailonce.states import State
from sandbox.ses import SesStandIn
from tests.crashes.team import Team, wait_until

LONGEST_SIGNATURE = 2.0
"""Seconds for which the stand-in takes a signature, whose moment is cut to a second; Amazon SES: minutes."""

SETTLE = LONGEST_SIGNATURE + 0.1


@pytest.fixture
def team(workers: Workers, mailonce_crash_ledger: LedgerMaker, ses: SesStandIn, tmp_path: Path) -> Team:
    ses.settings.signature_max_age = LONGEST_SIGNATURE
    return Team(workers, mailonce_crash_ledger, ses.url, tmp_path)


@pytest.mark.parametrize("point", [CrashPoint.CLAIMED, CrashPoint.SIGNED], ids=lambda point: point.name.lower())
def test_a_frozen_worker_sends_nothing_once_its_deadline_has_passed(
    team: Team, ses: SesStandIn, point: CrashPoint
) -> None:
    frozen = team.freeze(point)
    assert team.work().outcome == "InDoubt"  # the deadline has passed: somebody else has taken notice
    frozen.tell(signal.SIGCONT)
    ended = frozen.wait()
    assert ended.outcome == "NeverLeft"
    assert "deadline passed" in ended.detail
    assert not ses.requests
    # Its own word that nothing left is proof: the doubt is over, and the next try sends.
    assert team.row().state is State.RELEASED
    assert team.work().outcome == "SENT"
    assert len(ses.mails) == 1


def test_a_frozen_worker_that_is_in_time_simply_goes_on(team: Team, ses: SesStandIn) -> None:
    frozen = team.freeze(CrashPoint.CLAIMED, window=60.0)
    assert team.start("other").wait().outcome == "InFlight"
    frozen.tell(signal.SIGCONT)
    assert frozen.wait().outcome == "SENT"
    assert team.work().outcome == "ALREADY_SENT"
    assert len(ses.mails) == 1


def test_what_was_signed_too_long_ago_is_refused_and_that_proves_something(team: Team, ses: SesStandIn) -> None:
    frozen = team.freeze(CrashPoint.LEAVING, settle=SETTLE)
    assert team.work().outcome == "InDoubt"
    wait_until(team.row().settled_at, team)
    frozen.tell(signal.SIGCONT)
    ended = frozen.wait()
    assert "Signature expired" in ended.detail
    assert not ses.mails
    # The doubt is over here too: the provider has said that it did not take it.
    assert team.row().state is State.RELEASED
    assert team.work().outcome == "SENT"
    assert len(ses.mails) == 1


def test_with_the_policy_resend_one_mail_goes_out_though_the_frozen_worker_goes_on(team: Team, ses: SesStandIn) -> None:
    frozen = team.freeze(CrashPoint.LEAVING, settle=SETTLE)
    claimed = team.row()
    assert team.work(in_doubt="resend").outcome == "SENT"
    before = team.row()
    assert before.attempt == claimed.attempt + 1
    frozen.tell(signal.SIGCONT)
    assert "Signature expired" in frozen.wait().detail
    assert len(ses.mails) == 1
    assert facts(team.row()) == facts(before)


@pytest.mark.parametrize("point", [CrashPoint.CLAIMED, CrashPoint.SIGNED, CrashPoint.LEAVING],
                         ids=lambda point: point.name.lower())  # fmt: skip
def test_who_lost_its_claim_changes_nothing_of_its_successors(team: Team, ses: SesStandIn, point: CrashPoint) -> None:
    # Only what has left is stopped by nothing but its signature's age.
    frozen = team.freeze(point, settle=SETTLE if point is CrashPoint.LEAVING else 0.0)
    assert team.work().outcome == "InDoubt"
    wait_until(team.row().settled_at, team)
    release(team)
    successor = team.freeze(CrashPoint.CLAIMED, window=60.0)
    before = team.row()
    frozen.tell(signal.SIGCONT)
    assert frozen.wait().outcome not in ("", "SENT", "Fault")
    assert facts(team.row()) == facts(before)
    successor.tell(signal.SIGCONT)
    assert successor.wait().outcome == "SENT"
    assert len(ses.mails) == 1


def test_the_journal_of_a_frozen_worker_is_not_taken_for_a_dead_ones(team: Team, ses: SesStandIn) -> None:
    frozen = team.freeze(CrashPoint.CLAIMED, window=60.0)
    same_machine = str(team.folder / "frozen")
    assert team.start("other", journals=same_machine).wait().outcome == "InFlight"
    frozen.tell(signal.SIGKILL)
    frozen.wait()
    assert team.start("other", journals=same_machine).wait().outcome == "SENT"
    assert len(ses.mails) == 1


def release(team: Team) -> None:
    with team.ledger() as ledger:
        decision = Decision(state=State.RELEASED, by="support", reason="not in the provider's log")
        decided = ledger.decide(team.delivery.key, decision)
    assert decided
    assert decided.state is State.RELEASED


def facts(row: Entry) -> Entry:
    """Everything in a row but the moment at which it was read."""
    return replace(row, read_at=row.claimed_at)
