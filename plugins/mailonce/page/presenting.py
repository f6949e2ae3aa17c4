"""How the page is written: its templates, its words, and its addresses. Everything that is printed is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from fastapi.responses import HTMLResponse

from mailonce.delivery import Entry
from mailonce.page.access import Viewer
from mailonce.page.funnel import BY_NAME
from mailonce.privacy.erasure import address_shown
from mailonce.states import State
from mailonce.workflow.pages import page_environment

if TYPE_CHECKING:
    import jinja2
    from fastapi import Request

TEMPLATES = Path(__file__).with_name("templates")

UNKNOWN = "\u2013"
"""A dash."""

STATE_WORDS: Mapping[State, tuple[str, str]] = {
    State.SENT: ("Accepted", "good"),
    State.SENDING: ("Being sent", "quiet"),
    State.RELEASED: ("Free to be sent", "quiet"),
    State.REJECTED: ("Rejected", "bad"),
    State.IN_DOUBT: ("Held: in doubt", "unsure"),
    State.CANCELLED: ("Cancelled", "quiet"),
}
"""What a state is called, and its tone."""


def as_it_counts(entry: Entry) -> Entry:
    """Return the row as whoever comes next takes it: a claim whose sender is past its deadline is in doubt."""
    if entry.state is State.SENDING and entry.overdue:
        return replace(entry, state=State.IN_DOUBT)
    return entry


def page(
    request: Request, template: str, *, viewer: Viewer | None = None, status_code: int = 200, **values: Any
) -> HTMLResponse:
    """Return a page of HTML.

    :param template: its file's name, without the ending. :param viewer: who looks; None: nobody is known.
    :param values: what the template uses.
    """
    text = (
        _environment()
        .get_template(f"{template}.html.j2")
        .render(url=_Address(request), viewer=viewer, here=request.url.path, **values)
    )
    return HTMLResponse(text, status_code=status_code)


def address(request: Request, *parts: str, **query: str) -> str:
    """Return the address of one of the page's own parts; what is empty in the query is left out."""
    return _Address(request)(*parts, **query)


class _Address:
    """Makes addresses below the place that Airflow serves the page at."""

    def __init__(self, request: Request) -> None:
        self._root = str(request.scope.get("root_path") or "").rstrip("/")

    def __call__(self, *parts: str, **query: str) -> str:
        path = "/".join(quote(part, safe="") for part in parts)
        asked = urlencode({name: value for name, value in query.items() if value})
        return f"{self._root}/{path}" + (f"?{asked}" if asked else "")

    @property
    def airflow(self) -> str:
        """Airflow's own address, without a slash at its end."""
        return self._root.rpartition("/")[0]


@lru_cache
def _environment() -> jinja2.Environment:
    environment = page_environment(TEMPLATES)
    environment.filters.update(
        moment=_moment, number=_number, state=_state, tone=_tone, share=_share, address=address_shown
    )
    environment.globals.update(BY_NAME=BY_NAME)
    return environment


def _moment(value: datetime | str | None) -> str:
    """Filter: a moment as people read it, in UTC to the second."""
    if value is None:
        return UNKNOWN
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _number(value: int | None) -> str:
    """Filter: a figure with separators; a dash for what is not known."""
    return UNKNOWN if value is None else f"{value:,}"


def _state(state: State | str) -> str:
    """Filter: what a state is called."""
    try:
        return STATE_WORDS[State(state)][0]
    except ValueError:
        return str(state)


def _tone(state: State | str) -> str:
    """Filter: the tone of a state."""
    try:
        return STATE_WORDS[State(state)][1]
    except ValueError:
        return "quiet"


def _share(count: int, whole: int) -> str:
    """Filter: a part in per cent, never 0 for something nor 100 for less than all."""
    if count in (0, whole):
        return "100 %" if count else "0 %"
    return f"{min(99.9, max(0.1, 100 * count / whole)):.1f} %"
