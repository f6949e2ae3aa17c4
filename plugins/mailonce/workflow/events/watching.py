"""Watches the provider's events as they are written: metrics, and an alert when a month's mails are not welcome.

The limits are Amazon's: an account is looked at from 5 % bounces or 0.1 % complaints on (SES Developer Guide, "Amazon
SES sending review process FAQs").
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from types import TracebackType

from typing_extensions import Self

from mailonce.events import Fate
from mailonce.ledgers.base import Ledger
from mailonce.metrics.base import Metrics
from mailonce.metrics.catalogue import DUPLICATES, EVENTS, EVENTS_LAG, EVENTS_WAITING, FATES, MONTH_RATE
from mailonce.metrics.gathering import Gathering
from mailonce.notifiers.alert import About, Alert
from mailonce.states import State
from mailonce.workflow.alerts import tell
from mailonce.workflow.events.observing import Observation
from mailonce.workflow.events.queue import EventQueue
from mailonce.workflow.settings import Settings

log = logging.getLogger(__name__)

FEWEST = 100
"""Accepted mails of a month below which a rate says nothing: one bounce of ten is no news."""

_ABOUT = {Fate.BOUNCED: About.BOUNCES, Fate.COMPLAINED: About.COMPLAINTS}
_WORDS = {Fate.BOUNCED: "bounced", Fate.COMPLAINED: "were called spam"}
_NEXT = (
    "Safe next: look at who they are (mailonce export), and where their addresses come from. Hard bounces and complaints "
    "are suppressed already: no later month mails them. Amazon may pause the account; what is unsent then stays unsent "
    "and goes out when it is free again."
)

Month = tuple[str, str]


class EventsWatch:
    """Counts what one run of the reconciler does; to be entered, so that what is left is told at the end.

    :param metrics: returns what receives values with these tags.
    """

    def __init__(self, metrics: Callable[..., Metrics], settings: Settings) -> None:
        self._tagged = metrics
        self._metrics = Gathering(metrics())
        self._limits = {Fate.BOUNCED: settings.most_bounces, Fate.COMPLAINED: settings.most_complaints}
        self._duplicates: set[str] = set()
        self._new: dict[Month, Counter[Fate]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._metrics.flush()

    def observed(self, observations: Sequence[Observation]) -> None:
        """Count a batch."""
        now = datetime.now(timezone.utc)
        for each in observations:
            self._metrics.count(EVENTS, part=each.outcome.value.replace(" ", "_"))
            if each.duplicate and each.duplicate.key not in self._duplicates:
                self._duplicates.add(each.duplicate.key)
                self._metrics.count(DUPLICATES)
            if each.entry and each.at:
                self._metrics.time(EVENTS_LAG, max(0.0, (now - each.at).total_seconds()))
            if each.entry and each.fate:
                self._metrics.count(FATES, part=each.fate.value.lower())
                identity = each.entry.identity
                self._new.setdefault((identity.campaign, identity.period), Counter())[each.fate] += 1

    def drained(self, ledger: Ledger, queue: EventQueue) -> None:
        """Tell how the months stand that were heard of; alert when a rate passes its limit by what was heard now.

        Never raises: the events are written, and the next run counts anew.
        """
        try:
            self._metrics.gauge(EVENTS_WAITING, queue.depth().waiting)
            # To count a month reads all of it: only where there is bad news. The newest last, so that its rates stand.
            worse = [month for month, new in self._new.items() if any(new[fate] for fate in self._limits)]
            for month in sorted(worse, key=lambda month: month[1]):
                self._judge(month, ledger)
        except Exception:
            log.warning("how the months stand could not be counted; the next run tries again", exc_info=True)

    def _judge(self, month: Month, ledger: Ledger) -> None:
        totals = ledger.browser.totals(*month)
        accepted = sum(each.states.get(State.SENT, 0) for each in totals)
        metrics = self._tagged(campaign=month[0], period=month[1])
        for fate, limit in self._limits.items():
            count = sum(each.fates.get(fate, 0) for each in totals)
            metrics.gauge(MONTH_RATE, count / accepted if accepted else 0.0, part=fate.value.lower())
            before = count - self._new[month][fate]
            if accepted >= FEWEST and before <= limit * accepted < count:
                what = (
                    f"{count} of {accepted} accepted mails of {' '.join(month)} {_WORDS[fate]}: {count / accepted:.2%}, "
                    f"above {limit:.2%}. {_NEXT}"
                )
                tell(Alert(about=_ABOUT[fate], what=what, where=" ".join(month)))
