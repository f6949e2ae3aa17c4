"""The table of cases: nothing is left out, and what people read is what is run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mailonce.crashes.points import ENDS, CrashPoint, End, Machine, Next, Treatment, as_table, cases, quick_cases
from mailonce.protocol import Step

PAGE = Path(__file__).resolve().parents[2] / "docs" / "crash-matrix.md"


def test_a_process_is_killed_at_every_step_of_the_protocol() -> None:
    assert {point.step for point in CrashPoint} - {None} == set(Step)


def test_every_point_has_an_end_for_all_that_may_come_next() -> None:
    covered = {(case.point, case.next, case.machine) for case in cases()}
    accepted = {point for point, treatment in ENDS if treatment.accepts}
    for point in CrashPoint:
        for following in Next:
            for machine in Machine:
                possible = following is not Next.EVENT_ARRIVES or point in accepted
                assert ((point, following, machine) in covered) == possible


def test_on_the_wire_the_provider_has_accepted_or_not() -> None:
    treatments = {treatment for point, treatment in ENDS if point is CrashPoint.ON_THE_WIRE}
    assert {treatment.accepts for treatment in treatments} == {True, False}


@pytest.mark.parametrize("rounds", [1, 5])
def test_only_what_is_left_to_chance_is_run_several_times(rounds: int) -> None:
    counts = Counter((case.point, case.treatment, case.next, case.machine) for case in cases(rounds=rounds))
    for (point, *_), count in counts.items():
        assert count == (rounds if point.at_random else 1)


def test_every_case_has_a_name_of_its_own() -> None:
    names = [str(case) for case in cases()]
    assert len(names) == len(set(names))


def test_only_a_write_that_was_cut_off_may_end_in_two_ways() -> None:
    for case in cases():
        assert len(case.ends) == 1 or (case.point.at_random and case.machine is Machine.ANOTHER)


def test_nothing_that_was_accepted_may_be_sent_again() -> None:
    assert not [case for case in cases() if case.treatment.accepts and End.SENT_NEXT in case.ends]


def test_an_event_ends_every_doubt() -> None:
    assert {case.ends for case in cases() if case.next is Next.EVENT_ARRIVES} == {frozenset({End.SENT_BEFORE})}


def test_the_quick_matrix_has_every_point_and_every_treatment() -> None:
    assert {(case.point, case.treatment) for case in quick_cases()} == set(ENDS)
    assert {treatment for _, treatment in ENDS} == set(Treatment)


def test_the_page_shows_the_table_that_is_run() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "\n".join(as_table()) in page
