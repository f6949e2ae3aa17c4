"""What becomes of a mail of which nobody knows whether it was accepted. Pure decisions, by the ledger's clock alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from mailonce.delivery import Entry


class InDoubtPolicy(str, Enum):
    """What becomes of a mail that may or may not have been accepted, and of which no proof comes."""

    HOLD = "hold"
    """Never sent again by itself: at most once."""

    RESEND = "resend"
    """Sent again once its claim is settled: a rare second copy instead of holding."""


ASK_MARGIN = timedelta(minutes=2)
"""So long before a provider forgets an idempotency key it is asked no more: a request takes time on its way, too."""

ASK_PAUSE = timedelta(minutes=1)
"""So long after one asking that was not answered comes the next: a dozen, until the provider forgets."""


class Outlook(Enum):
    """What can still be done about a mail in doubt."""

    ASK = "the provider still recognises the idempotency key: the same request finds out, and sends no second mail"
    AWAIT = "something may still decide it by itself"
    RESEND = "settled, without proof, and the policy is to send again"
    HOLD = "only a person can decide"


@dataclass(frozen=True, kw_only=True)
class DoubtRules:
    """What was chosen in the settings.

    :param policy: for mails of which no proof comes.
    :param patience: how long after the claim the provider's events may still come; None: no events are read.
    :param remembers: see :attr:`mailonce.providers.base.Provider.remembers`.
    """

    policy: InDoubtPolicy = InDoubtPolicy.HOLD
    patience: timedelta | None = None
    remembers: timedelta | None = None

    def outlook(self, entry: Entry, drained_at: datetime | None = None) -> Outlook:
        """Decide about a row that is in doubt.

        The absence of an event says something only about a queue that was read: a resend waits until the events of
        the time up to the settled moment are in the ledger.

        :param drained_at: up to when the provider's events are in the ledger.
        """
        if self.time_to_ask(entry) > timedelta(0):
            # Not earlier: its owner may be sending at this moment, and the provider be busy with that very request.
            return Outlook.ASK if entry.overdue else Outlook.AWAIT
        if self.policy is InDoubtPolicy.RESEND:
            if not entry.settled:
                return Outlook.AWAIT
            if self.patience is None or _after(drained_at, entry.settled_at):
                return Outlook.RESEND
            return self._while_patient(entry, since=entry.settled_at)
        return self._while_patient(entry, since=entry.claimed_at)

    def time_to_ask(self, entry: Entry) -> timedelta:
        """Return for how long from the moment of reading on the provider may be asked again; 0: not any more.

        It counts from the claim, before which the key was not in use: so it ends before the provider forgets it.
        """
        if self.remembers is None or entry.claimed_at is None:
            return timedelta(0)
        return max(timedelta(0), self.remembers - ASK_MARGIN - (entry.read_at - entry.claimed_at))

    def _while_patient(self, entry: Entry, *, since: datetime | None) -> Outlook:
        if self.patience is None or since is None or entry.read_at > since + self.patience:
            return Outlook.HOLD
        return Outlook.AWAIT

    def in_words(self, entry: Entry) -> str:
        """Say what a mail waits for, given that it waits."""
        if left := self.time_to_ask(entry):
            return f"until {_time(entry.read_at + left)} the provider can be asked again under the same idempotency key"
        if self.policy is InDoubtPolicy.RESEND and not entry.settled:
            unless = (
                "" if self.patience is None else " unless an event of the provider proves before that it was accepted,"
            )
            return f"it is sent again once nothing of it can be accepted any more,{unless} from {_time(entry.settled_at)} on"
        if self.policy is InDoubtPolicy.RESEND:
            return "the provider's events of that time are not all read yet (is the Dag reconcile_usage_email running?)"
        assert self.patience is not None
        assert entry.claimed_at is not None
        return f"an event of the provider may prove it until {_time(entry.claimed_at + self.patience)}"

    def seconds_to_wait(self, entry: Entry) -> float | None:
        """Return after how many seconds it is worth looking again; None: proof may come at any moment."""
        if self.time_to_ask(entry) and entry.deadline_at is not None:
            return max((entry.deadline_at - entry.read_at).total_seconds() + 1, ASK_PAUSE.total_seconds())
        if self.patience is None and entry.settled_at is not None and not entry.settled:
            return (entry.settled_at - entry.read_at).total_seconds() + 1
        return None

    def odds(self, drained_at: datetime | None) -> str:
        """Say what risk of a second copy is taken by a resend, for the row's history."""
        if self.patience is None:
            return (
                "no events of the provider are read, so it is a second copy if the first was accepted and only its "
                "answer was lost"
            )
        return (
            f"the provider's events up to {_time(drained_at)} are read and none tells of it, so it is a second copy "
            "only if the first was accepted, its answer was lost, and its event was lost too"
        )


def _after(moment: datetime | None, other: datetime | None) -> bool:
    return moment is not None and (other is None or moment > other)


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "an unknown moment"
