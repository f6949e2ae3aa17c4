"""The delivery protocol: how one mail is sent at most once, however often this is called. Read it top to bottom.

::

                claim(token)                      answer: accepted
     (no row) ───────────────▶ SENDING ─────────────────────────────────▶ SENT(message_id)
     RELEASED ───────────────▶    │  ├── answer: refused, may be retried ─▶ RELEASED(error)    claimable at once
                                  │  ├── answer: refused for good ────────▶ REJECTED(error)    dead letter
                                  │  └── no answer, 5xx, killed, too old ─▶ IN_DOUBT           never sent again by itself
                                  │                                           │  ├─ provider's event: accepted ─▶ SENT
                                  │                                           │  ├─ asked again, same idempotency key ─▶ SENT
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
5. *A lost answer is asked for again only where that cannot send a second mail*: of a provider that recognises the claim's
   idempotency key, while it does, and by one at a time, who takes the claim over from whoever had it.

``docs/protocol.md`` argues it in full. This file does no input or output of its own, and knows neither Airflow nor
any provider: :func:`choose` decides, :func:`deliver` asks the ledger and calls the provider.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from mailonce.delivery import Claim, Conclusion, Decision, Delivery, Entry, Receipt, Takeover, Timing
from mailonce.departure import ClaimedDeparture, Fence, check_clock
from mailonce.doubt import DoubtRules, Outlook
from mailonce.errors import AwaitingProof, InDoubt, InFlight, Rejected
from mailonce.journal import Journal
from mailonce.ledgers.base import Ledger
from mailonce.pace import Pace
from mailonce.providers.base import Provider
from mailonce.receipts import ReceiptStore
from mailonce.recording import meaning_of, record_acceptance, record_failure
from mailonce.states import State
from mailonce.tokens import idempotency_key

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
    :param unrecorded: receipts whose rows the ledger has lost: see
        :func:`mailonce.recording.record_kept_receipts`.
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
                if sent := _settle(delivery, entry, fence, tools):
                    return Result.SENT, sent
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
        message_id = _request(claim, departure, tools)
    except BaseException as stop:
        failure = meaning_of(stop, left=departure.left)
        after = record_failure(claim, failure, tools)
        if not isinstance(stop, Exception):
            raise
        if isinstance(failure, InDoubt) and after and after.state is State.SENT:
            return after  # the provider's event was faster than its answer
        if isinstance(failure, InDoubt) and after and after.state is State.IN_DOUBT:
            raise _in_doubt(delivery, after, tools) from stop
        raise type(failure)(failure.detail, **_names(delivery)) from stop
    return _accepted(claim, message_id, tools)


def _ask_again(delivery: Delivery, entry: Entry, fence: Fence, tools: Tools) -> Entry | None:
    """Make the request of a claim in doubt once more, which sends nothing if it was accepted before.

    :return: the row, SENT; None: somebody has decided it meanwhile.
    :raises mailonce.errors.NotDelivered: it is still in doubt, or somebody else asks at this moment.
    """
    takeover = Takeover(token=entry.token or "", by=tools.by)
    taken = tools.ledger.take_over(entry.key, takeover)
    if taken is None or taken.state is not State.IN_DOUBT:
        return None
    if taken.token != takeover.successor:
        raise InFlight("the provider is being asked about it right now by another worker", **_names(delivery))
    claim = Claim(delivery=delivery, timing=tools.timing, by=tools.by, token=takeover.successor)
    # Counted from before the row was read, so that it can only run out early.
    limit = fence.lasting(_rules(delivery, entry, tools).time_to_ask(entry))
    departure = ClaimedDeparture(claim, limit, tools.journal, lambda: tools.reached(Step.LEAVING))
    try:
        message_id = _request(claim, departure, tools)
    except BaseException as stop:
        # Whatever became of this request, it proves nothing about the one before it: the row is in doubt, and stays so.
        tools.journal.done(claim)
        if not isinstance(stop, Exception):
            raise
        log.warning("%s: asked again, in vain: %s", delivery.identity.recipient_id, stop)
        raise _in_doubt(delivery, taken, tools) from stop
    return _accepted(claim, message_id, tools)


def _request(claim: Claim, departure: ClaimedDeparture, tools: Tools) -> str:
    mail, tags = claim.delivery.message, claim.delivery.tags
    return tools.provider.send(mail, tags=tags, idempotency_key=idempotency_key(claim.token), departure=departure)


def _accepted(claim: Claim, message_id: str, tools: Tools) -> Entry:
    tools.journal.accepted(claim, message_id)
    tools.reached(Step.ACCEPTED)
    recorded = record_acceptance(claim, Receipt(key=claim.delivery.key, message_id=message_id), tools)
    tools.reached(Step.RECORDED)
    return recorded


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


def _settle(delivery: Delivery, entry: Entry, fence: Fence, tools: Tools) -> Entry | None:
    """Find out about a mail in doubt, or release it, as far as the rules allow; else say how it stands.

    :return: the row, if that settled it as SENT; None: look again.
    """
    drained_at = tools.events_drained_at() if entry.settled else None
    outlook = _rules(delivery, entry, tools).outlook(entry, drained_at)
    if outlook is Outlook.ASK:
        return _ask_again(delivery, entry, fence, tools)
    if outlook is not Outlook.RESEND:
        raise _in_doubt(delivery, entry, tools)
    reason = f"setting in_doubt = resend: settled, no proof of acceptance came. Odds: {tools.doubt.odds(drained_at)}"
    tools.ledger.decide(delivery.key, Decision(state=State.RELEASED, by=tools.by, reason=reason, token=entry.token))
    return None


def _rules(delivery: Delivery, entry: Entry, tools: Tools) -> DoubtRules:
    """Return the rules for this mail. One that would say something else by now is another request: it cannot ask."""
    same = entry.fingerprint == delivery.message.fingerprint
    return replace(tools.doubt, remembers=tools.provider.remembers if same else None)


def _in_doubt(delivery: Delivery, entry: Entry, tools: Tools) -> InDoubt:
    detail = f"in doubt since {entry.claimed_at:%Y-%m-%d %H:%M} UTC: {entry.error}"
    rules = _rules(delivery, entry, tools)
    if rules.outlook(entry) is Outlook.HOLD:
        return InDoubt(detail, **_names(delivery))
    wait = rules.seconds_to_wait(entry)
    return AwaitingProof(f"{detail.rstrip('.')}; {rules.in_words(entry)}.", **_names(delivery), retry_after=wait)


def _names(delivery: Delivery) -> dict[str, str]:
    return {"recipient_id": delivery.identity.recipient_id, "key": delivery.key}
