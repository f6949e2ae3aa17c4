"""What the journals of dead processes prove, written into the ledger. See :mod:`mailonce.journal`."""

from __future__ import annotations

import fcntl
import json
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from mailonce.delivery import Conclusion, Receipt
from mailonce.journal import ACCEPTED, CLAIMING, DONE, FAILED, LEAVING, boot_id
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from mailonce.tokens import same_mail

log = logging.getLogger(__name__)

YOUNG = timedelta(seconds=5)
"""Age up to which a dead process's journal is left alone: its last claim may still be on the way to the ledger."""


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A claim about which a dead process's journal tells more than the ledger knows.

    :param outcome: what is proved: a receipt, or a conclusion; None: nothing.
    """

    key: str
    token: str
    outcome: Receipt | Conclusion | None


def unfinished(lines: Iterable[bytes], *, boot: str) -> Iterator[Unfinished]:
    """Yield what a dead process left unfinished. Pure.

    :param lines: of its journal. :param boot: what :func:`boot_id` says now: after a restart of the machine the last
        lines may be lost, and only what *is* there counts.
    """
    header, *facts = [fact for line in lines if (fact := _fact(line))] or [["journal", ""]]
    complete = bool(boot) and header[:2] == ["journal", boot]
    latest: dict[str, list[Any]] = {}
    for fact in facts:
        latest[fact[2]] = fact
    for token, (what, key, _, *rest) in latest.items():
        if what != DONE:
            yield Unfinished(key=key, token=token, outcome=_outcome(what, key, rest, complete=complete))


def _outcome(what: str, key: str, rest: list[Any], *, complete: bool) -> Receipt | Conclusion | None:
    if what == ACCEPTED:
        return Receipt(key=key, message_id=rest[0], evidence="journal")
    if what == FAILED:
        return Conclusion(state=State(rest[0]), error=rest[1])
    if what == LEAVING:
        return Conclusion(state=State.IN_DOUBT, error="its process died while the request was on the wire")
    if what == CLAIMING and complete:
        return Conclusion(state=State.RELEASED, error="its process died before the request left: proved by its journal")
    return None


def recover(directory: Path, ledger: Ledger, *, young: timedelta = YOUNG) -> int:
    """Write into the ledger what the dead processes of this machine have left in their journals.

    Safe to be called by many at once, and at any time: a living process holds its journal's lock.

    :param young: how long a journal must have been left alone.
    :return: how many claims this was about.
    :raises mailonce.errors.LedgerError: the ledger is away; the journals stay for the next who comes by.
    """
    found = 0
    for path in sorted(directory.glob("*.jsonl")) if directory.is_dir() else ():
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - path.stat().st_mtime < young.total_seconds():
                continue
            for one in unfinished(file, boot=boot_id()):
                if one.outcome:
                    found += 1
                    _tell(one, one.outcome, ledger)
            path.unlink()
    return found


def _tell(one: Unfinished, outcome: Receipt | Conclusion, ledger: Ledger) -> None:
    """Write one outcome; whatever the row says by now, this changes only what is still this claim's."""
    if isinstance(outcome, Receipt):
        conclusion = Conclusion(state=State.SENT, message_id=outcome.message_id)
        entry = ledger.conclude(one.key, one.token, conclusion)
        known = entry is not None and (
            entry.has_message(outcome.message_id) or same_mail(entry.message_id, outcome.message_id, one.token)
        )
        if not known:
            entry = ledger.witness(outcome)
        told = f"it was accepted as message {outcome.message_id}"
    else:
        entry = ledger.conclude(one.key, one.token, outcome)
        told = str(outcome.error)
    if entry:
        log.warning("%s: %s. It is %s now", entry.identity.recipient_id, told, entry.state.value)
    else:
        log.warning("key %s: %s. The ledger has no such delivery (any more)", one.key, told)


def _fact(line: bytes) -> list[Any] | None:
    """Return one line's fact; None of a line that was cut off: its writer died before it could act on it."""
    try:
        fact = json.loads(line)
    except ValueError:
        return None
    return fact if line.endswith(b"\n") and isinstance(fact, list) else None
