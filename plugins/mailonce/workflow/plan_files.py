"""The plan as files beside the snapshot, for people and for programs, and told in the log.

::

    plan.json       the numbers, and the names of those whom something keeps from their mail
    plan.jsonl      one recipient a line: recipient_id, plan, why
    changed.txt     ids of those whose content changed since it was sent, one a line: to paste into the form
    preview/        see :mod:`mailonce.workflow.preview`
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mailonce.ledgers.base import Ledger
from mailonce.messages.statement import StatementMaker
from mailonce.workflow.plan import UNTROUBLED, Allowance, Plan, PlanLine, PlanSummary, compare
from mailonce.workflow.preview import Sampler, write_preview
from mailonce.workflow.snapshot import Snapshot, folder

log = logging.getLogger(__name__)

MOST_NAMES = 10_000
"""So many names of each kind stand in ``plan.json``; all of them in ``plan.jsonl``."""
NAMES_IN_LOG = 50


def write_plan(
    snapshot: Snapshot,
    ledger: Ledger,
    maker: StatementMaker,
    *,
    allowance: Allowance,
    run_id: str,
    dry_run: bool,
    sampler: Sampler,
    heed: Callable[[PlanLine], object] = lambda _line: None,
) -> PlanSummary:
    """Compare a snapshot with the ledger, write the plan and samples of the mails beside it, and tell it in the log.

    Neither memory nor the number of samples grows with the number of recipients.

    :param maker: renders the samples. :param allowance: what the account may still send.
    :param dry_run: whether the plan is all that the run makes. :param sampler: chooses the samples.
    :param heed: is called with each recipient's line too.
    """
    home = folder(snapshot.uri)
    names = Names(MOST_NAMES)
    with TemporaryDirectory(prefix="mailonce-") as local:
        spool, changed = Path(local) / "plan.jsonl", Path(local) / "changed.txt"
        with spool.open("w", encoding="utf-8") as lines, changed.open("w", encoding="utf-8") as ids:

            def write(line: PlanLine) -> None:
                fields = {"recipient_id": line.recipient_id, "plan": line.plan.value, "why": line.why}
                lines.write(json.dumps(fields, ensure_ascii=False) + "\n")
                if line.plan is Plan.CONTENT_CHANGED:
                    ids.write(f"{line.recipient_id}\n")
                names.heed(line)
                sampler.heed(line)
                heed(line)

            summary = compare(snapshot, ledger, allowance=allowance, heed=write)
        for file in (spool, changed):
            with file.open("rb") as source, (home / file.name).open("wb") as target:  # type: ignore[no-untyped-call]
                shutil.copyfileobj(source, target)
    samples = write_preview(snapshot, summary, maker, sampler.chosen)
    manifest = snapshot.manifest
    facts = {
        "campaign": manifest.campaign,
        "period": manifest.period,
        "edition": manifest.edition,
        "run_id": run_id,
        "dry_run": dry_run,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "planned": manifest.recipients,
        "digest": summary.digest,
        "quota": {**vars(allowance), "over_quota": summary.over_quota, "days": summary.days},
        "samples": samples,
        "counts": {plan.value: count for plan, count in summary.counts.items()},
        "exceptions": names.exceptions,
        "suppressed": names.suppressed,
        # Known only of what was sent: a report tells them, and whoever reads both need not tell them apart.
        "duplicates": [],
        "undelivered": [],
        "fates": {},
    }
    (home / "plan.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False), encoding="utf-8")
    return summary


def told_plan(snapshot_uri: str) -> dict[str, Any]:
    """Tell in the log what the plan of a snapshot is and where to look.

    :return: the counts, and where the plan is: what a dry run's report leaves in Airflow.
    """
    home = folder(snapshot_uri)
    file = home / "plan.json"
    plan = json.loads(file.read_text(encoding="utf-8"))
    counts: dict[str, int] = plan["counts"]
    summary = PlanSummary(
        digest=plan["digest"],
        counts=Counter({Plan(name): count for name, count in counts.items()}),
        allowance=Allowance(**{name: plan["quota"][name] for name in ("left_today", "daily_quota", "spread")}),
    )
    named: Counter[str] = Counter()
    for one in (*plan["suppressed"], *plan["exceptions"]):
        named[one["state"]] += 1
        if named[one["state"]] <= NAMES_IN_LOG:
            log.warning("%s: %s: %s", one["recipient_id"], one["state"], one["why"])
    log.info("The plan: %s. Nothing was claimed or sent by planning.", summary.words)
    if summary.counts[Plan.CONTENT_CHANGED]:
        log.info("To correct what changed: another edition, for the recipients in %s", home / "changed.txt")
    log.info("Look at it: %s (%d samples). Every recipient's line: %s", home / "preview" / "index.html",
             plan["samples"], home / "plan.jsonl")  # fmt: skip
    return {**counts, "report": str(file)}


class Names:
    """Whom something keeps from their mail, each with the reason, and no more of a kind than shall be named.

    :param limit: so many of each kind.
    """

    def __init__(self, limit: int) -> None:
        self.exceptions: list[dict[str, str]] = []
        self.suppressed: list[dict[str, str]] = []
        self.counts: Counter[Plan] = Counter()
        self._limit = limit

    def heed(self, line: PlanLine) -> None:
        """Consider one recipient."""
        if line.plan in UNTROUBLED and line.plan is not Plan.SUPPRESSED:
            return
        self.counts[line.plan] += 1
        if self.counts[line.plan] <= self._limit:
            names = self.suppressed if line.plan is Plan.SUPPRESSED else self.exceptions
            names.append({"recipient_id": line.recipient_id, "state": line.plan.value, "why": line.why})

    @property
    def kept(self) -> Counter[Plan]:
        """How many of each kind should get their mail, and would not."""
        return Counter({plan: count for plan, count in self.counts.items() if plan is not Plan.SUPPRESSED})
