"""A person's approval of a plan: what they are shown, and that nothing else is delivered."""

from __future__ import annotations

from mailonce.delivery import Delivery
from mailonce.errors import InvalidInput, RunBlocked
from mailonce.messages.statement import ORIGINAL
from mailonce.workflow.plan import PlanSummary, digest_of
from mailonce.workflow.snapshot import Snapshot

QUESTION = "question"
"""Name under which the task ``snapshot`` leaves in XCom what is asked."""


def question(snapshot: Snapshot, summary: PlanSummary) -> str:
    """Return what a person is shown who is to approve, as Markdown: numbers, digest and places, and nobody's name."""
    manifest = snapshot.manifest
    edition = "" if manifest.edition == ORIGINAL else f", edition {manifest.edition}"
    counts = [f"| {plan.value} | {count} |" for plan, count in summary.counts.items() if count]
    over = [f"| over quota | {summary.over_quota} |"] if summary.over_quota else []
    told = [f"**{summary.quota_words}.**", ""] if summary.over_quota else []
    return "\n".join(
        [
            f"Campaign {manifest.campaign}, {manifest.period}{edition}.",
            "",
            "| | recipients |",
            "|---|---:|",
            *counts,
            *over,
            "",
            *told,
            f"Snapshot `{summary.digest}`: this one is approved, and no other.",
            "",
            f"Samples to look at: `{snapshot.uri}/preview/index.html`",
            "",
            f"Everybody by name: `{snapshot.uri}/plan.jsonl`",
        ]
    )


def check_approved(snapshot: str | None, approved: str | None) -> None:
    """Refuse to deliver another snapshot than the approved one.

    :param snapshot: URI of what is to be delivered. :param approved: URI of what was approved; None: approval is not
        asked for.
    :raises mailonce.errors.RunBlocked: it is another one.
    """
    if approved is None or (snapshot and approved == snapshot):
        return
    raise RunBlocked(
        f"the snapshot {digest_of(snapshot or '') or '(none)'} was not approved (approved: {digest_of(approved) or 'none'}). "
        "Trigger the month again: the new run asks about the plan as it is now."
    )


def check_content(delivery: Delivery, fingerprint: str) -> None:
    """Refuse a mail that is not what it was when its snapshot was approved.

    :param fingerprint: of the mail, when it was planned.
    :raises mailonce.errors.InvalidInput: templates or sender changed since.
    """
    if delivery.message.fingerprint != fingerprint:
        raise InvalidInput(
            row=delivery.identity.recipient_id,
            field="content",
            reason="the mail is not the one that was approved: the templates or the sender changed since",
            remedy="Trigger the month again, so that all is planned and approved anew",
        )
