"""Writing down what became of a request: what its end proves, and where that is kept when the ledger is away."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailonce.delivery import Claim, Conclusion, Entry, Receipt
from mailonce.errors import InDoubt, LedgerError, NeverLeft, NotDelivered, NotSent, Rejected
from mailonce.states import State
from mailonce.tokens import same_mail

if TYPE_CHECKING:
    from mailonce.protocol import Tools

log = logging.getLogger(__name__)


def meaning_of(stop: BaseException, *, left: bool) -> NotDelivered:
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


def state_after(failure: NotDelivered) -> State:
    """Return the state that a failure proves; anything that proves nothing is in doubt."""
    if isinstance(failure, NotSent):
        return State.RELEASED
    return State.REJECTED if isinstance(failure, Rejected) else State.IN_DOUBT


def record_failure(claim: Claim, failure: NotDelivered, tools: Tools) -> Entry | None:
    """Write down what a failure proves. If the ledger is away the journal keeps it; without one the claim will be in doubt.

    :return: the row as it now stands; None: the ledger is away, or has no such row any more.
    """
    conclusion = Conclusion(state=state_after(failure), error=failure.detail)
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


def record_acceptance(claim: Claim, receipt: Receipt, tools: Tools) -> Entry:
    """Write down that the mail was accepted; if the ledger stays away, keep the receipt where it outlives the task.

    :raises mailonce.errors.LedgerError: the ledger stayed away; the receipt is kept.
    """
    conclusion = Conclusion(state=State.SENT, message_id=receipt.message_id)
    try:
        entry = tools.ledger.conclude(receipt.key, claim.token, conclusion, patience=tools.timing.record_patience)
        if entry is None or not same_mail(entry.message_id, receipt.message_id, claim.token):
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

    :return: those whose row is gone from the ledger, by key: for :attr:`mailonce.protocol.Tools.unrecorded`.
    """
    unrecorded: dict[str, Receipt] = {}
    for receipt in tools.receipts.kept():
        row = next(tools.ledger.find([receipt.key]), None)
        if row and row.token and same_mail(row.message_id, receipt.message_id, row.token):
            tools.receipts.forget(receipt)  # somebody has asked the provider meanwhile, and written that down
        elif tools.ledger.witness(receipt) is None:
            unrecorded[receipt.key] = receipt
        else:
            tools.receipts.forget(receipt)
            log.warning("message %s: its receipt, kept by an earlier try, is now in the ledger", receipt.message_id)
    return unrecorded
