"""Finds the operation of a request to the SES v2 API and runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .account_operations import AccountOperations, Call
from .errors import SesError
from .fields import json_body
from .signature import check_signature_age
from .wire import HttpRequest, Reply, json_reply

if TYPE_CHECKING:
    from .outbox import Outbox, Settings
    from .template_operations import TemplateOperations

PREFIX = ("v2", "email")
Operation = Callable[[Call], dict[str, Any]]


class Api:
    """The routes of the service. A path part in braces stands for any text and gets that name."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        account: AccountOperations,
        templates: TemplateOperations,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._routes: list[tuple[str, tuple[str, ...], Operation]] = [
            (method, tuple(path.split("/")), operation)
            for method, path, operation in [*account.routes(), *templates.routes()]
        ]

    def handle(self, request: HttpRequest) -> Reply:
        """Run the operation that the request names; any refusal becomes a reply in the service's shape."""
        path = request.segments[len(PREFIX) :]
        if (request.method, path) == ("POST", ("outbound-emails",)):
            return self._outbox.send_email(request)
        try:
            check_signature_age(request, self._settings.signature_max_age)
            for method, pattern, operation in self._routes:
                names = match(pattern, path) if method == request.method else None
                if names is not None:
                    return json_reply(operation(Call(names, request.query, json_body(request.body))))
            raise not_implemented(request)
        except SesError as error:
            return error.reply()


def match(pattern: tuple[str, ...], path: tuple[str, ...]) -> dict[str, str] | None:
    """The named parts of the path if it has the form of the pattern, else None."""
    if len(pattern) != len(path):
        return None
    names = {}
    for expected, actual in zip(pattern, path, strict=True):
        if expected.startswith("{"):
            names[expected.strip("{}")] = actual
        elif expected != actual:
            return None
    return names


def not_implemented(request: HttpRequest) -> SesError:
    """The error for an operation that the stand-in lacks. The real service may well have it."""
    return SesError(
        "UnknownOperationException",
        f"The local SES stand-in does not implement the operation {request.method} {request.path}.",
        404,
    )
