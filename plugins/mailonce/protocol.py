"""The delivery protocol: how one mail is sent at most once, however often this is called. Read it top to bottom.

::

                claim(token)                      answer: accepted
     (no row) ───────────────▶ SENDING ─────────────────────────────────▶ SENT(message_id)
     RELEASED ───────────────▶    │  ├── answer: refused, may be retried ─▶ RELEASED(error)    claimable at once
                                  │  ├── answer: refused for good ────────▶ REJECTED(error)    dead letter
                                  │  └── no answer, 5xx, killed, too old ─▶ IN_DOUBT           never sent again by itself
                                  │                                           │  ├─ provider's event: accepted ─▶ SENT
                                  │                                           │  ├─ a person decides ─▶ SENT | RELEASED | CANCELLED
                                  │                                           │  └─ policy `resend`, once settled ─▶ RELEASED
     late truth always wins: proof of acceptance makes any state SENT; a second message id is a measured duplicate

What makes it hold:

1. *The claim is a fence.* It is written before the request, so whoever comes later sees it. Once sending may have
   begun, no clock makes the key sendable again: what is not known to have failed is IN_DOUBT, and held.
2. *The fence has a deadline.* The owner refuses to sign a request after it, and the provider refuses a signature
   that is too old; so from ``settled_at`` on nothing of that claim can still be accepted.
3. *Every move out of SENDING is conditional on the claim's token.* A zombie can change nothing of its successor's.
4. *A failure moves the key only as far as it proves.* See :mod:`mailonce.errors` and the providers.

``docs/protocol.md`` argues it in full. This file does no input or output of its own, and knows neither Airflow nor
any provider: :func:`choose` decides, :func:`deliver` asks the ledger and calls the provider.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from mailonce.delivery import Claim, Conclusion, Decision, Delivery, Entry, Receipt, Timing
from mailonce.departure import ClaimedDeparture, Fence, check_clock
from mailonce.doubt import DoubtRules, Outlook
from mailonce.errors import AwaitingProof, InDoubt, InFlight, LedgerError, NeverLeft, NotDelivered, NotSent, Rejected
from mailonce.journal import Journal
from mailonce.ledgers.base import Ledger
from mailonce.pace import Pace
from mailonce.providers.base import Provider
from mailonce.receipts import ReceiptStore
from mailonce.states import State

log = logging.getLogger(__name__)


class Step(str, Enum):
    """Named points of the protocol, in order. Tests stop the process at each of them."""

    BEFORE_CLAIM = "before claim"
    CLAIMED = "after claim, before the wire"
    LEAVING = "signed and connected, in the moment before the request leaves"
    ACCEPTED = "after acceptance, before the record"
    RECORDED = "after the record"


class Result(str, Enum):
    """How a delivery ended well: nothing is left to do for its key."""

    SENT = "sent"
    ALREADY_SENT = "already sent"
    CONTENT_CHANGED = "content changed since it was sent"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a delivery needs from outside.

    :param by: who delivers, for people: Dag run, task, try, process.
    :param journal: what tells those who come after this process's death how far it was.
    :param pace: when each mail may leave. :param doubt: what becomes of mails in doubt.
    :param events_drained_at: up to when the provider's events are in the ledger; asked only where it matters.
    :param unrecorded: receipts whose rows the ledger has lost: see :func:`record_kept_receipts`.
    :param reached: called at each :class:`Step`.
    """

    ledger: Ledger
    provider: Provider
    receipts: ReceiptStore
    by: str
    timing: Timing = field(default_factory=Timing)
    journal: Journal = field(default_factory=Journal)
    pace: Pace = field(default_factory=Pace)
    doubt: DoubtRules = field(default_factory=DoubtRules)
    events_drained_at: Callable[[], datetime | None] = lambda: None
    unrecorded: Mapping[str, Receipt] = field(default_factory=dict)
    reached: Callable[[Step], None] = lambda _step: None


class Choice(Enum):
    """What to do with the row that a claim came back with."""

    SEND = "the claim is ours"
    REPLAY = "nothing to do"
    WAIT = "somebody else is sending"
    DOUBT = "its owner is past its deadline and left no answer"
    UNSURE = "in doubt: see the rules"
    DEAD = "rejected for good"
    CLAIM = "free: claim again"


def choose(entry: Entry, claim: Claim) -> Choice:
    """Decide what to do, from the ledger's row alone. Pure: no clock but the ledger's, no input or output."""
    match entry.state:
        case State.SENDING if entry.token == claim.token:
            return Choice.SEND
        case State.SENDING:
            return Choice.DOUBT if entry.overdue else Choice.WAIT
        case State.IN_DOUBT:
            return Choice.UNSURE
        case State.RELEASED:
            return Choice.CLAIM
        case State.REJECTED:
            return Choice.DEAD
        case State.SENT | State.CANCELLED:
            return Choice.REPLAY


def deliver(delivery: Delivery, tools: Tools) -> tuple[Result, Entry]:
    """Deliver one mail at most once. Safe to call again, at any time, from anywhere, with the same key.

    :return: how it ended, and the ledger's row.
    :raises mailonce.errors.NotDelivered: the mail is not confirmed; the subclass says what is safe to do next.
    :raises mailonce.errors.LedgerError: the ledger could not answer. Before the claim: nothing was sent.
    """
    if receipt := tools.unrecorded.get(delivery.key):
        tools.ledger.witness(receipt, delivery)
        tools.receipts.forget(receipt)
    while True:
        tools.pace.wait()
        tools.reached(Step.BEFORE_CLAIM)
        claim = Claim(delivery=delivery, timing=tools.timing, by=tools.by)
        # Started before the claim is written, so that it can only run out early, whatever the claim's answer took.
        fence = Fence(tools.timing.window)
        tools.journal.claiming(claim)
        entry = tools.ledger.claim(claim)
        choice = choose(entry, claim)
        if choice is Choice.SEND:
            return Result.SENT, _send(entry, claim, fence, tools)
        tools.journal.done(claim)
        match choice:
            case Choice.REPLAY:
                return replay(entry, delivery.identity.recipient_id, delivery.message.fingerprint), entry
            case Choice.WAIT:
                raise InFlight(f"being sent right now by {entry.claimed_by}", **_names(delivery))
            case Choice.DOUBT:
                abandon(entry, tools.ledger)
            case Choice.UNSURE:
                _resend_or_raise(delivery, entry, tools)
            case Choice.DEAD:
                raise Rejected(f"refused for good earlier: {entry.error}", **_names(delivery))
            case _:
                pass  # free, or decided by somebody else in the meantime: look again


def abandon(entry: Entry, ledger: Ledger) -> Entry:
    """Put a claim in doubt whose owner is past its deadline and has left no answer. :return: the row as it now stands."""
    if entry.state is not State.SENDING or not entry.overdue or not entry.token:
        return entry
    note = f"its sender ({entry.claimed_by}) left no answer before its deadline"
    return ledger.conclude(entry.key, entry.token, Conclusion(state=State.IN_DOUBT, error=note)) or entry


def _send(entry: Entry, claim: Claim, fence: Fence, tools: Tools) -> Entry:
    """Send under a claim that is ours, and write down what that proved before anything else happens."""
    delivery = claim.delivery
    departure = ClaimedDeparture(claim, fence, tools.journal, lambda: tools.reached(Step.LEAVING))
    try:
        tools.reached(Step.CLAIMED)
        check_clock(entry, tools.timing.clock_tolerance)
        message_id = tools.provider.send(delivery.message, tags=delivery.tags, departure=departure)
    except BaseException as stop:
        failure = _failure(stop, left=departure.left)
        after = _conclude(claim, Conclusion(state=_proved(failure), error=failure.detail), tools)
        if not isinstance(stop, Exception):
            raise
        if isinstance(failure, InDoubt) and after and after.state is State.SENT:
            return after  # the provider's event was faster than its answer
        if isinstance(failure, InDoubt) and after and after.state is State.IN_DOUBT:
            raise _in_doubt(delivery, after, tools) from stop
        raise type(failure)(failure.detail, **_names(delivery)) from stop
    tools.journal.accepted(claim, message_id)
    tools.reached(Step.ACCEPTED)
    recorded = _record(claim, Receipt(key=delivery.key, message_id=message_id), tools)
    tools.reached(Step.RECORDED)
    return recorded


def _failure(stop: BaseException, *, left: bool) -> NotDelivered:
    """Return what a failure means: killed, timed out and faults of our own included.

    :param left: whether the request may have left. As long as it has not, nothing can have been accepted, whatever
        the failure looks like.
    """
    if isinstance(stop, NotDelivered) and (left or not isinstance(stop, InDoubt)):
        return stop
    detail = (
        stop.detail if isinstance(stop, NotDelivered) else f"interrupted while sending ({type(stop).__name__}: {stop})"
    )
    return InDoubt(detail) if left else NeverLeft(detail)


def _proved(failure: NotDelivered) -> State:
    """Return the state that a failure proves; anything that proves nothing is in doubt."""
    if isinstance(failure, NotSent):
        return State.RELEASED
    return State.REJECTED if isinstance(failure, Rejected) else State.IN_DOUBT


def _conclude(claim: Claim, conclusion: Conclusion, tools: Tools) -> Entry | None:
    """Write down a failure. If the ledger is away the journal keeps it; without one the claim will be in doubt."""
    tools.journal.failed(claim, conclusion)
    try:
        entry = tools.ledger.conclude(claim.delivery.key, claim.token, conclusion)
    except LedgerError as away:
        log.error(
            "%s: %s could not be written to the ledger (%s). Nothing is lost: the claim is held as in doubt.",
            claim.delivery.identity.recipient_id, conclusion.state.value, away,
        )  # fmt: skip
        return None
    tools.journal.done(claim)
    return entry


def _record(claim: Claim, receipt: Receipt, tools: Tools) -> Entry:
    """Write down that the mail was accepted; if the ledger stays away, keep the receipt where it outlives the task."""
    conclusion = Conclusion(state=State.SENT, message_id=receipt.message_id)
    try:
        entry = tools.ledger.conclude(receipt.key, claim.token, conclusion, patience=tools.timing.record_patience)
        if entry is None or entry.message_id != receipt.message_id:
            # The claim is somebody else's by now, yet this mail was accepted: late truth, and perhaps a duplicate.
            entry = tools.ledger.witness(receipt, claim.delivery)
    except BaseException as trouble:
        tools.receipts.keep(receipt)
        log.error(
            "%s was accepted as message %s, but the ledger did not take the receipt (%s). It is kept, and the next "
            "try writes it before anything else.", claim.delivery.identity.recipient_id, receipt.message_id, trouble,
        )  # fmt: skip
        raise
    tools.journal.done(claim)
    return entry


def record_kept_receipts(tools: Tools) -> Mapping[str, Receipt]:
    """Write the receipts that an earlier try could not; to be called before anything is sent.

    :return: those whose row is gone from the ledger, by key: for :attr:`Tools.unrecorded`.
    """
    unrecorded: dict[str, Receipt] = {}
    for receipt in tools.receipts.kept():
        if tools.ledger.witness(receipt) is None:
            unrecorded[receipt.key] = receipt
        else:
            tools.receipts.forget(receipt)
            log.warning("message %s: its receipt, kept by an earlier try, is now in the ledger", receipt.message_id)
    return unrecorded


def replay(entry: Entry, who: str, fingerprint: str) -> Result:
    """Say why nothing was sent ``who``, whose mail would say what ``fingerprint`` tells. :param entry: SENT or CANCELLED."""
    key = entry.key[:12]
    if entry.state is State.CANCELLED:
        log.info("%s: nothing sent: cancelled by a person [key %s…]", who, key)
        return Result.CANCELLED
    when = f"{entry.sent_at:%Y-%m-%d %H:%M} UTC" if entry.sent_at else "an unknown day"
    # A row that an event made anew after a loss does not know what its mail said.
    if entry.fingerprint in ("", fingerprint):
        log.info("%s: nothing sent: already sent on %s as message %s [key %s…]", who, when, entry.message_id, key)
        return Result.ALREADY_SENT
    log.warning(
        "%s: nothing sent: already sent on %s as message %s, but the content has changed since. To send a corrected "
        "statement, run the month again with another `edition`. [key %s…]", who, when, entry.message_id, key,
    )  # fmt: skip
    return Result.CONTENT_CHANGED


def _resend_or_raise(delivery: Delivery, entry: Entry, tools: Tools) -> None:
    """Release a mail in doubt, if that is the policy and its time has come; else say how it stands."""
    drained_at = tools.events_drained_at() if entry.settled else None
    if tools.doubt.outlook(entry, drained_at) is not Outlook.RESEND:
        raise _in_doubt(delivery, entry, tools)
    reason = f"setting in_doubt = resend: settled, no proof of acceptance came. Odds: {tools.doubt.odds(drained_at)}"
    tools.ledger.decide(delivery.key, Decision(state=State.RELEASED, by=tools.by, reason=reason, token=entry.token))


def _in_doubt(delivery: Delivery, entry: Entry, tools: Tools) -> InDoubt:
    detail = f"in doubt since {entry.claimed_at:%Y-%m-%d %H:%M} UTC: {entry.error}"
    if tools.doubt.outlook(entry) is Outlook.HOLD:
        return InDoubt(detail, **_names(delivery))
    wait = tools.doubt.seconds_to_wait(entry)
    return AwaitingProof(f"{detail}; {tools.doubt.in_words(entry)}.", **_names(delivery), retry_after=wait)


def _names(delivery: Delivery) -> dict[str, str]:
    return {"recipient_id": delivery.identity.recipient_id, "key": delivery.key}
