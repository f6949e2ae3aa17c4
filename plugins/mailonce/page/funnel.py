"""A month in figures: planned, accepted, delivered, and all that may come between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mailonce.browsing import MonthTotals
from mailonce.events import Fate
from mailonce.states import State
from mailonce.workflow.planned import Planned, Statement


@dataclass(frozen=True, kw_only=True)
class Show:
    """A part of a month's deliveries that one may look at.

    :param name: in the address. :param title: for people. :param means: in a sentence. :param tone: its colour.
    """

    name: str
    title: str
    means: str
    tone: str
    states: frozenset[State] = frozenset()
    fates: frozenset[Fate] = frozenset()


def _by_state(state: State, name: str, title: str, tone: str, means: str) -> Show:
    return Show(name=name, title=title, tone=tone, means=means, states=frozenset({state}))


def _by_fate(fate: Fate, title: str, tone: str, means: str) -> Show:
    return Show(name=fate.value.lower(), title=title, tone=tone, means=means, fates=frozenset({fate}))


SHOWS: tuple[Show, ...] = (
    _by_state(State.SENT, "accepted", "Accepted", "accepted", "the provider took it"),
    _by_fate(Fate.DELIVERED, "Delivered", "good", "the recipient's server took it"),
    _by_fate(Fate.DELAYED, "Delayed", "quiet", "the recipient's server does not take it yet"),
    _by_fate(Fate.BOUNCED, "Bounced", "bad", "the recipient's server gave it back"),
    _by_fate(Fate.DROPPED, "Dropped", "bad", "the provider dropped it after accepting it"),
    _by_fate(Fate.COMPLAINED, "Complained", "bad", "the recipient called it spam"),
    _by_state(State.REJECTED, "rejected", "Rejected", "bad", "the provider refused it for good"),
    _by_state(State.IN_DOUBT, "held", "Held", "unsure", "nobody knows whether it was accepted: a person decides"),
    _by_state(State.SENDING, "sending", "Being sent", "quiet", "claimed by a task"),
    _by_state(
        State.RELEASED, "released", "Free to be sent", "quiet", "not accepted, for certain: the next run sends it"
    ),
    _by_state(State.CANCELLED, "cancelled", "Cancelled", "quiet", "a person decided that it shall not be sent"),
)
BY_NAME: Mapping[str, Show] = {show.name: show for show in SHOWS}

ALWAYS_SHOWN = frozenset({"accepted", "delivered", "bounced", "complained", "rejected", "held"})
"""Those that are worth a line even when there are none."""


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """One edition of a campaign's month.

    :param totals: what the ledger counts; None: it has no row yet.
    :param planned: what was planned; None: no snapshot can be seen from here.
    """

    campaign: str
    period: str
    edition: str
    totals: MonthTotals | None = None
    planned: Planned | None = None

    def count(self, name: str) -> int:
        """Return how many deliveries one of :data:`SHOWS` has."""
        show = BY_NAME[name]
        if self.totals is None:
            return 0
        by_state = sum(self.totals.states.get(state, 0) for state in show.states)
        return by_state + sum(self.totals.fates.get(fate, 0) for fate in show.fates)

    @property
    def known(self) -> int:
        """How many have a row in the ledger."""
        return sum(self.totals.states.values()) if self.totals else 0

    @property
    def recipients(self) -> int | None:
        """How many were to be mailed; None: not known."""
        return self.planned.manifest.recipients if self.planned else None

    @property
    def not_yet(self) -> int | None:
        """How many of the planned have no row yet; None: not known.

        A row of somebody who was not in that plan counts against it, so this may say too few, and never too many.
        """
        return None if self.recipients is None else max(0, self.recipients - self.known)

    @property
    def whole(self) -> int:
        """What the bars are parts of; at least 1."""
        return max(1, self.known, self.recipients or 0)

    @property
    def lines(self) -> Iterator[tuple[Show, int]]:
        """What is worth showing, with its figure, in order."""
        for show in SHOWS:
            count = self.count(show.name)
            if count or show.name in ALWAYS_SHOWN:
                yield show, count


def funnels(totals: Iterable[MonthTotals], planned: Mapping[Statement, Planned]) -> list[Funnel]:
    """Put together what the ledger counts and what was planned: the newest month first."""
    counted = {(one.campaign, one.period, one.edition): one for one in totals}
    made = [
        Funnel(
            campaign=statement[0],
            period=statement[1],
            edition=statement[2],
            totals=counted.get(statement),
            planned=planned.get(statement),
        )
        for statement in sorted(counted.keys() | planned.keys(), key=lambda one: (one[0], one[2]))
    ]
    return sorted(made, key=lambda one: one.period, reverse=True)
