"""The provider of the matrix: a server on this machine that takes ``SendEmail`` as Amazon SES does, and counts.

Its log is the judge. The real provider of the package speaks to it through a real socket; no mail goes anywhere.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from typing_extensions import Self

from mailonce.crashes.points import Treatment

SEND_EMAIL = "/v2/email/outbound-emails"
KEY_TAG = "mailonce_key"

_REFUSALS = {
    Treatment.THROTTLE: (HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequestsException", "Maximum sending rate exceeded."),
    Treatment.REJECT: (HTTPStatus.BAD_REQUEST, "MessageRejected", "Email address is on the suppression list."),
}


class CountingProvider:
    """Takes mails until it is left, on 127.0.0.1. Every request is accepted, but for what :meth:`treat` says."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._treatments: dict[str, Treatment] = {}
        self._mails: dict[str, list[str]] = defaultdict(list)
        self._arrivals: dict[str, Future[None]] = defaultdict(Future)
        self._closing = threading.Event()
        self._server = _Server(self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The address to give to boto3 as ``endpoint_url``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def treat(self, key: str, treatment: Treatment) -> None:
        """Say what becomes of the first request for a key."""
        if treatment is not Treatment.NOT_ASKED:
            self._treatments[key] = treatment

    def mails(self, key: str) -> Sequence[str]:
        """Return the message ids of the mails that were accepted for a key."""
        with self._lock:
            return tuple(self._mails[key])

    def arrival(self, key: str) -> Future[None]:
        """Return what is done once a request for a key is here, and dealt with but for the answer."""
        with self._lock:
            return self._arrivals[key]

    def take(self, request: dict[str, Any]) -> tuple[HTTPStatus, str, dict[str, str]] | None:
        """Deal with one request. :return: status, name of the error, and body of the answer; None: there is none."""
        key = next(tag["Value"] for tag in request["EmailTags"] if tag["Name"] == KEY_TAG)
        with self._lock:
            treatment = self._treatments.pop(key, Treatment.ACCEPT)
            message_id = f"crash-test-{uuid.uuid4()}"
            if treatment.accepts:
                self._mails[key].append(message_id)
            arrival = self._arrivals[key]
        if not arrival.done():
            arrival.set_result(None)
        if treatment in _REFUSALS:
            status, name, text = _REFUSALS[treatment]
            return status, name, {"message": text}
        return (HTTPStatus.OK, "", {"MessageId": message_id}) if treatment is Treatment.ACCEPT else None

    def close(self) -> None:
        """End the connections that wait for an answer; they get none."""
        self._closing.set()

    def wait_until_closed(self) -> None:
        """Wait for :meth:`close`."""
        self._closing.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, provider: CountingProvider) -> None:
        self.provider = provider
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which can take seconds."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients are killed in the middle of their requests: that is what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120.0
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the client died on the way: such a request was never made
            self.close_connection = True
        elif self.path != SEND_EMAIL:
            self._answer(HTTPStatus.NOT_FOUND, "NotFoundException", {"message": f"no operation {self.path}"})
        elif answer := self.server.provider.take(json.loads(body)):
            self._answer(*answer)
        else:
            self.server.provider.wait_until_closed()
            self.close_connection = True

    def _answer(self, status: HTTPStatus, error: str, body: dict[str, str]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        if error:
            self.send_header("x-amzn-ErrorType", error)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are counted, not printed."""
