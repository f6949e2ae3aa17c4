"""The stand-in's own API under `/_standin/`: what happened so far, and what should happen next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import SesError, bad_request, not_found
from .fields import json_body
from .wire import HttpRequest, Reply, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from .behaviours import BehaviourBook
    from .events import EventStream
    from .journal import Journal
    from .limits import SendingLimits

PREFIX = "_standin"


class Admin:
    """Answers the admin requests. Errors have the shape of the service's errors."""

    def __init__(self, journal: Journal, behaviours: BehaviourBook, events: EventStream, limits: SendingLimits) -> None:
        self._journal = journal
        self._behaviours = behaviours
        self._events = events
        self._limits = limits
        self._routes: dict[tuple[str, ...], Callable[[HttpRequest], dict[str, Any]]] = {
            ("GET", "health"): self._health,
            ("GET", "summary"): self._summary,
            ("GET", "requests"): self._requests,
            ("GET", "mails"): self._mails,
            ("DELETE", "mails"): self._forget,
            **{(method, "behaviours"): self._change_behaviours for method in ("GET", "PUT", "DELETE")},
            **{(method, "fates"): self._change_fates for method in ("GET", "PUT", "DELETE")},
        }

    def handle(self, request: HttpRequest) -> Reply:
        """Answer one request."""
        try:
            return json_reply(self._answer(request))
        except SesError as error:
            return error.reply()

    def _answer(self, request: HttpRequest) -> dict[str, Any]:
        path = request.segments[1:]
        operation = self._routes.get((request.method, *path))
        if operation:
            return operation(request)
        mail = self._journal.mail(path[1]) if request.method == "GET" and path[0] == "mails" and path[1:] else None
        if mail is None or len(path) > 2:
            raise not_found(f"There is no {request.method} {request.path} in the admin API.")
        return mail.as_dict()

    def _health(self, _: HttpRequest) -> dict[str, Any]:
        return {"status": "ok"}

    def _summary(self, _: HttpRequest) -> dict[str, Any]:
        events = {"events_published": self._events.published, "events_given_up": self._events.given_up}
        return {**self._journal.summary(), **events}

    def _requests(self, request: HttpRequest) -> dict[str, Any]:
        return {"requests": [entry.as_dict() for entry in self._journal.requests(request.query.get("recipient"))]}

    def _mails(self, request: HttpRequest) -> dict[str, Any]:
        return {"mails": [mail.as_dict() for mail in self._journal.mails(request.query.get("recipient"))]}

    def _forget(self, _: HttpRequest) -> dict[str, Any]:
        self._journal.clear()
        self._limits.reset()
        return {}

    def _change_behaviours(self, request: HttpRequest) -> dict[str, Any]:
        if request.method == "DELETE":
            self._behaviours.clear()
        elif request.method == "PUT":
            try:
                self._behaviours.put_all(json_body(request.body))
            except (ValueError, TypeError) as error:
                raise bad_request(str(error)) from None
        return {"behaviours": self._behaviours.remaining()}

    def _change_fates(self, request: HttpRequest) -> dict[str, Any]:
        if request.method == "DELETE":
            self._events.clear_fates()
        elif request.method == "PUT":
            try:
                self._events.put_fates(json_body(request.body))
            except (ValueError, TypeError) as error:
                raise bad_request(str(error)) from None
        return {"fates": self._events.fates()}
