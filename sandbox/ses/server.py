"""The HTTP server: real sockets, so that it can drop, reset, hang and cut off its answers."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .errors import SesError, bad_request
from .wire import Ending, HttpRequest, Reply

log = logging.getLogger(__name__)
MAX_BODY = 64 * 1024 * 1024
IDLE_SECONDS = 120.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER, switched on, with no time to linger: closing sends a reset."""
Application = Callable[[HttpRequest], Reply]


class Handler(BaseHTTPRequestHandler):
    """Serves one connection: reads each request whole, lets the application reply, ends it as told."""

    protocol_version = "HTTP/1.1"
    server_version = "ses-standin"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    server: SandboxServer

    def answer(self) -> None:
        """Handle one request, whatever its method."""
        try:
            request = self.read_request()
        except SesError as error:
            self.close_connection = True
            reply = error.reply()
        else:
            if request is None:
                return
            reply = self.server.reply_to(request)
        self.send_reply(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = answer  # noqa: N815

    def read_request(self) -> HttpRequest | None:
        """The request with its body, or None if the connection ended before the body did."""
        if self.headers.get("Transfer-Encoding"):
            raise SesError("BadRequestException", "A Content-Length is required.", HTTPStatus.LENGTH_REQUIRED)
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise bad_request("Content-Length is not a number.")
        if int(length) > MAX_BODY:
            raise SesError("BadRequestException", "The request is too large.", 413)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        address = urlsplit(self.path)
        query: dict[str, str] = {}
        for name, value in parse_qsl(address.query):
            query[name] = f"{query[name]} {value}" if name in query else value
        return HttpRequest(
            method=self.command,
            path=address.path,
            segments=tuple(unquote(segment) for segment in address.path.split("/")[1:]),
            query=query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            client_address=str(self.client_address[0]),
        )

    def send_reply(self, reply: Reply) -> None:
        """Wait if asked to, then put the reply on the socket, or end the connection without it."""
        delay = reply.delay + self.server.latency()
        if delay > 0 and not self.server.wait(self.connection, delay):
            self.close_connection = True
            return
        if reply.ending in (Ending.DROP, Ending.HANG):
            self.close_connection = True
        elif reply.ending is Ending.RESET:
            self.close_connection = True
            self.server.reset_at_end(self.connection)
        else:
            body = reply.body
            if reply.ending is Ending.TRUNCATE:
                self.close_connection = True
                body = body[: len(body) // 2]
            head = self.head_of(reply)
            self.wfile.write(head if self.command == "HEAD" else head + body)

    def head_of(self, reply: Reply) -> bytes:
        """The status line and the headers."""
        lines = [
            f"HTTP/1.1 {int(reply.status)} {HTTPStatus(reply.status).phrase}",
            f"Date: {self.date_time_string()}",
            f"Content-Type: {reply.content_type}",
            f"Content-Length: {len(reply.body)}",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]
        if self.close_connection:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def handle(self) -> None:
        """Serve the connection; a client that goes away is nothing to report."""
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are in the journal; the log has them only at level DEBUG."""
        log.debug(format, *args)


class SandboxServer(ThreadingHTTPServer):
    """One thread per connection. Stops at once, even while connections are idle or held."""

    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, host: str, port: int, application: Application, latency: Callable[[], float]) -> None:
        self._application = application
        self.latency = latency
        self._connections: set[socket.socket] = set()
        self._to_reset: set[socket.socket] = set()
        self._lock = threading.Lock()
        # Everybody who waits watches the first of the two; closing the second wakes them all.
        self._stop_seen, self._stop_sign = socket.socketpair()
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def reply_to(self, request: HttpRequest) -> Reply:
        """The application's reply; an error of the stand-in itself becomes an honest 500."""
        try:
            return self._application(request)
        except Exception as error:
            log.exception("the stand-in failed at %s %s", request.method, request.path)
            return SesError("StandInFailure", f"The stand-in itself failed: {error!r}", 500).reply()

    def wait(self, connection: socket.socket, seconds: float) -> bool:
        """Wait; False if the client went away or the server stops before the time is over."""
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        poll.register(self._stop_seen, select.POLLIN)
        return not poll.poll(seconds * 1000)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, to be able to end it when the server stops."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The connection has ended."""
        with self._lock:
            self._connections.discard(request)
            reset = request in self._to_reset
            self._to_reset.discard(request)
        if reset:
            self.close_request(request)  # without the orderly shutdown that would come before a reset
        else:
            super().shutdown_request(request)

    def reset_at_end(self, connection: socket.socket) -> None:
        """Make the end of this connection a reset."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        with self._lock:
            self._to_reset.add(connection)

    def handle_error(self, _: Any, client_address: Any) -> None:
        """Report what went wrong on one connection; the others go on."""
        log.warning("connection from %s failed", client_address, exc_info=sys.exc_info())

    def stop(self) -> None:
        """Stop listening and end every connection."""
        self.shutdown()
        self._stop_sign.close()
        self.server_close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):  # it may just have ended by itself
                connection.shutdown(socket.SHUT_RDWR)
