"""A provider that never answers as it should, on this machine: what a client does then shows how often it asks."""

from __future__ import annotations

import threading
from enum import Enum
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType

from typing_extensions import Self


class Trouble(Enum):
    """What the server does to each request that it has read to its end."""

    UNAVAILABLE = "the answer is 503"
    HANGING_UP = "the connection is closed without an answer"


class CountingServer:
    """Counts the requests that arrive whole: an unfinished one is accepted by nobody. Listens on 127.0.0.1 only, until the block ends."""

    def __init__(self) -> None:
        self.trouble = Trouble.UNAVAILABLE
        self.requests = 0
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="mailonce-doctor", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def _handler(counter: CountingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 1

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            counter.requests += 1
            self.close_connection = True
            if counter.trouble is Trouble.UNAVAILABLE:
                self.wfile.write(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
            """Say nothing: what it counts is told."""

    return Handler
