"""The process that the workers are forked from: it has imported everything once, so that each of them starts at once.

Run as ``python -m mailonce.crashes.fork_server``, by :class:`mailonce.crashes.workers.Workers`. It reads one JSON object a
line and writes one a line::

    {"start": 7, "order": {…}}   ▶    {"number": 7, "started": pid}   …   {"number": 7, "ended": {…}}
    {"tell": 7, "signal": 9}

It has no threads, so that forking it is safe; and it is its workers' parent, so that a signal goes to the right process:
no other can have the number of one that its parent has not yet waited for.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from mailonce.crashes.orders import Ended, Order, line
from mailonce.crashes.worker import ses_client, work


class ForkServer:
    """Starts workers, and says how they ended.

    :param orders: file that the lines are read from. :param answers: file that they are written to.
    """

    def __init__(self, orders: int, answers: int) -> None:
        self._orders = orders
        self._answers = answers
        self._read = b""
        self._pids: dict[int, int] = {}
        self._said: dict[int, bytes] = {}
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Do as ordered until there are no orders any more; then end the workers that are left."""
        self._selector.register(self._orders, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fd != self._orders:
                    self._hear(key.fd, key.data)
                elif not self._obey():
                    for pid in self._pids.values():
                        os.kill(pid, signal.SIGKILL)
                    return

    def _obey(self) -> bool:
        read = os.read(self._orders, 1 << 20)
        *lines, self._read = (self._read + read).split(b"\n")
        for text in lines:
            values = json.loads(text)
            if "start" in values:
                self._start(values["start"], Order.from_json(values["order"]))
            elif values["tell"] in self._pids:
                os.kill(self._pids[values["tell"]], values["signal"])
        return bool(read)

    def _start(self, number: int, order: Order) -> None:
        ses_client(order.provider)  # so that each worker finds it made
        order.ledger.load()
        receiving, sending = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(receiving)
            _live(order, sending)
        os.close(sending)
        self._pids[number] = pid
        self._said[number] = b""
        self._selector.register(receiving, selectors.EVENT_READ, number)
        self._answer(number=number, started=pid)

    def _hear(self, receiving: int, number: int) -> None:
        if heard := os.read(receiving, 1 << 20):
            self._said[number] += heard
            return
        # The end of the pipe is the end of the process: nobody else holds its other side.
        self._selector.unregister(receiving)
        os.close(receiving)
        _, status = os.waitpid(self._pids.pop(number), 0)
        said = json.loads(self._said.pop(number) or b"{}")
        ended = Ended(signal=os.WTERMSIG(status)) if os.WIFSIGNALED(status) else Ended(**said)
        self._answer(number=number, ended=asdict(ended))

    def _answer(self, **values: Any) -> None:
        text = line(**values)
        while text:
            text = text[os.write(self._answers, text) :]


def _live(order: Order, sending: int) -> None:
    """Be a worker; never returns."""
    code = 1
    try:
        ended = work(order)
        os.write(sending, json.dumps(asdict(ended)).encode())
        code = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        with suppress(OSError):
            text = traceback.format_exc(limit=-3)
            os.write(sending, json.dumps(asdict(Ended(outcome="Fault", detail=text))).encode())
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Serve the orders on standard input."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever prints, prints to where errors go
    ForkServer(0, answers).serve()


if __name__ == "__main__":
    main()
