"""A dry run: what would go out, rendered to look at, without a claim and without a mail."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from mailonce.delivery import Delivery, Entry
from mailonce.errors import InvalidInput
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from mailonce.workflow.snapshot import folder

log = logging.getLogger(__name__)


class Plan(str, Enum):
    """What delivering would do for one recipient."""

    NEW = "new"
    ALREADY_SENT = "already sent"
    CONTENT_CHANGED = "content changed since it was sent"
    IN_FLIGHT = "being sent right now"
    IN_DOUBT = "held as in doubt"
    REJECTED = "rejected for good"
    CANCELLED = "cancelled"
    INVALID = "invalid"


def plan_of(fingerprint: str, entry: Entry | None) -> Plan:
    """Return what delivering would do.

    :param fingerprint: of the mail as it would be. :param entry: the ledger's row; None: there is none.
    """
    if entry is None or entry.state is State.RELEASED:
        return Plan.NEW
    if entry.state is State.SENT:
        return Plan.ALREADY_SENT if entry.fingerprint in ("", fingerprint) else Plan.CONTENT_CHANGED
    if entry.state is State.SENDING and not entry.overdue:
        return Plan.IN_FLIGHT
    return {State.REJECTED: Plan.REJECTED, State.CANCELLED: Plan.CANCELLED}.get(entry.state, Plan.IN_DOUBT)


def preview_all(makers: Sequence[Callable[[], Delivery]], ledger: Ledger, *, folder_uri: str | None) -> dict[str, Any]:
    """Render every mail, and say what delivering would do.

    :param folder_uri: the rendered mails go into ``preview/`` below it, named by key; None: nowhere.
    :return: how many of each :class:`Plan`.
    """
    counts: Counter[Plan] = Counter()
    for maker in makers:
        try:
            delivery = maker()
        except InvalidInput as complaint:
            log.warning("%s", complaint)
            counts[Plan.INVALID] += 1
            continue
        plan = plan_of(delivery.message.fingerprint, next(ledger.find([delivery.key]), None))
        counts[plan] += 1
        if folder_uri:
            _write(delivery, plan, folder_uri)
    return {plan.value: count for plan, count in counts.items()}


def _write(delivery: Delivery, plan: Plan, folder_uri: str) -> None:
    message = delivery.message
    home = folder(folder_uri) / "preview"
    home.mkdir(parents=True, exist_ok=True)
    facts = {
        "key": delivery.key,
        "plan": plan.value,
        "recipient_id": delivery.identity.recipient_id,
        "from": message.sender,
        "to": message.to,
        "reply_to": list(message.reply_to),
        "subject": message.subject,
        "headers": dict(message.headers),
    }
    # Named by key: an id may hold anything, a path's parts included.
    (home / f"{delivery.key}.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False), encoding="utf-8")
    for suffix, part in (("html", message.html), ("txt", message.text)):
        if part:
            (home / f"{delivery.key}.{suffix}").write_text(part, encoding="utf-8")
