"""Everything that arrived and everything that was accepted: in memory and in an append-only file.

The file has one JSON object a line. The line is handed to the operating system before the request is
answered, so that a stand-in that is killed has lost nothing that it accepted.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

from .records import NO_ANSWER, Mail, Request, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Journal:
    """Keeps requests and mails. Safe to use from several threads; `changed` is notified on each change."""

    def __init__(self, file: Path | None = None) -> None:
        self.changed = threading.Condition()
        self._last_number = 0
        self._requests: list[Request] = []
        self._requests_to: dict[str, list[Request]] = {}
        self._mails: list[Mail] = []
        self._mails_to: dict[str, list[Mail]] = {}
        self._mail_by_id: dict[str, Mail] = {}
        self._file: BinaryIO | None = None
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: one line is one write to the operating system.
            self._file = file.open("a+b", buffering=0)
            self._load(file)

    def record(self, request: Request, mail: Mail | None = None) -> Request:
        """Keep a request, and the mail if it was accepted. Sets and returns the request's number."""
        with self.changed:
            request.number = self._last_number + 1
            self._write({"event": "request", **request.as_dict(), "mail": mail.as_dict() if mail else None})
            self._add_request(request)
            if mail:
                self._add_mail(mail)
            self.changed.notify_all()
        return request

    def accept_later(self, request: Request, mail: Mail) -> None:
        """Keep the mail of a request that was recorded earlier."""
        with self.changed:
            self._write({"event": "accepted later", "number": request.number, "mail": mail.as_dict()})
            request.accepted, request.message_id = True, mail.message_id
            self._add_mail(mail)
            self.changed.notify_all()

    def clear(self) -> None:
        """Forget all requests and mails. The file keeps its lines, and gets one that says so."""
        with self.changed:
            self._write({"event": "cleared", "at": timestamp()})
            self._forget()
            self.changed.notify_all()

    def close(self) -> None:
        """Close the file. What is in memory stays readable."""
        with self.changed:
            if self._file:
                self._file.close()
                self._file = None

    def requests(self, recipient: str | None = None) -> list[Request]:
        """All requests in the order of arrival, or those to one address."""
        with self.changed:
            return list(self._requests if recipient is None else self._requests_to.get(recipient.lower(), []))

    def mails(self, recipient: str | None = None) -> list[Mail]:
        """All accepted mails in the order of acceptance, or those to one address."""
        with self.changed:
            return list(self._mails if recipient is None else self._mails_to.get(recipient.lower(), []))

    def mail(self, message_id: str) -> Mail | None:
        """The mail with this id."""
        with self.changed:
            return self._mail_by_id.get(message_id)

    def summary(self) -> dict[str, Any]:
        """The counts: how much was asked for, accepted, refused, and which keys came more than once."""
        with self.changed:
            keys: dict[str, int] = {}
            for mail in self._mails:
                if mail.key is not None:
                    keys[mail.key] = keys.get(mail.key, 0) + 1
            refused: dict[str, int] = {}
            for request in self._requests:
                if request.error and not request.accepted:
                    name = request.error.partition(":")[0]
                    refused[name] = refused.get(name, 0) + 1
            return {
                "requests": len(self._requests),
                "accepted": len(self._mails),
                "not_answered": sum(request.status is None for request in self._requests),
                "refused": refused,
                "distinct_recipients": len(self._mails_to),
                "without_key": sum(mail.key is None for mail in self._mails),
                "keys": keys,
                "keys_with_more_than_one": sorted(key for key, count in keys.items() if count > 1),
            }

    def _write(self, event: dict[str, Any]) -> None:
        if self._file:
            line = memoryview(json.dumps(event, separators=(",", ":")).encode() + b"\n")
            while line:
                line = line[self._file.write(line) :]

    def _add_request(self, request: Request) -> None:
        self._last_number = request.number
        self._requests.append(request)
        for recipient in dict.fromkeys(request.recipients):
            self._requests_to.setdefault(recipient, []).append(request)

    def _add_mail(self, mail: Mail) -> None:
        self._mails.append(mail)
        self._mail_by_id[mail.message_id] = mail
        for recipient in dict.fromkeys(mail.recipients):
            self._mails_to.setdefault(recipient, []).append(mail)

    def _forget(self) -> None:
        for content in (self._requests, self._mails):
            content.clear()
        for index in (self._requests_to, self._mails_to, self._mail_by_id):
            index.clear()

    def _load(self, file: Path) -> None:
        assert self._file is not None
        self._file.seek(0)
        self._replay(self._whole_lines(self._file), file)

    def _whole_lines(self, stream: BinaryIO) -> Iterable[bytes]:
        """The lines of the file. A last line that was cut off by a kill was never answered: it goes."""
        end_of_last_whole_line = 0
        with open(stream.fileno(), "rb", closefd=False) as buffered:
            for line in buffered:
                if not line.endswith(b"\n"):
                    break
                end_of_last_whole_line += len(line)
                yield line
        stream.truncate(end_of_last_whole_line)

    def _replay(self, lines: Iterable[bytes], file: Path) -> None:
        by_number: dict[int, Request] = {}
        for number, line in enumerate(lines, start=1):
            try:
                event = json.loads(line)
                kind = event.pop("event")
                mail = event.pop("mail", None)
                if kind == "request":
                    event["status"] = None if event["status"] == NO_ANSWER else event["status"]
                    request = by_number[event["number"]] = Request(**event)
                    self._add_request(request)
                elif kind == "accepted later":
                    request = by_number[event["number"]]
                    request.accepted, request.message_id = True, mail["message_id"]
                elif kind == "cleared":
                    self._forget()
                else:
                    raise ValueError(f"unknown event {kind!r}")  # noqa: TRY301
                if mail:
                    self._add_mail(Mail(**mail))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{file}, line {number}: not a line of this journal ({error})") from error
