"""Questions to AWS that change nothing, and what the ways of not being answered mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mailonce.errors import NeverLeft, RunBlocked
from mailonce.providers.ses_failures import proved_by

NO_PERMISSION = frozenset({"AccessDeniedException", "AccessDenied", "AuthorizationError", "UnauthorizedOperation"})
_NOTHING_OF_THAT_NAME = frozenset(
    {"NotFoundException", "NotFound", "NoSuchEntity", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a question.

    :param action: the permission that it needs, as IAM names it. :param forbidden: the role does not have it.
    :param content: what was told; empty if nothing was. :param missing: there is nothing of that name.
    :param why_not: why nothing was told; empty if something was.
    :param asked_at: :param answered_at: by this machine's clock.
    """

    action: str
    asked_at: datetime
    answered_at: datetime
    content: Mapping[str, Any] | None = None
    missing: bool = False
    forbidden: bool = False
    why_not: str = ""


def quickly(own: Config | None) -> Config:
    """Return a client configuration for questions: nobody wants to wait minutes for an answer that never comes.

    :param own: the user's own, which wins.
    """
    quick = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 2, "mode": "standard"})
    return quick.merge(own) if own else quick


def ask(client: Any, operation: str, **arguments: Any) -> Answer:
    """Ask one question.

    :param client: a boto3 client. :param operation: its method.
    :raises mailonce.errors.RunBlocked: the credentials are refused, or there are none.
    :raises mailonce.errors.NeverLeft: the service is not reachable at this moment.
    """
    model = client.meta.service_model
    action = f"{model.signing_name}:{client.meta.method_to_api_mapping[operation]}"
    asked_at = _now()

    def answer(**facts: Any) -> Answer:
        return Answer(action=action, asked_at=asked_at, answered_at=_now(), **facts)

    try:
        return answer(content=getattr(client, operation)(**arguments))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        said = error.response["Error"].get("Message", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in _NOTHING_OF_THAT_NAME:
            return answer(missing=True, why_not=said or code)
        if code in NO_PERMISSION:
            return answer(forbidden=True, why_not=f"the role lacks the permission {action}")
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise RunBlocked(f"{model.service_id} refuses the credentials ({code}: {said}).") from error
        return answer(why_not=f"{action} answered {status} {code}")
    except BotoCoreError as error:
        kind = RunBlocked if isinstance(proved_by(error, sender=""), RunBlocked) else NeverLeft
        raise kind(f"{model.service_id} cannot be asked ({type(error).__name__}: {error}).") from error


def _now() -> datetime:
    return datetime.now(timezone.utc)
