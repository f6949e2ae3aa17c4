"""A witness outside the ledger: what it was when each month was mailed, so that a ledger that forgot is found out.

A ledger that was brought back from a backup, or made anew, knows less than it did, and does not know that it does:
it would mail again whom it has forgotten. So the beginning and the end of each run count up the ledger's odometer
(:attr:`mailonce.epoch.Epoch.runs`), and write down the count here, beside the snapshots::

    <snapshot_uri>/ledger/<digest of ledger_conn_id and ledger_table>/<campaign>.<period>.json

A month that remembers another ledger, or a higher count, was mailed by a ledger that knew more. That holds for what it
remembers of ledgers with other names too, unless this one has mailed it since. A month that was never mailed remembers
nothing, and nobody can get a second copy of it.

A month also remembers until when its first deliveries are kept, where there is a retention. From then on the ledger may
have forgotten some of them as it should, and the month is not mailed again by itself: see
:mod:`mailonce.workflow.purged_months`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mailonce.epoch import Epoch
from mailonce.findings import Finding, Severity
from mailonce.ledgers.base import Ledger
from mailonce.workflow import purged_months
from mailonce.workflow.purged_months import CHECK, refuse
from mailonce.workflow.settings import Settings
from mailonce.workflow.snapshot import folder

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

REMEDY = (
    "Whoever is missing in it would be mailed again. Bring back the ledger that knows them; or let the Dag "
    "reconcile_usage_email read the provider's events of the time since, which write the missing rows, and compare "
    "`mailonce status` with the provider's own figures. Then: mailonce doctor --adopt-ledger --reason '…'."
)
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What one month remembers of the ledger that mailed it.

    :param month: ``<campaign>.<period>``. :param epoch_id: :param runs: see :class:`mailonce.epoch.Epoch`.
    :param lost: it was found once that the ledger knows less than this, and nobody has decided since.
    :param kept_until: by edition, the moment after which some of its deliveries may have expired; by the ledger's clock.
    :param own: whether that ledger had the same name as this one (``ledger_conn_id`` and ``ledger_table``).
    """

    month: str
    epoch_id: str
    runs: int
    lost: bool = False
    kept_until: Mapping[str, datetime] = field(default_factory=dict)
    own: bool = True

    def contradicts(self, epoch: Epoch | None) -> bool:
        """Whether the ledger, as it stands, knows less than the one that mailed this month. None: there is no ledger."""
        return self.lost or epoch is None or self.epoch_id != epoch.id or self.runs > epoch.runs


def check(
    settings: Settings, ask: Callable[[], Epoch | None], *, campaign: str = "", period: str = ""
) -> Iterator[Finding]:
    """Compare the ledger with what the months remember of it; changes nothing.

    :param ask: returns the ledger's epoch, None if there is no ledger. Asked after the months are read: a run that
        goes on at the same time counts first, and then writes down.
    :param campaign: :param period: the month that is to be mailed: what contradicts it is an error, what contradicts
        others is a warning. Without them all months count.
    """
    own = _month(campaign, period) if campaign and period else ""
    memories = list(_read(settings))
    yield from _compared(ask(), memories, own=own)


def _compared(epoch: Epoch | None, memories: Sequence[Memory], *, own: str) -> Iterator[Finding]:
    if epoch and epoch.moved:
        yield Finding(
            severity=Severity.ERROR,
            check=CHECK,
            found=f"it was made in {epoch.home}, but stands in {epoch.here}: a copy, or a backup brought back.",
            remedy=REMEDY,
        )
    contradicting = [memory for memory in _decisive(memories, epoch) if memory.contradicts(epoch)]
    here = [memory.month for memory in contradicting if own in ("", memory.month) and memory.own]
    others = [memory.month for memory in contradicting if own in ("", memory.month) and not memory.own]
    elsewhere = [memory.month for memory in contradicting if memory.month not in (*here, *others)]
    if others:
        yield Finding(
            severity=Severity.ERROR,
            check=CHECK,
            found=f"{_listed(others)} was mailed with another ledger, of which this one knows nothing: ledger_conn_id or "
            "ledger_table had another name.",
            remedy=f"Name that ledger again; two that have nothing to do with each other need a snapshot_uri each. {REMEDY}",
        )
    if here:
        yield Finding(
            severity=Severity.ERROR,
            check=CHECK,
            found=f"it knows less than when it mailed {_listed(here)}: it was brought back from a backup, made anew, "
            "or is not the right one.",
            remedy=REMEDY,
        )
    if elsewhere:
        yield Finding(
            severity=Severity.WARNING,
            check=CHECK,
            found=f"it knows less than when {_listed(elsewhere)} was mailed, by it or by another, and cannot run that again. "
            "It may have forgotten suppressed addresses too.",
            remedy=REMEDY,
        )
    if epoch and not epoch.moved and not contradicting:
        months = f"{len(memories)} months, all of which it knows" if memories else "no month yet"
        yield Finding(severity=Severity.OK, check=CHECK, found=f"epoch {epoch.id}, run {epoch.runs}; {months}.")


def _decisive(memories: Sequence[Memory], epoch: Epoch | None) -> list[Memory]:
    """Leave out what ledgers of other names are remembered for, where this one's own name is, or where one of them fits:
    then it is the same ledger under a new name, or has been adopted in another's place.
    """
    settled = {memory.month for memory in memories if memory.own or not memory.contradicts(epoch)}
    return [memory for memory in memories if memory.own or memory.month not in settled]


def remember(
    settings: Settings, ledger: Ledger, *, campaign: str, period: str, edition: str = "original"
) -> list[Finding]:
    """Count a run, and write down the count; to be called before a run's first mail, and after its last.

    A month that the ledger turns out to have forgotten is marked: the count that goes on would soon hide it.

    :return: what is wrong with this month, as :func:`check` says it, and whether the ledger has forgotten it on purpose;
        nothing, if all is well.
    """
    memories = list(_read(settings))  # before the count: runs that go on at the same time count too
    before = ledger.epoch.read()  # not the count less one: it may count twice when an answer is lost
    epoch = ledger.epoch.advance()
    month = _month(campaign, period)
    forgotten = {memory.month: memory for memory in _decisive(memories, before) if memory.contradicts(before)}
    for memory in forgotten.values():
        if memory.own:  # another's stands in its own place, and goes on to be found there
            _write(settings, replace(memory, lost=True))
    if month not in forgotten:
        own = _own(memories, month)
        kept_until = dict(own.kept_until) if own else {}
        if retention := settings.retention(campaign):
            kept_until[edition] = min(kept_until.get(edition, epoch.read_at + retention), epoch.read_at + retention)
        _write(settings, Memory(month=month, epoch_id=epoch.id, runs=epoch.runs, kept_until=kept_until))
    # As they were before the count, and not read anew: another run may have counted, and written that down, since ours.
    known = [replace(memory, lost=memory.month in forgotten) for memory in memories]
    return [
        *_errors(epoch, known, month),
        *_on_purpose(ledger, epoch, known, campaign=campaign, period=period, edition=edition),
    ]


def refuse_forgetful(
    settings: Settings, ledger: Ledger, *, campaign: str, period: str, edition: str = "original"
) -> None:
    """Refuse to go on with a month of which the ledger knows less than it did, on purpose or not.

    :raises mailonce.errors.LedgerForgot: it does.
    """
    month = _month(campaign, period)
    # This month's alone: many tasks of a run may ask.
    memories = list(_read(settings, f"{month}.json"))
    epoch = ledger.epoch.read()
    refuse([
        *_errors(epoch, memories, month),
        *_on_purpose(ledger, epoch, memories, campaign=campaign, period=period, edition=edition),
    ])  # fmt: skip


def reopen(settings: Settings, *, campaign: str, period: str, edition: str) -> datetime | None:
    """Let an edition of a month be mailed again, though its deliveries have expired.

    :return: the moment until which they were to be kept; None: the month does not remember any.
    """
    month = _month(campaign, period)
    memory = _own(_read(settings), month)
    if memory is None or edition not in memory.kept_until:
        return None
    left = {name: until for name, until in memory.kept_until.items() if name != edition}
    _write(settings, replace(memory, kept_until=left))
    return memory.kept_until[edition]


def adopt(settings: Settings, ledger: Ledger, *, by: str, reason: str) -> Epoch:
    """Take the ledger as it stands for the right one, for all months. Who and why is kept in the ledger.

    :return: the new epoch.
    """
    epoch = ledger.epoch.adopt(by=by, reason=reason)
    # The own last: where a month has both, it is the own that knows until when its deliveries are kept.
    for memory in sorted(_read(settings), key=lambda memory: memory.own):
        _write(settings, replace(memory, epoch_id=epoch.id, runs=epoch.runs, lost=False))
    return epoch


def _errors(epoch: Epoch, memories: Sequence[Memory], month: str) -> list[Finding]:
    return [finding for finding in _compared(epoch, memories, own=month) if finding.severity is Severity.ERROR]


def _on_purpose(
    ledger: Ledger, epoch: Epoch, memories: Sequence[Memory], *, campaign: str, period: str, edition: str
) -> Iterator[Finding]:
    yield from purged_months.purged(ledger, campaign, period, edition)
    own = _own(memories, _month(campaign, period))
    until = own.kept_until.get(edition) if own else None
    if until and until < epoch.read_at:
        yield purged_months.expired(until, campaign, period, edition)


def _own(memories: Iterable[Memory], month: str) -> Memory | None:
    """Return what a month remembers of a ledger of this name; None: it was not mailed with one."""
    return next((memory for memory in memories if memory.own and memory.month == month), None)


def _read(settings: Settings, name: str = "*.json") -> Iterator[Memory]:
    place = folder(settings.snapshot_uri) / "ledger"
    files = place.fs
    files.invalidate_cache()  # another process may have written since we last looked
    # All at once: one file after the other takes long where each is a request.
    found = files.glob(f"{place.path}/*/{name}")
    for path, content in (files.cat(found) if found else {}).items():
        *_, ledger_id, file = str(path).split("/")
        yield _memory(file.removesuffix(".json"), content, own=ledger_id == settings.ledger_id)


def _memory(month: str, content: bytes, *, own: bool) -> Memory:
    try:
        facts = json.loads(content)
        told = facts.get("kept_until", {})
        kept_until = {str(edition): datetime.fromisoformat(until) for edition, until in told.items()}
        return Memory(
            month=month,
            epoch_id=facts["epoch"],
            runs=int(facts["runs"]),
            lost=bool(facts["lost"]),
            kept_until=kept_until,
            own=own,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        # Cut off by a full disk, or touched: what it remembered is not known, so nothing may be taken for granted.
        return Memory(month=month, epoch_id="unreadable", runs=0, lost=True, own=own)


def _write(settings: Settings, memory: Memory) -> None:
    place = _place(settings)
    place.mkdir(parents=True, exist_ok=True)
    facts: dict[str, object] = {"epoch": memory.epoch_id, "runs": memory.runs, "lost": memory.lost}
    if memory.kept_until:
        facts["kept_until"] = {edition: until.isoformat() for edition, until in memory.kept_until.items()}
    file = place / f"{memory.month}.json"
    if file.protocol not in ("", "file", "local"):
        file.write_text(json.dumps(facts), encoding="utf-8")  # an object store shows nobody half of an object
        return
    whole = Path(file.path).with_suffix(f".{uuid.uuid4().hex}.new")
    whole.write_text(json.dumps(facts), encoding="utf-8")
    whole.replace(file.path)


def _place(settings: Settings) -> ObjectStoragePath:
    return folder(settings.snapshot_uri) / "ledger" / settings.ledger_id


def _month(campaign: str, period: str) -> str:
    # Neither holds a full stop: both go into tags of the mail.
    return f"{campaign}.{period}"


def _listed(months: Sequence[str]) -> str:
    more = f" and {len(months) - _NAMED} more" if len(months) > _NAMED else ""
    return ", ".join(sorted(months)[:_NAMED]) + more
