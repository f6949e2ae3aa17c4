"""The pages for people: the mailbox, one mail, and the journal of requests.

Nothing in a mail can run as script: every text is escaped, no page may load or run anything, and a
mail's HTML is shown in a frame without any permission.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .wire import HttpRequest, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .journal import Journal
    from .records import Request

PAGE_SIZE = 50
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
MAIL_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
Item = TypeVar("Item")


class Mailbox:
    """Renders the pages from the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(clock=clock, day=day, tag_class=status_class)

    def handle(self, request: HttpRequest) -> Reply:
        """The page at this path."""
        segments = request.segments
        if segments == ("",):
            return self._mailbox(request)
        if segments == ("requests",):
            return self._requests(request)
        mail = self._journal.mail(segments[1]) if segments[0] == "mail" and len(segments) > 1 else None
        if mail and len(segments) == 2:
            earlier = [other for other in self._journal.mails(mail.recipients[0]) if other is not mail]
            return self._page("mail.html.j2", mail=mail, others=list(reversed(earlier))[:20])
        if mail and segments[2:] == ("html",) and mail.html is not None:
            return html_reply(mail.html, MAIL_POLICY)
        return self._page("missing.html.j2", status=404)

    def _mailbox(self, request: HttpRequest) -> Reply:
        sought = request.query.get("recipient", "").strip().lower()
        mails = [
            mail
            for mail in reversed(self._journal.mails())
            if not sought or any(sought in recipient for recipient in mail.recipients)
        ]
        summary = self._journal.summary()
        return self._page(
            "mailbox.html.j2",
            sought=sought,
            total=len(mails),
            summary=summary,
            repeated=set(summary["keys_with_more_than_one"]),
            **paged(mails, request, {"recipient": sought} if sought else {}),
        )

    def _requests(self, request: HttpRequest) -> Reply:
        sought = request.query.get("recipient", "").strip().lower()
        found: Sequence[Request] = self._journal.requests()
        if sought:
            found = [entry for entry in found if any(sought in recipient for recipient in entry.recipients)]
        return self._page(
            "requests.html.j2",
            sought=sought,
            total=len(found),
            accepted=sum(entry.accepted for entry in found),
            **paged(list(reversed(found)), request, {"recipient": sought} if sought else {}),
        )

    def _page(self, template: str, status: int = 200, **values: Any) -> Reply:
        text = self._templates.get_template(template).render(**values)
        return html_reply(text, PAGE_POLICY, status)


def paged(items: list[Item], request: HttpRequest, query: dict[str, str]) -> dict[str, Any]:
    """The items of the page that `?page=` asks for, and the addresses of its neighbours."""
    pages = max(1, -(-len(items) // PAGE_SIZE))
    asked = request.query.get("page", "1")
    page = min(max(1, int(asked)), pages) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 1

    def address(number: int) -> str | None:
        return "?" + urlencode({**query, "page": str(number)}) if 1 <= number <= pages else None

    start = (page - 1) * PAGE_SIZE
    return {
        "items": items[start : start + PAGE_SIZE],
        "first": start + 1 if items else 0,
        "last": min(start + PAGE_SIZE, len(items)),
        "page": page,
        "pages": pages,
        "newer": address(page - 1),
        "older": address(page + 1),
    }


def html_reply(text: str, policy: str, status: int = 200) -> Reply:
    """A page with the headers that keep whatever is in it from doing anything."""
    return Reply(
        status=status,
        body=text.encode("utf-8", errors="replace"),
        content_type="text/html; charset=utf-8",
        headers={
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        },
    )


def clock(timestamp: str) -> str:
    """The time of day of a timestamp, to the second."""
    return timestamp[11:19]


def day(timestamp: str) -> str:
    """The date of a timestamp."""
    return timestamp[:10]


def status_class(entry: Request) -> str:
    """How a request is coloured: `good` accepted and answered, `unsure` accepted otherwise, `bad` refused."""
    if not entry.accepted:
        return "bad"
    return "good" if entry.status == 200 and entry.behaviour in (None, "accept", "accept_slowly") else "unsure"
