"""What is made of one case: facts from the provider's log and the ledger's row, held against the promise. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mailonce.crashes.points import Case, End, Next
from mailonce.delivery import Entry
from mailonce.states import State


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was seen of one case.

    :param outcomes: of the tries after the kill, in order: names of results and errors.
    :param details: their texts, empty for results.
    :param mails: message ids of the mails that the provider accepted for the key.
    :param entry: the ledger's row after all that; None: there is none.
    """

    outcomes: Sequence[str]
    details: Sequence[str]
    mails: Sequence[str]
    entry: Entry | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is made of a case.

    :param end: how its key ended; None: in no way that is known.
    :param faults: what is wrong, a sentence each; none: nothing.
    :param facts: None: the case could not be brought about.
    """

    case: Case
    end: End | None
    faults: Sequence[str]
    facts: Facts | None = None

    @property
    def ok(self) -> bool:
        """Whether the promise was kept, and the end is the one that the table says."""
        return not self.faults

    @property
    def sentence(self) -> str:
        """The case and what is made of it, for people."""
        case = self.case
        story = (
            f"Killed {case.point.value}; the provider {case.treatment.value}; {case.next.value} {case.machine.value}"
        )
        if self.ok and self.end and self.facts:
            mails = len(self.facts.mails)
            return f"{story}: {self.end.value}, {mails} mail{'' if mails == 1 else 's'}."
        return f"{story}: WRONG: {' '.join(self.faults)}"


def judge(case: Case, facts: Facts) -> Verdict:
    """Hold the facts of a case against the promise, and against the table."""
    end = _end(case, facts)
    faults = [*_broken_promises(facts)]
    if end not in case.ends:
        wanted = " or ".join(sorted(one.value for one in case.ends))
        state = facts.entry.state.value if facts.entry else "no row"
        said = ", ".join(facts.outcomes)
        came = end.value if end else f"{state}, the tries said {said}, {len(facts.mails)} mails"
        faults.append(f"The end should be: {wanted}. It is: {came}.")
    return Verdict(case=case, end=end, faults=faults, facts=facts)


def _broken_promises(facts: Facts) -> Iterator[str]:
    """Yield what must not be, whatever the case."""
    entry, mails = facts.entry, facts.mails
    if len(mails) > 1:
        yield f"{len(mails)} mails for one key: {', '.join(mails)}."
    if entry is None:
        yield "The ledger has no row: nobody will hear of this mail."
    elif entry.state is State.SENT:
        if not mails:
            yield "The ledger says SENT, and the provider has no such mail: it is lost."
        elif entry.message_id != mails[0]:
            yield f"The ledger says SENT as {entry.message_id}, and the provider has {mails[0]}."
        if entry.duplicate_message_ids:
            yield f"The ledger counts duplicates: {', '.join(entry.duplicate_message_ids)}."
    elif entry.state not in (State.IN_DOUBT, State.REJECTED):
        yield f"The key is left {entry.state.value}: neither sent, nor held by name."
    elif not entry.error:
        yield f"The key is {entry.state.value} without a word why."
    elif not facts.details[-1]:
        yield f"The key is {entry.state.value}, and no error was raised about it."


def _end(case: Case, facts: Facts) -> End | None:
    """Return the end that the tries and the row agree on. The last try comes when all is decided, and must add nothing."""
    state = facts.entry.state if facts.entry else None
    # What a month's second run makes of the data may differ by a cent from what was sent.
    already = "CONTENT_CHANGED" if case.next is Next.SECOND_RUN else "ALREADY_SENT"
    mails = int(case.treatment.accepts)
    ends = {
        (("SENT", "ALREADY_SENT"), State.SENT, 1): End.SENT_NEXT,
        ((already, already), State.SENT, 1): End.SENT_BEFORE,
        (("InDoubt", "InDoubt"), State.IN_DOUBT, mails): End.HELD,
        (("Rejected", "Rejected"), State.REJECTED, 0): End.REJECTED,
    }
    return ends.get((tuple(facts.outcomes[-2:]), state, len(facts.mails)))  # type: ignore[arg-type]
