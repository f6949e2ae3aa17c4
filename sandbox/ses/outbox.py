"""The operation SendEmail: checks, misbehaves as told, keeps the mail, decides on the reply."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .behaviours import ENDINGS, NEVER_ACCEPTED, REFUSALS, Behaviour, BehaviourBook, Step
from .errors import SesError, sending_paused
from .fields import json_body
from .message import read_send_email
from .records import Mail, Request, bare_address, timestamp
from .signature import check_signature_age, signed_by, signed_region
from .wire import Ending, HttpRequest, Reply, json_reply

if TYPE_CHECKING:
    from .events import EventStream
    from .journal import Journal
    from .limits import SendingLimits
    from .resources import Resources


@dataclass
class Settings:
    """What may be changed while the stand-in runs. All times are in seconds."""

    latency: float = 0.0
    """Every answer waits this long."""
    slow_seconds: float = 2.0
    """How much longer `accept_slowly` takes to answer."""
    hang_seconds: float = 60.0
    """How long `accept_then_hang` holds the connection."""
    late_seconds: float = 1.0
    """How long after the request `late_accept` accepts the mail."""
    signature_max_age: float | None = None
    """Requests signed longer ago, or not at all, are refused. None: not checked."""
    sending_enabled: bool = True
    """False: the account is paused. GetAccount says so, and every mail is refused."""
    production_access: bool = True
    """What GetAccount says about the account being out of the sandbox of the service."""


class Outbox:
    """Handles SendEmail requests. Safe to use from several threads."""

    def __init__(
        self,
        *,
        settings: Settings,
        journal: Journal,
        resources: Resources,
        limits: SendingLimits,
        behaviours: BehaviourBook,
        events: EventStream,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._resources = resources
        self._limits = limits
        self._behaviours = behaviours
        self._events = events
        self._lock = threading.Lock()
        self._timers: set[threading.Timer] = set()

    def send_email(self, request: HttpRequest) -> Reply:
        """Handle one request. Whatever becomes of it, it is in the journal before anything is answered."""
        entry = new_entry(request)
        try:
            mail = self._checked_mail(request)
            recipients = len(mail.recipients)
            entry.recipient, entry.recipients = mail.recipients[0], mail.recipients
            entry.subject, entry.tags = mail.subject, mail.tags
            self._limits.take(recipients)
        except SesError as error:
            return self._refuse(entry, error)
        step = self._behaviours.next_step(mail.recipients) or Step(Behaviour.ACCEPT)
        behaviour = step.behaviour
        if behaviour is not Behaviour.ACCEPT:
            entry.behaviour = behaviour.value
        if behaviour in REFUSALS:
            self._limits.give_back(recipients)
            return self._refuse(entry, REFUSALS[behaviour])
        if behaviour in NEVER_ACCEPTED:
            self._limits.give_back(recipients)
            self._journal.record(entry)
        elif behaviour is Behaviour.LATE_ACCEPT:
            self._journal.record(entry)
            self._accept_later(entry, mail, self._seconds(step, self._settings.late_seconds))
        else:
            return self._accept(entry, mail, step)
        return Reply(ending=ENDINGS[behaviour])

    def stop(self) -> None:
        """Mails that were still to be accepted later are not accepted any more."""
        with self._lock:
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()

    def _checked_mail(self, request: HttpRequest) -> Mail:
        check_signature_age(request, self._settings.signature_max_age)
        mail = read_send_email(json_body(request.body), self._resources, signed_region(request))
        mail.source_address, mail.caller = request.client_address, signed_by(request)
        if not self._settings.sending_enabled:
            raise sending_paused()
        return mail

    def _accept(self, entry: Request, mail: Mail, step: Step) -> Reply:
        behaviour = step.behaviour
        stamp(mail)
        reply = json_reply({"MessageId": mail.message_id})
        reply.ending = ENDINGS.get(behaviour, Ending.ANSWER)
        if behaviour is Behaviour.ACCEPT_THEN_HANG:
            reply.delay = self._seconds(step, self._settings.hang_seconds)
        elif behaviour is Behaviour.ACCEPT_SLOWLY:
            reply.delay = self._seconds(step, self._settings.slow_seconds)
        elif behaviour is Behaviour.ACCEPT_THEN_GARBLE:
            reply.body = reply.body[: len(reply.body) // 2]
        elif behaviour is Behaviour.ACCEPT_THEN_500:
            reply = SesError("InternalFailure", "An internal error occurred.", 500).reply()
        entry.accepted, entry.message_id = True, mail.message_id
        entry.status = reply.status if reply.ending in (Ending.ANSWER, Ending.TRUNCATE) else None
        self._journal.record(entry, mail)
        self._events.mail_accepted(mail)
        return reply

    def _accept_later(self, entry: Request, mail: Mail, seconds: float) -> None:
        def accept() -> None:
            with self._lock:
                if timer not in self._timers:
                    return
                self._timers.discard(timer)
            stamp(mail)
            self._journal.accept_later(entry, mail)
            self._events.mail_accepted(mail)

        timer = threading.Timer(seconds, accept)
        timer.daemon = True
        with self._lock:
            self._timers.add(timer)
        timer.start()

    def _refuse(self, entry: Request, error: SesError) -> Reply:
        entry.status, entry.error = error.status, str(error)
        self._journal.record(entry)
        return error.reply()

    @staticmethod
    def _seconds(step: Step, default: float) -> float:
        return default if step.seconds is None else step.seconds


def stamp(mail: Mail) -> None:
    """Give the mail its id and the moment of its acceptance."""
    mail.accepted_at = timestamp()
    mail.message_id = f"0100{int(time.time() * 1000):012x}-{uuid.uuid4()}-000000"


def new_entry(request: HttpRequest) -> Request:
    """The journal's entry for a request, not accepted yet. Takes what it can read, and never raises."""
    try:
        document: dict[str, Any] = json_body(request.body)
    except SesError:
        document = {}
    content = _objects(document.get("Content"))
    subject = _objects(_objects(content.get("Simple")).get("Subject")).get("Data")
    destination = _objects(document.get("Destination"))
    names = ("ToAddresses", "CcAddresses", "BccAddresses")
    addresses = [address for name in names for address in _items(destination.get(name)) if isinstance(address, str)]
    recipients = [bare_address(address) for address in addresses]
    tags = [tag for tag in _items(document.get("EmailTags")) if isinstance(tag, dict)]
    return Request(
        number=0,
        arrived_at=timestamp(),
        recipient=recipients[0] if recipients else "",
        recipients=recipients,
        subject=subject if isinstance(subject, str) else "",
        tags={str(tag.get("Name")): str(tag.get("Value")) for tag in tags},
        accepted=False,
        message_id=None,
        behaviour=None,
        status=None,
    )


def _objects(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
