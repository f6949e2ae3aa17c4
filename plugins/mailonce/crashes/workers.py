"""The matrix's side of the conversation with the fork server: start a worker, signal it, wait for its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from mailonce.crashes.orders import Ended, Order, line

PATIENCE = 60.0
"""Seconds in which whatever is waited for must have happened: far more than it takes."""


class Worker:
    """One process at work.

    :param workers: to which it belongs. :param number: what they call it.
    """

    def __init__(self, workers: Workers, number: int) -> None:
        self._workers = workers
        self._number = number
        self.started: Future[int] = Future()
        """Its process id, once it has one."""
        self.ended: Future[Ended] = Future()
        """How it ended, once it has."""

    def tell(self, signal: int) -> None:
        """Send it a signal; after its end, nothing happens."""
        self._workers.write(tell=self._number, signal=signal)

    def wait(self, timeout: float = PATIENCE) -> Ended:
        """Wait for its end.

        :raises TimeoutError: it goes on.
        """
        return self.ended.result(timeout)


class Workers:
    """The worker processes. Entered, the fork server starts; left, none of them lives.

    :param log: file for what they print and log.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._numbers = count(1)
        self._alive: dict[int, Worker] = {}
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        # What this process can import, so can they.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "mailonce.crashes.fork_server"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment,
                start_new_session=True,  # Ctrl-C is for us alone, so that what was begun is tidied up
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self._server,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        assert self._reader
        assert self._server.stdin
        self._server.stdin.close()  # it ends its workers, and then itself
        try:
            self._server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._reader.join()

    def start(self, order: Order) -> Worker:
        """Start a worker."""
        with self._lock:
            number = next(self._numbers)
            worker = self._alive[number] = Worker(self, number)
        self.write(start=number, order=order.as_json())
        return worker

    def write(self, **values: object) -> None:
        """Write one line to the fork server.

        :raises RuntimeError: it is gone; its log says why.
        """
        assert self._server
        assert self._server.stdin
        with self._lock:
            try:
                self._server.stdin.write(line(**values))
                self._server.stdin.flush()
            except OSError as error:
                raise RuntimeError(f"the worker processes cannot be started:\n{self.last_words()}") from error

    def last_words(self) -> str:
        """Return the end of what the workers logged."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def _read(self, server: subprocess.Popen[bytes]) -> None:
        assert server.stdout
        for text in server.stdout:
            values = json.loads(text)
            if "started" in values:
                self._alive[values["number"]].started.set_result(values["started"])
            else:
                self._alive.pop(values["number"]).ended.set_result(Ended(**values["ended"]))
        for worker in list(self._alive.values()):
            gone = RuntimeError(f"the fork server is gone:\n{self.last_words()}")
            for future in (worker.started, worker.ended):
                if not future.done():
                    future.set_exception(gone)
