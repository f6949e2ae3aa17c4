"""More than one crash: whoever tidies up after the dead dies of it, and machines come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailonce.crashes.orders import LedgerMaker
from mailonce.crashes.points import CrashPoint
from mailonce.crashes.workers import Workers
from sandbox.ses import SesStandIn
from tests.crashes.team import Team

ENDS = {
    # killed             the next tries   mails
    CrashPoint.CLAIMED: ("SENT", 1),
    CrashPoint.LEAVING: ("InDoubt", 0),
    CrashPoint.ACCEPTED: ("ALREADY_SENT", 1),
}
PROVED = {point: end for point, end in ENDS.items() if point is not CrashPoint.LEAVING}


@pytest.fixture
def team(workers: Workers, mailonce_crash_ledger: LedgerMaker, ses: SesStandIn, tmp_path: Path) -> Team:
    return Team(workers, mailonce_crash_ledger, ses.url, tmp_path)


@pytest.mark.parametrize("point", ENDS, ids=lambda point: point.name.lower())
def test_who_tidies_up_may_be_killed_in_the_middle_of_it(team: Team, ses: SesStandIn, point: CrashPoint) -> None:
    team.kill("here", point)
    for _ in range(3):
        # Its first conclusion is the one that the dead process's journal proves: dying, it leaves that journal behind.
        team.kill("here", CrashPoint.RECORDING)
    outcome, mails = ENDS[point]
    assert team.work("here").outcome == outcome
    assert len(ses.mails) == mails
    assert team.work("elsewhere").outcome == ("ALREADY_SENT" if mails else outcome)


@pytest.mark.parametrize("point", PROVED, ids=lambda point: point.name.lower())
def test_a_machine_that_comes_back_ends_the_doubt(team: Team, ses: SesStandIn, point: CrashPoint) -> None:
    team.kill("here", point)
    assert team.work("elsewhere").outcome == "InDoubt"
    outcome, mails = ENDS[point]
    assert team.work("here").outcome == outcome
    assert len(ses.mails) == mails
    assert team.work("elsewhere").outcome == "ALREADY_SENT"
    assert len(ses.mails) == 1


def test_killed_again_and_again_before_anything_leaves_it_is_sent_in_the_end(team: Team, ses: SesStandIn) -> None:
    for point in (CrashPoint.CLAIMED, CrashPoint.SIGNED, CrashPoint.CLAIMED):
        team.kill("here", point)
    assert team.work("here").outcome == "SENT"
    assert team.row().attempt == 4
    assert len(ses.mails) == 1


def test_a_journal_that_comes_too_late_takes_nothing_back(team: Team, ses: SesStandIn) -> None:
    """The machine comes back after the policy `resend` has let another one send."""
    team.kill("here", CrashPoint.CLAIMED, settle=0.0)
    assert team.work("elsewhere", in_doubt="resend").outcome == "SENT"
    before = team.row()
    assert team.work("here").outcome == "ALREADY_SENT"
    assert team.row().history == before.history
    assert len(ses.mails) == 1


def test_a_journal_that_comes_too_late_makes_a_second_copy_known(team: Team, ses: SesStandIn) -> None:
    """The risk that the policy `resend` takes: the first was accepted after all, and only its machine knows."""
    team.kill("here", CrashPoint.ACCEPTED, settle=0.0)
    (first,) = ses.mails
    assert team.work("elsewhere", in_doubt="resend").outcome == "SENT"
    assert team.work("here").outcome == "ALREADY_SENT"
    row = team.row()
    assert {row.message_id, *row.duplicate_message_ids} == {mail.message_id for mail in ses.mails}
    assert row.duplicate_message_ids == (first.message_id,)
