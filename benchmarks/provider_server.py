"""A provider that does nothing but take ``SendEmail``, count it and answer: the same for everybody who is measured.

It runs in a process of its own, and costs as little as Python allows: a benchmark of senders must not measure it.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from types import TracebackType
from urllib.request import urlopen

from typing_extensions import Self

_CONTENT_LENGTH = b"content-length:"
_COUNT = b"GET /count"


class LeanProvider:
    """Entered it runs, left it stops. :param latency: seconds from a request to its answer."""

    def __init__(self, latency: float = 0.0) -> None:
        self._latency = latency
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        """The address to give to boto3 as ``endpoint_url``."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.provider_server", "--latency", str(self._latency)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def count(self) -> int:
        """Return how many mails were accepted so far."""
        with urlopen(f"{self.url}/count", timeout=10) as answer:  # noqa: S310 - an address of our own
            return int(answer.read())


class _Connection(asyncio.Protocol):
    """One keep-alive connection; requests come one after the other."""

    accepted = 0

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._received = b""
        self._missing = -1
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Wait until a request is whole; of its body only the length counts."""
        if self._missing < 0:
            self._received += data
            head, end, body = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            if head.startswith(_COUNT):
                self._answer(b"text/plain", b"%d" % _Connection.accepted)
                return
            self._missing, self._received = _length(head) - len(body), b""
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._missing = -1
            _Connection.accepted += 1
            answer = b'{"MessageId":"benchmark-%d"}' % _Connection.accepted
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._answer, b"application/json", answer)
            else:
                self._answer(b"application/json", answer)

    def _answer(self, kind: bytes, body: bytes) -> None:
        assert self._transport is not None
        self._received = b""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
        self._transport.write(head + body)


def _length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.index(_CONTENT_LENGTH) + len(_CONTENT_LENGTH)
    return int(lowered[start:].partition(b"\r\n")[0])


async def _serve(latency: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(latency), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    asyncio.run(_serve(parser.parse_args().latency))
