"""Questions to the SES account before anything is sent: may it send, how much is left, who is verified."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from email.utils import parseaddr
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mailonce.errors import InvalidInput, NeverLeft, RunBlocked
from mailonce.providers.ses_failures import proved_by
from mailonce.workflow.connections import ses_account_client
from mailonce.workflow.settings import Settings

if TYPE_CHECKING:
    from mailonce.messages.message import Message

log = logging.getLogger(__name__)

_NO_PERMISSION = frozenset({"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"})


@dataclass(frozen=True, kw_only=True)
class Account:
    """What the account may send. :param left_today: mails left in this 24-hour window; None: no limit, or unknown."""

    max_send_rate: float | None = None
    left_today: int | None = None


def check_account(settings: Settings) -> Account:
    """Ask whether the account may send from this sender. What the role may not ask is said in the log and left open.

    :raises mailonce.errors.RunBlocked: nobody's mail could be sent now.
    """
    client = ses_account_client(settings)
    _check_sender(client, settings)
    if settings.configuration_set:
        name = settings.configuration_set
        if _ask(client, "get_configuration_set", ConfigurationSetName=name) == {}:
            raise RunBlocked(f"SES has no configuration set {name!r}.")
    else:
        log.warning(
            "no configuration_set is set: a mail whose answer is lost can only be settled by a person, because no "
            "event of the provider will tell whether it was accepted"
        )
    answer = _ask(client, "get_account")
    if not answer:
        return Account()
    if not answer.get("SendingEnabled", True):
        raise RunBlocked("sending is paused for this SES account (GetAccount: SendingEnabled is false).")
    if not answer.get("ProductionAccessEnabled", True):
        log.warning("the SES account is in the sandbox: it sends to verified addresses only")
    quota = answer.get("SendQuota", {})
    limit, used = quota.get("Max24HourSend", -1), quota.get("SentLast24Hours", 0)
    return Account(max_send_rate=quota.get("MaxSendRate"), left_today=None if limit < 0 else max(0, int(limit - used)))


def check_stored_template(settings: Settings, message: Message) -> None:
    """Ask SES to render a stored template with one recipient's data.

    SES accepts a mail whose template lacks a variable and drops it afterwards, so this must be asked before.

    :raises mailonce.errors.InvalidInput: it cannot be rendered.
    """
    template = message.stored_template
    if template is None:
        return
    client = ses_account_client(settings)
    data = json.dumps(dict(template.data), ensure_ascii=False, default=str)
    try:
        client.test_render_email_template(TemplateName=template.name, TemplateData=data)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _NO_PERMISSION or "TooManyRequests" in code:
            log.warning("the stored template %s could not be tried (%s): going on without", template.name, code)
            return
        raise InvalidInput(
            field=f"SES template {template.name}",
            reason=error.response["Error"].get("Message", code),
            remedy="Mend the stored template, or give every row what it needs",
        ) from error


def _check_sender(client: Any, settings: Settings) -> None:
    address = parseaddr(settings.required_sender())[1]
    domain = address.rpartition("@")[2]
    # A verified domain covers its subdomains too.
    labels = domain.split(".")
    names = [address, *(".".join(labels[start:]) for start in range(max(1, len(labels) - 1)))]
    answers = [_ask(client, "get_email_identity", EmailIdentity=name) for name in names]
    known = [answer for answer in answers if answer]
    if known and not any(answer.get("VerifiedForSendingStatus") for answer in known):
        raise RunBlocked(f"neither {address} nor {domain} is verified for sending in SES.")
    if all(answer == {} for answer in answers):
        # Another account may have lent its identity, which only the first mail can tell.
        log.warning("this SES account knows neither %s nor %s: is one of them verified?", address, domain)


def _ask(client: Any, operation: str, **arguments: Any) -> dict[str, Any] | None:
    """Ask one question.

    :return: the answer; an empty one where nothing of that name exists; None where it could not be had, which is
        said in the log and blocks nobody: the provider's answer to the first mail will say the same.
    :raises mailonce.errors.RunBlocked: the credentials are refused.
    :raises mailonce.errors.NeverLeft: SES is not reachable at this moment.
    """
    try:
        answer: dict[str, Any] = getattr(client, operation)(**arguments)
        return answer
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code == "NotFoundException":
            return {}
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and code not in _NO_PERMISSION:
            said = error.response["Error"].get("Message", "")
            raise RunBlocked(f"SES refuses {operation} ({code}: {said}).") from error
        why = "the role may not call it" if code in _NO_PERMISSION else f"the answer was {status} {code}"
        log.warning("ses:%s could not be asked (%s), so this is not checked", operation, why)
        return None
    except BotoCoreError as error:
        proof = proved_by(error, sender="")
        kind = RunBlocked if isinstance(proof, RunBlocked) else NeverLeft
        raise kind(f"SES cannot be asked ({type(error).__name__}: {error}).") from error
