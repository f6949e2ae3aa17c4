"""``mailonce status``: which months there are, and how one of them stands."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

from mailonce.browsing import MOST_A_PAGE, MonthTotals, Search, found
from mailonce.events import Fate
from mailonce.states import State
from mailonce.terminal import arguments, output
from mailonce.terminal.entries import facts_of
from mailonce.terminal.output import DONE, NOT_FOUND, UNRESOLVED, Screen

if TYPE_CHECKING:
    from mailonce.ledgers.base import Ledger

_EPILOG = """examples:
  mailonce status                               every month, with its totals
  mailonce status 2026-10                       how many are sent, held, rejected; and who is not sent
  mailonce status 2026-10 --strict || alarm     for scripts: is anybody left without a confirmed mail?
  mailonce status 2026-10 --json --limit 0      the counts only

Who was never tried has no row: the run's report and `mailonce export` name them.

exit codes: 0 done, 1 nothing found, or with --strict somebody is not sent, 2 refused or failed
"""
_OPEN = frozenset(State) - {State.SENT, State.CANCELLED}
_IN_ORDER = (State.SENT, *sorted(_OPEN, key=list(State).index), State.CANCELLED)


def add_to(commands: Any) -> None:
    """Declare the command and its arguments."""
    status = arguments.declare(
        commands, "status", help="the months; or one month: how many are sent, and who is not", epilog=_EPILOG
    )
    status.add_argument("period", nargs="?", help="the month, 2026-10; default: all months")
    status.add_argument("--campaign", help=f"default: {arguments.CAMPAIGN}; of all months: every campaign")
    status.add_argument("--strict", action="store_true", help="let anybody who is not sent count: exit code 1")
    arguments.add_limit(status, "recipients")
    status.set_defaults(run=_status)


def _status(options: argparse.Namespace, screen: Screen) -> int:
    with closing(output.open_the_ledger()) as ledger:
        return _month(ledger, options, screen) if options.period else _months(ledger, options, screen)


def _months(ledger: Ledger, options: argparse.Namespace, screen: Screen) -> int:
    months = [month for month in ledger.browser.months() if options.campaign in (None, month.campaign)]
    if options.json:
        screen.json([_facts(month) for month in months])
    for month in () if options.json else months:
        states, fates = _sum([month.states]), _sum([month.fates])
        more = f"; {_in_words(fates)}" if fates else ""
        screen.say(f"{month.period}  {month.campaign} ({month.edition})  {_in_words(states)}{more}")
    if not months and not options.json:
        screen.say("the ledger is empty")
    return _code(options, months)


def _month(ledger: Ledger, options: argparse.Namespace, screen: Screen) -> int:
    campaign = options.campaign or arguments.CAMPAIGN
    editions = ledger.browser.totals(campaign, options.period)
    counts, fates = _sum(month.states for month in editions), _sum(month.fates for month in editions)
    search = Search(campaign=campaign, period=options.period, states=_OPEN)
    wanted = found(ledger.browser, search, at_a_time=max(1, min(options.limit, MOST_A_PAGE)))
    open_ones = list(islice(wanted, options.limit))
    more = max(0, sum(counts[state.value] for state in _OPEN) - len(open_ones))
    if options.json:
        screen.json({
            "counts": counts, "fates": fates, "editions": [_facts(month) for month in editions],
            "not_sent": [facts_of(entry) for entry in open_ones], "not_sent_more": more,
        })  # fmt: skip
        return _code(options, editions)
    screen.say(f"{campaign} {options.period}: {_in_words(counts)}")
    for mark in () if editions else ledger.privacy.purges():
        if (mark.campaign, mark.period) == (campaign, options.period):
            screen.say(str(mark))
    if fates:
        screen.say(f"as far as events tell: {_in_words(fates)}")
    for month in editions if len(editions) > 1 else ():
        screen.say(f"  {month.edition}: {_in_words(_sum([month.states]))}")
    for entry in open_ones:
        screen.say(
            f"  {entry.identity.recipient_id:20} {entry.state.value:10} {entry.error or ''}\n{'':33}key {entry.key}"
        )
    if more:
        screen.say(f"  and {more} more: --limit {len(open_ones) + more} names them all, mailonce export too")
    return _code(options, editions)


def _code(options: argparse.Namespace, months: Sequence[MonthTotals]) -> int:
    if not months:
        return NOT_FOUND
    left = any(month.states.get(state) for month in months for state in _OPEN)
    return UNRESOLVED if options.strict and left else DONE


def _facts(month: MonthTotals) -> dict[str, Any]:
    states, fates = ({each.value: number for each, number in of.items()} for of in (month.states, month.fates))
    return {**vars(month), "states": states, "fates": fates}


def _sum(counts: Iterable[Mapping[Any, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update({name.value: number for name, number in each.items()})
    return total


def _in_words(counts: Mapping[str, int]) -> str:
    order = [each.value for each in (*_IN_ORDER, *Fate)]
    return ", ".join(f"{counts[name]} {name}" for name in sorted(counts, key=order.index)) or "nothing"
