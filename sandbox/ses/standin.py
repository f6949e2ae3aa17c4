"""The stand-in as one object: `with SesStandIn() as ses:` serves until the block ends."""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from . import admin, api
from .account_operations import AccountOperations
from .behaviours import AnyStep, BehaviourBook
from .event_records import ACCOUNT, Fate
from .events import EventStream, Publisher
from .journal import Journal
from .limits import ONE_DAY, SendingLimits
from .mailbox import Mailbox
from .outbox import Outbox, Settings
from .records import Mail, Request, moment_of
from .resources import EVENT_TYPES, Resources
from .server import SandboxServer
from .template_operations import TemplateOperations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from .wire import HttpRequest, Reply

EVENT_DESTINATION = {
    "Name": "events",
    "Enabled": True,
    "MatchingEventTypes": list(EVENT_TYPES),
    "SnsDestination": {"TopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:ses-events"},
}
"""The event destination that configuration sets have from the start, if events are published at all."""


class SesStandIn:
    """A local Amazon SES v2 that keeps every accepted mail and misbehaves on request."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        journal: str | Path | None = None,
        settings: Settings | None = None,
        rate: float | None = None,
        burst: float | None = None,
        max_24_hour_send: float = -1,
        verified_identities: Iterable[str] | None = None,
        configuration_sets: Iterable[str] | None = None,
        events: Publisher | None = None,
        **more_settings: Any,
    ) -> None:
        """Load the journal, if there is one; nothing is served before `start` or `with`.

        port: 0 takes a free one.
        settings: see `Settings`; its fields may also be given by name, such as `latency=0.02`.
        rate, burst: recipients per second, and how many at once; above, requests are throttled.
        max_24_hour_send: recipients in 24 hours; -1 means no limit.
        verified_identities, configuration_sets: those that exist; None means every one.
        events: gets the events of mails with a configuration set.
        """
        if settings and more_settings:
            raise TypeError("give either settings or its fields by name, not both")
        self.settings = settings or Settings(**more_settings)
        self._host, self._wished_port = host, port
        self._server: SandboxServer | None = None
        self._thread: threading.Thread | None = None
        self._journal = Journal(Path(journal) if journal else None)
        self._behaviours = BehaviourBook()
        self.limits = SendingLimits(rate, burst, max_24_hour_send)
        self._resources = Resources(verified_identities, configuration_sets, EVENT_DESTINATION if events else None)
        self.events = EventStream(events, self._resources)
        self._outbox = Outbox(
            settings=self.settings,
            journal=self._journal,
            resources=self._resources,
            limits=self.limits,
            behaviours=self._behaviours,
            events=self.events,
        )
        self._api = api.Api(
            self.settings,
            self._outbox,
            AccountOperations(self.settings, self._resources, self.limits),
            TemplateOperations(self._resources),
        )
        self._admin = admin.Admin(self._journal, self._behaviours, self.events, self.limits)
        self._mailbox = Mailbox(self._journal)
        self._count_earlier_mails()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Listen, and serve from a thread. Returns once connections are taken."""
        server = SandboxServer(self._host, self._wished_port, self._handle, lambda: self.settings.latency)
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="ses-standin", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """End every connection, publish the events that wait, close the journal. May be repeated."""
        if self._server and self._thread:
            self._server.stop()
            self._thread.join()
            self._thread = None
        self._outbox.stop()
        self.events.stop()
        self._journal.close()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the stand-in has not been started")
        return self._server.server_port

    @property
    def url(self) -> str:
        """The address to give to boto3 as `endpoint_url`, and to a browser."""
        host = "127.0.0.1" if self._host in ("", "0.0.0.0") else self._host  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def mails(self) -> list[Mail]:
        """All accepted mails, in the order of acceptance."""
        return self._journal.mails()

    @property
    def requests(self) -> list[Request]:
        """All SendEmail requests, in the order of arrival, refused ones included."""
        return self._journal.requests()

    def mails_to(self, address: str) -> list[Mail]:
        """The accepted mails to one address."""
        return self._journal.mails(address)

    def requests_to(self, address: str) -> list[Request]:
        """The SendEmail requests to one address."""
        return self._journal.requests(address)

    def summary(self) -> dict[str, Any]:
        """The counts, as `GET /_standin/summary` gives them."""
        return self._journal.summary()

    def behave(self, address: str, behaviours: AnyStep | Sequence[AnyStep]) -> None:
        """Say what becomes of the next requests to an address, or to everybody ("*").

        A list is used up, one behaviour a request; a single behaviour stays in force.
        """
        self._behaviours.put(address, behaviours)

    def behave_normally(self) -> None:
        """Forget everything that `behave` said."""
        self._behaviours.clear()

    def set_fates(self, fates: Mapping[str, Fate | str]) -> None:
        """Say what the events tell about the mails to these addresses."""
        self.events.put_fates(fates)

    def wait_for(self, predicate: Callable[[], bool], timeout: float = 5.0) -> None:
        """Wait until `predicate()` is true; it is tried again whenever a request or a mail was kept.

        Raises TimeoutError if it does not become true in time.
        """
        with self._journal.changed:
            if not self._journal.changed.wait_for(predicate, timeout):
                raise TimeoutError(
                    f"not so within {timeout:g} seconds: "
                    f"{len(self.requests)} requests, {len(self.mails)} mails accepted"
                )

    def clear(self) -> None:
        """Forget all requests and mails."""
        self._journal.clear()
        self.limits.reset()

    def _handle(self, request: HttpRequest) -> Reply:
        if request.segments[: len(api.PREFIX)] == api.PREFIX:
            return self._api.handle(request)
        if request.segments[:1] == (admin.PREFIX,):
            return self._admin.handle(request)
        if request.method in ("GET", "HEAD"):
            return self._mailbox.handle(request)
        return api.not_implemented(request).reply()

    def _count_earlier_mails(self) -> None:
        oldest = datetime.now(timezone.utc).timestamp() - ONE_DAY
        for mail in self._journal.mails():
            accepted_at = moment_of(mail.accepted_at).timestamp()
            if accepted_at >= oldest:
                self.limits.count_earlier(accepted_at, len(mail.recipients))
