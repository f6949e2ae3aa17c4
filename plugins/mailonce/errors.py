"""Everything that can go wrong, as one tree: callers catch a meaning and never read a message's text.

::

    MailonceError
    ├── InvalidInput             a row, an address, a template or a setting is wrong; nothing was sent
    ├── NotDelivered             one recipient's mail is not confirmed; says which, and what is safe next
    │   ├── NotSent                proved not to have been accepted; the key is free again (RELEASED)
    │   │   ├── NeverLeft            no connection, or too late to sign: the request never left
    │   │   ├── Throttled            the provider asks for a slower pace
    │   │   ├── TemporarilyRefused   the provider does not take this mail now, but perhaps later
    │   │   ├── MonthBusy            another run of the month is at work, and one is to follow the other
    │   │   └── RunBlocked           nobody's mail can be sent now: paused, suspended, no permission, …
    │   │       └── DailyQuotaExceeded
    │   │           └── AwaitingQuota    the same, where the rest is to follow by itself on the next days
    │   │       └── LedgerForgot       the ledger was brought back, copied or made anew: a person must look
    │   ├── Rejected               the provider refuses this recipient or this mail for good (REJECTED)
    │   ├── InDoubt                accepted or not, nobody knows: held, never sent again by itself (IN_DOUBT)
    │   │   └── AwaitingProof        the same, while something may still decide it without anybody's help
    │   └── InFlight               another worker holds the claim at this moment (SENDING)
    ├── BatchIncomplete          some recipients of a batch are NotDelivered or have InvalidInput
    ├── RecipientsUnresolved     the run's report: so many have no confirmed mail
    ├── LedgerError              the ledger could not answer
    │   ├── LedgerUnavailable      not reachable for as long as we were willing to wait
    │   └── LedgerUnusable         reachable, but not a ledger: missing table, missing permission, wrong version
    ├── EventUnreadable          a message in the events queue is no event that can be understood
    ├── EventsSetAside           such messages were taken out of the queue and kept: somebody must look at them
    ├── StartRefused             a run that a message or an asset event asks for cannot be started
    ├── RequestsUnmet            some of what asked for a month did not start one: somebody must look
    ├── DuplicateMeasured        by its own events, the provider accepted more than one mail for a key
    └── UnsupportedAirflow       this version of Airflow is too old, for all of the package or for what was asked
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class MailonceError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidInput(MailonceError):
    """A value cannot be used. Names the field, the reason and the remedy; nothing was sent.

    :param field: the column, parameter, setting or template that holds the value.
    :param reason: what is wrong with it.
    :param remedy: what to do about it.
    :param row: which row it stands in (a recipient id or a row number), if any.
    """

    def __init__(self, *, field: str, reason: str, remedy: str, row: str | None = None) -> None:
        self.field = field
        self.reason = reason
        self.remedy = remedy
        self.row = row
        super().__init__(field, reason, remedy, row)

    def __str__(self) -> str:
        where = f"row {self.row}, field {self.field}" if self.row is not None else self.field
        return f"{where}: {self.reason}. {self.remedy}"

    def at_row(self, row: str) -> InvalidInput:
        """Return the same complaint with the row it belongs to."""
        return InvalidInput(field=self.field, reason=self.reason, remedy=self.remedy, row=row)


class NotDelivered(MailonceError):
    """One recipient's mail is not confirmed as accepted.

    :param detail: what happened, in the provider's or the ledger's own words.
    :param recipient_id: whose mail it is. Never the address: this text ends up in logs.
    :param key: the delivery's key in the ledger.
    """

    safe_next = ""
    """What is safe to do now; one sentence a class."""

    def __init__(self, detail: str, *, recipient_id: str = "", key: str = "") -> None:
        self.detail = detail
        self.recipient_id = recipient_id
        self.key = key
        super().__init__(detail, recipient_id, key)

    def __str__(self) -> str:
        who = f"{self.recipient_id}: " if self.recipient_id else ""
        key = f" [key {self.key}]" if self.key else ""
        return f"{who}{self.detail}{key} {self.safe_next}".rstrip()


class NotSent(NotDelivered):
    """The provider did not accept the mail, for certain."""

    safe_next = "Nothing was sent: safe to retry or clear."


class NeverLeft(NotSent):
    """The request never reached the provider."""


class Throttled(NotSent):
    """The provider refused because mails come too fast."""


class MonthBusy(NotSent):
    """Another run mails the same campaign and month at this moment, and ``one_run_at_a_time`` is set."""

    safe_next = "Nothing was sent, and nothing is to do: it is tried again by itself until the other run is done."


class TemporarilyRefused(NotSent):
    """The provider does not take this mail now, and asks to try again later (SMTP: any answer 4xx, greylisting for one)."""


class RunBlocked(NotSent):
    """The provider refuses everybody's mail until somebody changes something."""

    safe_next = "Nothing was sent. Mend the cause, then clear the failed tasks: only the missing mails go out."


class DailyQuotaExceeded(RunBlocked):
    """The account's quota of mails in 24 hours is used up."""

    safe_next = "Nothing was sent. Clear the failed tasks once the quota is free again (it is a moving 24-hour window)."


class AwaitingQuota(DailyQuotaExceeded):
    """The account's quota of mails in 24 hours is used up, and the run is to go on by itself when it is free again."""

    safe_next = "Nothing was sent, and nothing is to do: the missing mails follow by themselves when the quota is free."


class LedgerForgot(RunBlocked):
    """The ledger knows less than it did: brought back from a backup, copied, made anew; or this month was purged."""

    safe_next = "Nothing more is sent for this month, and clearing is safe, until a person has looked and decided."


class Rejected(NotDelivered):
    """The provider refuses this mail for good."""

    safe_next = (
        "It was not sent and is not tried again. Correct the cause at its source, release it (mailonce resolve KEY "
        "--release --reason '…'), and trigger the month again for this recipient."
    )


class InDoubt(NotDelivered):
    """The provider may have accepted the mail, but no answer proves it."""

    safe_next = (
        "Held: it is not sent again by itself, so clearing or re-running is safe but sends nothing. "
        "Look for it at the provider, then decide: mailonce resolve KEY --sent | --release | --cancel --reason '…'."
    )


class AwaitingProof(InDoubt):
    """In doubt, and something that comes by itself may still decide it: an event, or the moment of a resend.

    :param retry_after: seconds until it is worth looking again; None: no moment is known.
    """

    safe_next = "Nothing to do: it is looked at again by itself, and ends by itself when the proof comes."

    def __init__(self, detail: str, *, recipient_id: str = "", key: str = "", retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(detail, recipient_id=recipient_id, key=key)


class InFlight(NotDelivered):
    """Another worker claimed the key and is sending right now."""

    safe_next = "Nothing was sent by this task: safe to retry or clear."


class BatchIncomplete(MailonceError):
    """Some recipients of a batch have no confirmed mail; every other one is done and stays done.

    :param errors: one error a recipient, in the batch's order.
    :param total: how many recipients the batch has. :param results: how many of the others ended how.
    """

    def __init__(
        self, errors: Sequence[MailonceError], *, total: int, results: Mapping[Any, int] | None = None
    ) -> None:
        self.errors = tuple(errors)
        self.total = total
        self.results = dict(results or {})
        super().__init__(self.errors, total)

    def __str__(self) -> str:
        first = "; ".join(str(error) for error in self.errors[:5])
        more = f"; and {len(self.errors) - 5} more" if len(self.errors) > 5 else ""
        return (
            f"{len(self.errors)} of {self.total} recipients are unresolved, the others are done and are not "
            f"touched by a retry: {first}{more}"
        )


class RecipientsUnresolved(MailonceError):
    """More recipients than tolerated have no confirmed mail at the end of a run.

    :param held: how many of them are in doubt, and wait for a person.
    """

    def __init__(self, text: str, *, held: int = 0) -> None:
        self.held = held
        super().__init__(text)


class LedgerError(MailonceError):
    """The ledger could not answer."""


class LedgerUnavailable(LedgerError):
    """The ledger was not reachable for as long as we were willing to wait."""


class LedgerUnusable(LedgerError):
    """The ledger is reachable but not usable: a table, a permission or a version is missing."""


class EventUnreadable(MailonceError):
    """A message in the events queue is no event that can be understood; says what is wrong with it."""


class EventsSetAside(MailonceError):
    """Messages that tell no event that the ledger can keep were taken out of the queue, and kept elsewhere."""


class StartRefused(MailonceError):
    """A run that somebody asks for cannot be started; says why, and what to do."""


class RequestsUnmet(MailonceError):
    """Some of what asked for a month did not start one; names each, and what is safe to do next."""


class DuplicateMeasured(MailonceError):
    """By its own events, the provider accepted more than one mail for a key."""


class UnsupportedAirflow(MailonceError):
    """The version of Airflow cannot do what was asked; says which can, and what to do without."""
