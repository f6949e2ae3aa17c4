"""Amazon SES, through version 2 of its API: one ``SendEmail`` a mail, and exactly one request on the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from email.utils import formataddr, parseaddr
from typing import TYPE_CHECKING, Any

from botocore.config import Config

from mailonce.direct_calls import USER_AGENT, direct_call
from mailonce.errors import InDoubt, InvalidInput, NotDelivered
from mailonce.messages.message import Message
from mailonce.providers.base import Departure
from mailonce.providers.ses_failures import proved_by

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_sesv2.client import SESV2Client
    from mypy_boto3_sesv2.type_defs import EmailContentTypeDef

CONNECT_SECONDS = 5
READ_SECONDS = 20


def one_request(config: Config | None = None, *, connections: int = 1) -> Config:
    """Return a client configuration with which one call makes one request, whatever else is configured.

    boto3 repeats a ``SendEmail`` whose answer was lost by itself, in every retry mode: the recipient gets two.
    ``total_max_attempts`` counts requests (``max_attempts`` counts repetitions) and wins over ``AWS_MAX_ATTEMPTS``.

    :param config: the user's own; its time-outs and the like stay, its retries do not.
    :param connections: how many requests are sent at once.
    """
    ours = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=max(10, connections),
        user_agent=USER_AGENT,
    )
    once = Config(retries={"total_max_attempts": 1, "mode": "standard"})
    return (ours.merge(config) if config else ours).merge(once)


class SesProvider:
    """Sends through one SES client.

    :param client: made with :func:`one_request`.
    :param configuration_set: publishes the events that settle what no answer settled; None: no events.
    :raises mailonce.errors.InvalidInput: the client would repeat requests by itself.
    """

    def __init__(self, client: SESV2Client, *, configuration_set: str | None = None) -> None:
        retries: Mapping[str, Any] = getattr(client.meta.config, "retries", None) or {}
        if retries.get("total_max_attempts") != 1:
            raise InvalidInput(
                field="SES client",
                reason=f"it would repeat a request by itself ({dict(retries)}), which sends a mail twice",
                remedy="Make the client with mailonce.providers.ses.one_request()",
            )
        self._client = client
        self._send_email = direct_call(client, "SendEmail")
        self._configuration_set = configuration_set
        self._thread = threading.local()
        client.meta.events.register("before-sign.sesv2.SendEmail", self._signing)
        client.meta.events.register("before-send.sesv2.SendEmail", self._sending)

    @property
    def remembers(self) -> None:
        """SES has no idempotency key: two equal requests are two mails."""

    def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
        """See :class:`mailonce.providers.base.Provider`."""
        self._thread.departure = departure
        request: dict[str, Any] = {
            "FromEmailAddress": _ascii(message.sender),
            "Destination": {"ToAddresses": [message.to]},
            "Content": _content(message),
            "EmailTags": [{"Name": name, "Value": value} for name, value in tags.items()],
        }
        if message.reply_to:
            request["ReplyToAddresses"] = [_ascii(address) for address in message.reply_to]
        if self._configuration_set:
            request["ConfigurationSetName"] = self._configuration_set
        try:
            answer = self._send_email(**request)
        except NotDelivered:
            raise  # the departure refused
        except Exception as error:
            refusal = getattr(error, "kwargs", {}).get("error")
            if isinstance(refusal, NotDelivered):
                raise refusal from error  # the same, from within the connection, where botocore wraps it
            raise proved_by(error, sender=message.sender) from error
        message_id: str = answer.get("MessageId")
        if not message_id:
            raise InDoubt("the provider answered 200 without a message id: probably accepted, but nothing proves it.")
        return message_id

    def _signing(self, **_: Any) -> None:
        self._thread.departure.signing()

    def _sending(self, request: AWSPreparedRequest, **_: Any) -> None:
        # The body is asked for when the connection stands and the headers are out: there is no later moment.
        body: Any = request.body
        request.body = _announced(body, self._thread.departure)  # type: ignore[assignment]


def _announced(body: bytes, departure: Departure) -> Iterator[bytes]:
    departure.leaving()
    yield body


def _ascii(address: str) -> str:
    """Return an address whose display name, where it is not ASCII, is an encoded word (RFC 2047), as SES asks for."""
    return address if address.isascii() else formataddr(parseaddr(address))


def _content(message: Message) -> EmailContentTypeDef:
    headers = [{"Name": name, "Value": value} for name, value in message.headers.items()]
    if template := message.stored_template:
        stored: dict[str, Any] = {
            "TemplateName": template.name,
            "TemplateData": json.dumps(template.data, ensure_ascii=False, default=str),
        }
        return {"Template": stored | ({"Headers": headers} if headers else {})}  # type: ignore[typeddict-item]
    parts = {"Text": message.text, "Html": message.html}
    simple: dict[str, Any] = {
        "Subject": {"Data": message.subject, "Charset": "UTF-8"},
        "Body": {name: {"Data": text, "Charset": "UTF-8"} for name, text in parts.items() if text},
    }
    return {"Simple": simple | ({"Headers": headers} if headers else {})}  # type: ignore[typeddict-item]
