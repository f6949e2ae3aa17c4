"""The table: at which points a process is killed, what comes next, and the ends that this may come to. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from mailonce.protocol import Step


class CrashPoint(str, Enum):
    """Where in a delivery a process stops. Every :class:`mailonce.protocol.Step` is one, under the same name."""

    BEFORE_CLAIM = "before the claim"
    CLAIMING = "while claiming, in the ledger's write"
    CLAIMED = "after the claim, before the request is signed"
    SIGNED = "signed and connected, before the journal says that it leaves"
    LEAVING = "after the journal says so, before the request leaves"
    ON_THE_WIRE = "after the request left, before an answer"
    ACCEPTED = "after the answer, before the record"
    RECORDING = "while recording the answer, in the ledger's write"
    RECEIPT_KEPT = "after the receipt was kept, because the ledger was away"
    RECORDED = "after the record"

    @property
    def step(self) -> Step | None:
        """The protocol's step that this is; None: something is going on between two steps."""
        return Step.__members__.get(self.name)

    @property
    def at_random(self) -> bool:
        """Whether the process dies at a random moment of a write, so that the write may have happened or not."""
        return self in (CrashPoint.CLAIMING, CrashPoint.RECORDING)


class Treatment(str, Enum):
    """What the provider makes of the killed process's request."""

    NOT_ASKED = "never gets the request"
    ACCEPT = "accepts"
    ACCEPT_SILENTLY = "accepts, and does not answer in time"
    IGNORE = "does not accept, and does not answer"
    THROTTLE = "refuses for now"
    REJECT = "refuses for good"

    @property
    def accepts(self) -> bool:
        """Whether the mail goes out."""
        return self in (Treatment.ACCEPT, Treatment.ACCEPT_SILENTLY)


class Next(str, Enum):
    """What is done about the killed task."""

    RETRIED = "the same task is tried again"
    CLEARED = "the task is cleared"
    SECOND_RUN = "the month is run a second time"
    EVENT_ARRIVES = "the provider's event arrives, then the same task is tried again"

    @property
    def keeps_receipts(self) -> bool:
        """Whether the next try sees the receipts that the killed one kept: Airflow may drop a cleared task's state."""
        return self in (Next.RETRIED, Next.EVENT_ARRIVES)


class Machine(str, Enum):
    """Where that is done."""

    SAME = "on the same machine"
    ANOTHER = "on another machine, which does not have the killed process's journal"


class End(str, Enum):
    """How a key ends, once the next try is through."""

    SENT_NEXT = "sent by the next try"
    SENT_BEFORE = "already sent, and known to be"
    HELD = "held, by name"
    REJECTED = "rejected, by name"


@dataclass(frozen=True)
class Case:
    """One cell of the matrix.

    :param number: of several rounds at a random moment, which.
    """

    point: CrashPoint
    treatment: Treatment
    next: Next
    machine: Machine
    number: int = 0

    def __str__(self) -> str:
        words = [part.name.lower() for part in (self.point, self.treatment, self.next, self.machine)]
        return "-".join([*words, *([str(self.number)] if self.number else [])])

    @property
    def ends(self) -> frozenset[End]:
        """The ends that are right. More than one where a write that was cut off may have happened or not."""
        if self.next is Next.EVENT_ARRIVES:
            return _BEFORE  # late truth always wins
        row = ENDS[self.point, self.treatment]
        if self.machine is Machine.SAME:
            return row.same
        return row.another_with_receipts if self.next.keeps_receipts and row.another_with_receipts else row.another


@dataclass(frozen=True)
class Ends:
    """One row of the table.

    :param another_with_receipts: on another machine, when the next try has the task's receipts, if that differs.
    """

    same: frozenset[End]
    another: frozenset[End]
    another_with_receipts: frozenset[End] = frozenset()


_NEXT = frozenset({End.SENT_NEXT})
_BEFORE = frozenset({End.SENT_BEFORE})
_HELD = frozenset({End.HELD})
_REJECTED = frozenset({End.REJECTED})

ENDS: Mapping[tuple[CrashPoint, Treatment], Ends] = {
    # killed at, and the provider                                on the same machine     on another machine
    (CrashPoint.BEFORE_CLAIM, Treatment.NOT_ASKED):         Ends(_NEXT,                  _NEXT),
    (CrashPoint.CLAIMING,     Treatment.NOT_ASKED):         Ends(_NEXT,                  _NEXT | _HELD),
    (CrashPoint.CLAIMED,      Treatment.NOT_ASKED):         Ends(_NEXT,                  _HELD),
    (CrashPoint.SIGNED,       Treatment.NOT_ASKED):         Ends(_NEXT,                  _HELD),
    (CrashPoint.LEAVING,      Treatment.NOT_ASKED):         Ends(_HELD,                  _HELD),
    (CrashPoint.ON_THE_WIRE,  Treatment.ACCEPT_SILENTLY):   Ends(_HELD,                  _HELD),
    (CrashPoint.ON_THE_WIRE,  Treatment.IGNORE):            Ends(_HELD,                  _HELD),
    (CrashPoint.ACCEPTED,     Treatment.ACCEPT):            Ends(_BEFORE,                _HELD),
    (CrashPoint.RECORDING,    Treatment.ACCEPT):            Ends(_BEFORE,                _BEFORE | _HELD),
    (CrashPoint.RECORDING,    Treatment.THROTTLE):          Ends(_NEXT,                  _NEXT | _HELD),
    (CrashPoint.RECORDING,    Treatment.REJECT):            Ends(_REJECTED,              _REJECTED | _HELD),
    (CrashPoint.RECEIPT_KEPT, Treatment.ACCEPT):            Ends(_BEFORE,                _HELD, _BEFORE),
    (CrashPoint.RECORDED,     Treatment.ACCEPT):            Ends(_BEFORE,                _BEFORE),
}  # fmt: skip
"""Where every case ends. A request that never leaves is never accepted: those points have one row each."""


def cases(*, rounds: int = 3) -> Iterator[Case]:
    """Yield the whole matrix.

    :param rounds: how often a case is run whose process dies at a random moment of a write.
    """
    for point, treatment in ENDS:
        for following in Next:
            if following is Next.EVENT_ARRIVES and not treatment.accepts:
                continue  # there is no event about a mail that was not accepted
            for machine in Machine:
                for number in range(rounds if point.at_random else 1):
                    yield Case(point, treatment, following, machine, number)


def quick_cases() -> Iterator[Case]:
    """Yield every point and both machines, with the most frequent of what comes next: a retry."""
    return (case for case in cases(rounds=1) if case.next is Next.RETRIED)


def as_table() -> Iterator[str]:
    """Yield the lines of the table for people, in Markdown."""
    yield "| killed | the provider | on the same machine | on another machine |"
    yield "|---|---|---|---|"
    for (point, treatment), row in ENDS.items():
        another = _words(row.another)
        if row.another_with_receipts:
            another = f"{_words(row.another_with_receipts)} when retried; {another} when cleared or run again"
        yield f"| {point.value} | {treatment.value} | {_words(row.same)} | {another} |"


def _words(ends: frozenset[End]) -> str:
    return " or ".join(end.value for end in End if end in ends)
