"""Ends the sessions of a process that died: however it died, SIGKILL included, nothing of it stays behind.

The guard is this module run by itself. It holds a pipe to its owner, who names its sessions on it; when the pipe
closes, the guard ends what is left of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil

GRACE_SECONDS = 5.0
"""How long the sessions may take to end by themselves."""


def session_members(session: int, *, leader_alive: bool) -> list[psutil.Process]:
    """The live processes of a session; none if its leader is gone and its number is somebody else's now."""
    if not leader_alive and psutil.pid_exists(session):
        # The kernel reuses a session's number only when the session has no members left.
        return []
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) == session:
                process = psutil.Process(pid)
                # A dead one nobody has collected yet: in a container that may never happen.
                if process.status() != psutil.STATUS_ZOMBIE:
                    members.append(process)
    return members


def signal_process(process: psutil.Process, number: int) -> None:
    """Send a signal to a process, if it is still there."""
    with contextlib.suppress(psutil.Error, OSError):
        process.send_signal(number)


class Guard:
    """Our end of the guard: starts it with the first child, tells it which sessions are ours."""

    def __init__(self) -> None:
        self._owner = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def watch(self, session: int, stop_signal: signal.Signals) -> None:
        self._tell(f"watch {session} {int(stop_signal)}\n")

    def forget(self, session: int) -> None:
        self._tell(f"forget {session} 0\n")

    def _tell(self, line: str) -> None:
        with self._lock:
            # After a fork the pipe belongs to the parent, and so do the sessions it names.
            if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
                self._owner = os.getpid()
                # Our own search path, so that it finds psutil wherever we did.
                search_path = [str(Path(__file__).resolve().parents[1]), *filter(None, sys.path)]
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "sandbox.guard"],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(search_path)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                )
            if self._process.stdin is not None:
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()


GUARD = Guard()
"""The one guard of this process."""


def main() -> None:
    """The guard itself: note the sessions named on stdin; at its end, stop those that are left."""
    sessions: dict[int, int] = {}
    for line in sys.stdin:
        verb, session, number = line.split()
        if verb == "watch":
            sessions[int(session)] = int(number)
        else:
            sessions.pop(int(session), None)
    members = {session: session_members(session, leader_alive=True) for session in sessions}
    for session, number in sessions.items():
        for process in members[session]:
            signal_process(process, number)
    psutil.wait_procs([process for group in members.values() for process in group], GRACE_SECONDS)
    for session in sessions:
        for process in session_members(session, leader_alive=True):
            signal_process(process, signal.SIGKILL)


if __name__ == "__main__":
    main()
