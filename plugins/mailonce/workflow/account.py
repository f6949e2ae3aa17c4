"""What the SES account says of itself, and of the templates that are stored in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mailonce.errors import InvalidInput, MailonceError, RunBlocked
from mailonce.workflow.connections import ses_account_client
from mailonce.workflow.plan import Allowance
from mailonce.workflow.questions import NO_PERMISSION
from mailonce.workflow.settings import Settings

if TYPE_CHECKING:
    from mailonce.messages.message import Message

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Account:
    """What the account may send.

    :param max_send_rate: mails a second; None: unknown.
    :param daily_quota: mails in 24 hours; None: no limit, or unknown.
    :param left_today: mails left in this 24-hour window; None: as for the quota.
    """

    max_send_rate: float | None = None
    daily_quota: int | None = None
    left_today: int | None = None

    @classmethod
    def told_by(cls, answer: Mapping[str, Any] | None) -> Account:
        """Return what an answer of ``GetAccount`` tells; of None, nothing."""
        quota = (answer or {}).get("SendQuota", {})
        limit, used = quota.get("Max24HourSend", -1), quota.get("SentLast24Hours", 0)
        rate = quota.get("MaxSendRate")
        if limit < 0:
            return cls(max_send_rate=rate)
        return cls(max_send_rate=rate, daily_quota=int(limit), left_today=max(0, int(limit - used)))


def allowance(settings: Settings) -> Allowance:
    """Return what the account may still send; nothing is known where SES does not send, or cannot be asked, and that is said."""
    try:
        if settings.provider != "ses":
            raise RunBlocked(f"{settings.provider} does not tell it.")
        account = Account.told_by(dict(ses_account_client(settings).get_account()))
    except (ClientError, BotoCoreError, MailonceError) as error:
        log.warning("what the account may still send is not known: %s", error)
        account = Account()
    return Allowance(
        left_today=account.left_today, daily_quota=account.daily_quota, spread=settings.spread_over_days
    )  # fmt: skip


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
        if code in NO_PERMISSION or "TooManyRequests" in code:
            log.warning("the stored template %s could not be tried (%s): going on without", template.name, code)
            return
        raise InvalidInput(
            field=f"SES template {template.name}",
            reason=error.response["Error"].get("Message", code),
            remedy="Mend the stored template, or give every row what it needs",
        ) from error
