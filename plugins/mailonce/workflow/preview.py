"""A preview: what would go out, rendered to look at, without a claim and without a mail.

Beside the snapshot, in ``preview/``: ``index.html`` to begin with, and of each sample ``<key>.json``, ``<key>.html`` and
``<key>.txt``. Of a large month only a sample is rendered, so that a preview of a million is as quick to look at as one of a
hundred; every row was rendered once when the snapshot was written, and what cannot be rendered is a reject.
"""

from __future__ import annotations

import heapq
import json
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from mailonce.delivery import Delivery
from mailonce.errors import InvalidInput
from mailonce.ledgers.base import Ledger
from mailonce.messages.statement import StatementMaker
from mailonce.workflow.pages import page_template
from mailonce.workflow.plan import Plan, PlanLine, PlanSummary, plan_of
from mailonce.workflow.snapshot import PlannedRow, Snapshot, folder

log = logging.getLogger(__name__)

ALL_UP_TO = 100
"""So many recipients are all rendered; of more, samples."""
NAMED_UP_TO = 1000
"""The same, where a run names its recipients: somebody wants to see just these."""
AT_EACH_END = 10
AT_RANDOM = 20
MOST_INLINE = 300_000
"""Characters of a mail that the page shows itself; a longer one is a link."""

_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A row whose mail is rendered to look at, and what would become of it."""

    planned: PlannedRow
    plan: Plan
    why: str = ""


@dataclass
class Sampler:
    """Chooses whose mails are rendered: all of few; of many the first, the last, some at random and one of each plan.

    At random are those with the smallest keys: a key is a digest, so this is fair, and the same in every preview.

    :param all_up_to: how many are few. :param at_most: so many at most are chosen; None: as many as that makes.
    """

    all_up_to: int = ALL_UP_TO
    at_most: int | None = None
    _first: list[Sample] = field(default_factory=list)
    _last: deque[Sample] = field(default_factory=lambda: deque(maxlen=AT_EACH_END))
    _random: list[tuple[int, int, Sample]] = field(default_factory=list)
    _kinds: dict[Plan, Sample] = field(default_factory=dict)
    _seen: int = 0

    @classmethod
    def of_run(cls, *, named: bool) -> Sampler:
        """Return what chooses for a run. :param named: whether it names its recipients."""
        return cls(NAMED_UP_TO if named else ALL_UP_TO)

    def heed(self, line: PlanLine) -> None:
        """Consider one recipient; those who are not mailed have nothing to render."""
        if line.planned is None:
            return
        sample = Sample(planned=line.planned, plan=line.plan, why=line.why)
        self._seen += 1
        if len(self._first) < max(self.all_up_to, AT_EACH_END):
            self._first.append(sample)
        self._last.append(sample)
        self._kinds.setdefault(line.plan, sample)
        # The heap's smallest is the largest key among those kept; the count decides between equals.
        entry = (-int(sample.planned.key[:16], 16), self._seen, sample)
        (heapq.heappush if len(self._random) < AT_RANDOM else heapq.heappushpop)(self._random, entry)

    @property
    def chosen(self) -> list[Sample]:
        """The samples, each once: in the snapshot's order if all are."""
        if self._seen <= self.all_up_to:
            return list(self._first)[: self.at_most]
        ends = [*self._first[:AT_EACH_END], *self._last]
        several = [*self._kinds.values(), *ends, *(sample for _, _, sample in self._random)]
        return list({sample.planned.key: sample for sample in several}.values())[: self.at_most]


def write_preview(snapshot: Snapshot, summary: PlanSummary, maker: StatementMaker, samples: Sequence[Sample]) -> int:
    """Render samples into ``preview/`` beside the snapshot, with a page that shows them.

    :param summary: what the page says of the whole plan. :param maker: renders the mails.
    :return: how many were rendered.
    """
    home = folder(snapshot.uri) / "preview"
    home.mkdir(parents=True, exist_ok=True)
    shown = []
    for sample in samples:
        try:
            delivery = maker.delivery(sample.planned.row)
        except InvalidInput as complaint:
            log.warning("%s", complaint)  # the templates changed since the snapshot was written
            continue
        _write(delivery, sample, home)
        shown.append((sample, delivery.message))
    page = page_template(Path(__file__).parent / "preview.html.j2").render(
        manifest=snapshot.manifest, uri=snapshot.uri, summary=summary, samples=shown, plans=list(Plan),
        most_inline=MOST_INLINE,
    )  # fmt: skip
    (home / "index.html").write_text(page, encoding="utf-8")
    return len(shown)


def preview_all(makers: Sequence[Callable[[], Delivery]], ledger: Ledger) -> dict[str, Any]:
    """Render every mail of a task, and say what delivering would do. Nothing is written.

    :return: how many of each :class:`mailonce.workflow.plan.Plan`.
    """
    counts: Counter[Plan] = Counter()
    waiting = iter(makers)
    while some := list(islice(waiting, _AT_ONCE)):
        fingerprints: dict[str, str] = {}
        for maker in some:
            try:
                delivery = maker()
            except InvalidInput as complaint:
                log.warning("%s", complaint)
                counts[Plan.INVALID] += 1
                continue
            fingerprints[delivery.key] = delivery.message.fingerprint
        entries = {entry.key: entry for entry in ledger.find(fingerprints)}
        counts.update(plan_of(fingerprint, entries.get(key)) for key, fingerprint in fingerprints.items())
    return {plan.value: count for plan, count in counts.items()}


def _write(delivery: Delivery, sample: Sample, home: Any) -> None:
    message = delivery.message
    facts = {
        "key": delivery.key,
        "plan": sample.plan.value,
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
