"""The errors of the service, in the shape in which the real one sends them."""

from __future__ import annotations

from .wire import Reply, json_reply


class SesError(Exception):
    """A refusal: `code` is the exception's name in the service model, `status` the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def reply(self) -> Reply:
        """The refusal as an HTTP reply: the name in a header, the text in the body."""
        reply = json_reply({"message": self.message}, self.status)
        reply.headers["x-amzn-ErrorType"] = self.code
        return reply


def bad_request(message: str) -> SesError:
    """The request itself is wrong."""
    return SesError("BadRequestException", message)


def not_found(message: str) -> SesError:
    """The request names a thing that does not exist."""
    return SesError("NotFoundException", message, 404)


def already_exists(message: str) -> SesError:
    """The thing to create is there already."""
    return SesError("AlreadyExistsException", message)


def rate_exceeded() -> SesError:
    """Too many requests in this second. Shares its name with `daily_quota_exceeded`."""
    return SesError("TooManyRequestsException", "Maximum sending rate exceeded.", 429)


def daily_quota_exceeded() -> SesError:
    """Too many mails in the last 24 hours. Shares its name with `rate_exceeded`."""
    return SesError("TooManyRequestsException", "Daily message quota exceeded.", 429)


def sending_paused(message: str = "Sending paused for this account.") -> SesError:
    """The account, or one of its configuration sets, is paused."""
    return SesError("SendingPausedException", message)
