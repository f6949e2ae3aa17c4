"""Child processes which cannot outlive us: own session, output in a log file, readiness probe, clean stop.

Every child leads a session of its own, and stopping it ends the whole session: Airflow moves its tasks into
process groups of their own, so signalling one group would leave them behind. What is left when we die, however we
die, a guard ends: see :mod:`sandbox.guard`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from typing_extensions import Self

from sandbox.guard import GUARD, session_members, signal_process

if TYPE_CHECKING:
    from types import FrameType, TracebackType

Probe = Callable[[], bool]

_LOG_TAIL_LINES = 40
_KILL_SECONDS = 10.0


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
        GUARD.watch(self._process.pid, self.stop_signal)

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
                signal_process(process, signal.SIGKILL)
            psutil.wait_procs(left, timeout=0.2)

    def members(self) -> list[psutil.Process]:
        """Every live process of the session, also those whose own parent is gone."""
        return [] if self._process is None else session_members(self.pid, leader_alive=self.alive)


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
        GUARD.forget(child.pid)


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
