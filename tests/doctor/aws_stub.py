"""A server that answers AWS's operations as a test says: for what no stand-in does, such as refusing."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from typing_extensions import Self


@dataclass
class Reply:
    body: str = "{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def refusal(code: str, status: int = 403) -> Reply:
    """An error, in the shape that SES v2 gives it."""
    return Reply(json.dumps({"message": "no"}), status, {"x-amzn-ErrorType": code})


def query_refusal(code: str, status: int = 403) -> Reply:
    """An error, in the shape that STS and IAM give it."""
    return Reply(f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>", status)


class AwsStub:
    """Answers by what the request names: ``GET /v2/email/account``, or the action of STS, IAM and SQS.

    ``answers`` holds a reply, or several for one call after another. ``asked`` holds the requests: names and fields.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Reply | list[Reply]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                name = f"{self.command} {self.path}"
                fields: dict[str, Any] = {}
                if target := self.headers.get("X-Amz-Target"):
                    name, fields = target.rpartition(".")[2], json.loads(body)
                elif "Action=" in body:
                    fields = {key: value[0] for key, value in parse_qs(body).items()}
                    name = fields["Action"]
                stub.asked.append((name, fields))
                told = stub.answers.get(name, refusal("UnknownOperationException", 404))
                reply = told.pop(0) if isinstance(told, list) else told
                self.send_response_only(reply.status)
                for header, value in {"Date": self.date_time_string(), **reply.headers}.items():
                    self.send_header(header, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body.encode())

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
