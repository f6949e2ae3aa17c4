"""Child processes which cannot outlive us: own session, output in a log file, readiness probe, clean stop.

Every child leads a session of its own, and stopping it ends the whole session: Airflow moves its tasks into
process groups of their own, so signalling one group would leave them behind. A small guard process (this
module run by itself) holds a pipe to us. When that pipe closes, however we died, it ends what is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from typing_extensions import Self

if TYPE_CHECKING:
    from types import FrameType, TracebackType

Probe = Callable[[], bool]

_LOG_TAIL_LINES = 40
_KILL_SECONDS = 10.0
_GUARD_GRACE_SECONDS = 5.0


class ProcessFailedError(RuntimeError):
    """A child exited, or did not become ready in time; the message ends with the tail of its log."""


class ChildProcess:
    """One program in a session of its own. Usable as a context manager: entered it starts, left it stops.

    ``environment`` replaces the inherited one, ``user`` (a name; needs root) runs the program as that
    account, ``stop_signal`` is what asks it to end in good order.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self.stop_signal = stop_signal
        self._command = [str(part) for part in command]
        self._environment = None if environment is None else dict(environment)
        self._directory = directory
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id, which is also its session's. Raises RuntimeError before the first start."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process.pid

    @property
    def was_started(self) -> bool:
        """Whether it was ever started."""
        return self._process is not None

    @property
    def alive(self) -> bool:
        """Whether the program itself (not merely a descendant of it) is running."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the program; its output is appended to the log. Raises RuntimeError if it already runs."""
        if self.alive:
            raise RuntimeError(f"{self.name} is already running")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._directory,
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
            )
        _guard.watch(self._process.pid, self.stop_signal)

    def wait_until(self, probe: Probe, timeout: float, interval: float = 0.1) -> None:
        """Return once the probe is true. Raises ProcessFailedError if the program exits or time runs out."""
        deadline = time.monotonic() + timeout
        while not probe():
            self.check()
            if time.monotonic() > deadline:
                raise ProcessFailedError(f"{self.name} was not ready after {timeout:g} s\n{self.log_tail()}")
            time.sleep(interval)
        self.check()

    def check(self) -> None:
        """Raise ProcessFailedError if the program has exited."""
        if not self.alive:
            code = None if self._process is None else self._process.returncode
            raise ProcessFailedError(f"{self.name} exited with code {code}\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines written since the latest start, under the path of the log."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(self._log_start)
                lines = stream.read().decode(errors="replace").splitlines()
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join([f"--- end of {self.log} ---", *lines[-_LOG_TAIL_LINES:]])

    def stop(self, timeout: float = 10.0, stop_signal: signal.Signals | None = None) -> None:
        """Ask the session to end, wait, and kill what is left after ``timeout`` seconds. Safe to repeat."""
        stop_all([self], timeout, stop_signal)

    def kill(self, *, whole_session: bool = True) -> None:
        """SIGKILL at once: the whole session, or only the program, which leaves its children running."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        deadline = time.monotonic() + _KILL_SECONDS
        # Again and again: one of them may just have started another.
        while whole_session and (left := self.members()) and time.monotonic() < deadline:
            for process in left:
                _signal(process, signal.SIGKILL)
            psutil.wait_procs(left, timeout=0.2)

    def members(self) -> list[psutil.Process]:
        """Every live process of the session, also those whose own parent is gone."""
        return [] if self._process is None else _session_members(self.pid, leader_alive=self.alive)


def stop_all(
    children: Iterable[ChildProcess], timeout: float = 10.0, stop_signal: signal.Signals | None = None
) -> None:
    """Stop several children side by side: signal all sessions first, wait together, then SIGKILL the rest."""
    started = [child for child in children if child.was_started]
    for child in started:
        if child.alive:
            # The program before its helpers: most programs end their own helpers in better order.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, stop_signal or child.stop_signal)
    deadline = time.monotonic() + timeout
    while any(child.alive for child in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    for child in started:
        child.kill()
        _guard.forget(child.pid)


def free_port() -> int:
    """A TCP port on 127.0.0.1 which is free now, and which this process was not given before."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
            candidate.bind(("127.0.0.1", 0))
            port = int(candidate.getsockname()[1])
        if port not in _ports_given:
            _ports_given.add(port)
            return port


def tcp_open(port: int, host: str = "127.0.0.1") -> Probe:
    """A probe which is true when something accepts connections on that port."""

    def probe() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return True
        return False

    return probe


def http_ok(url: str) -> Probe:
    """A probe which is true when a GET of the URL answers 200; asked directly, never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def probe() -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError), opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    return probe


def exit_on_sigterm() -> None:
    """Turn SIGTERM into SystemExit, so that ``with`` blocks end in order. Call it from the main thread."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


_ports_given: set[int] = set()


def _session_members(session: int, *, leader_alive: bool) -> list[psutil.Process]:
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


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.Error, OSError):
        process.send_signal(number)


class _Guard:
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
                    [sys.executable, "-m", "sandbox.processes"],
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


_guard = _Guard()


def _guard_main() -> None:
    """The guard itself: note the sessions named on stdin; at its end, stop those that are left."""
    sessions: dict[int, int] = {}
    for line in sys.stdin:
        verb, session, number = line.split()
        if verb == "watch":
            sessions[int(session)] = int(number)
        else:
            sessions.pop(int(session), None)
    members = {session: _session_members(session, leader_alive=True) for session in sessions}
    for session, number in sessions.items():
        for process in members[session]:
            _signal(process, number)
    psutil.wait_procs([process for group in members.values() for process in group], _GUARD_GRACE_SECONDS)
    for session in sessions:
        for process in _session_members(session, leader_alive=True):
            _signal(process, signal.SIGKILL)


if __name__ == "__main__":
    _guard_main()
