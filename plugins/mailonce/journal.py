"""What a process was doing with its claims, kept on its machine's disk for whoever comes after its death.

A ledger cannot tell a process that was killed just before its request left from one that was killed just after. The
machine can: each process writes a line before it claims, one in the last moment before a request leaves, and one
when the answer has come. The kernel keeps what was written when a process is killed, and releases its lock on the
file, which no pause and no signal can fake. So whoever gets the lock knows that the owner is dead, and reads:

- claimed, and no more: nothing left. Proved, so the key is free again.
- left, and no more: on the wire when it died. In doubt.
- answered: what the provider said, whatever became of the ledger.

:mod:`mailonce.recovery` is that reader. It is evidence, and never needed for safety: on another machine, after a restart of this one, or without a disk,
nothing is concluded from what is *not* there, and the claim is in doubt once its deadline has passed.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import uuid
from contextlib import suppress
from pathlib import Path

from mailonce.delivery import Claim, Conclusion
from mailonce.errors import NeverLeft

log = logging.getLogger(__name__)

CLAIMING, LEAVING, ACCEPTED, FAILED, DONE = "claiming", "leaving", "accepted", "failed", "done"


class Journal:
    """One process's journal. Safe to use from many threads; without a directory it writes nothing.

    :param directory: where the journals of this machine's processes are; made if it does not exist. None: no journal.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._open: set[str] = set()
        self._idle = threading.Condition()
        self._writing = 0
        self._done: list[bytes] = []
        self._closed = False
        self._file: int | None = None
        self._path: Path | None = None
        if directory is not None and boot_id():
            self._path = directory / f"{os.getpid()}-{uuid.uuid4().hex}.jsonl"
            self._file = self._create(self._path)

    def claiming(self, claim: Claim) -> None:
        """Write that a claim is about to be made."""
        self._open.add(claim.token)
        self._write_if_possible(CLAIMING, claim.delivery.key, claim.token)

    def leaving(self, claim: Claim) -> None:
        """Write that the claim's request leaves now. Nothing may leave before this has returned.

        :raises mailonce.errors.NeverLeft: it cannot be written; the request must not leave, or the next reader would
            take it for one that never did.
        """
        self._open.add(claim.token)  # of one who only asks about a claim, no line came before this one
        self._write(LEAVING, claim.delivery.key, claim.token)

    def accepted(self, claim: Claim, message_id: str) -> None:
        """Write that the provider accepted the mail."""
        self._write_if_possible(ACCEPTED, claim.delivery.key, claim.token, message_id)

    def failed(self, claim: Claim, conclusion: Conclusion) -> None:
        """Write what a failure proved."""
        self._write_if_possible(FAILED, claim.delivery.key, claim.token, conclusion.state.value, conclusion.error)

    def done(self, claim: Claim) -> None:
        """Write that the ledger knows everything about this claim: with the next line, because it only saves readers work."""
        self._open.discard(claim.token)
        self._done.append(_line(DONE, claim.delivery.key, claim.token))

    def close(self) -> None:
        """End the journal. It stays on the disk if the ledger does not know everything that it tells.

        From now on nothing may leave: with the lock gone, others conclude from what is not written.
        """
        if self._file is None or self._path is None:
            return
        if self._open:
            self._write_if_possible()
        with self._idle:
            self._closed = True
            # What is being written is on the disk before others can get at the file; what comes later is refused.
            self._idle.wait_for(lambda: not self._writing)
            if not self._open:
                self._path.unlink(missing_ok=True)
            os.close(self._file)  # releases the lock
            self._file = None

    def _create(self, path: Path) -> int | None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Under another name until it is locked, so that nobody takes it for a dead process's.
            hidden = path.with_suffix(".new")
            file = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(file, _line("journal", boot_id()))
            hidden.rename(path)
        except OSError as error:
            log.warning(
                "no journal in %s (%s): should this process be killed, its mails in flight are in doubt",
                path.parent, error,
            )  # fmt: skip
            return None
        return file

    def _write(self, *fact: str | None) -> None:
        with self._idle:
            if self._closed:
                raise NeverLeft("the task has ended and its journal is closed, so nothing is sent any more.")
            if self._file is None:
                return
            lines = b"".join(self._done) + (_line(*fact) if fact else b"")
            self._done.clear()
            self._writing += 1
        # Not under the lock: all threads would wait for the disk, and for whoever runs while this one waits for it.
        try:
            # One call appends all or, when the disk is full, a part: nothing of another thread comes in between.
            written = os.write(self._file, lines)
        except OSError as error:
            raise NeverLeft(f"the journal cannot be written, so nothing is sent ({error}).") from error
        finally:
            with self._idle:
                self._writing -= 1
                self._idle.notify_all()
        if written != len(lines):
            raise NeverLeft("the journal cannot be written, so nothing is sent (is the disk full?).")

    def _write_if_possible(self, *fact: str | None) -> None:
        with suppress(NeverLeft):  # what is not written here is in doubt, at worst
            self._write(*fact)


def boot_id() -> str:
    """Return what names the time since this machine was started; empty where nothing does: there are no journals then."""
    try:
        # See proc_sys_kernel(5): "regenerated each time the system boots".
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _line(*fact: str | None) -> bytes:
    # Begins with an end of line too: should the line before have been cut off by a full disk, this one is still whole.
    return b"\n" + json.dumps(fact).encode() + b"\n"
