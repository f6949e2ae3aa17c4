"""Paging of the listing operations: `PageSize` and `NextToken` in, a page and the next token out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_PAGE_SIZE = 100


def page_of(items: Sequence[Any], query: Mapping[str, str]) -> tuple[list[Any], dict[str, str]]:
    """The page that the query asks for, and the NextToken if there is more."""
    try:
        start = int(query.get("NextToken") or 0)
        size = int(query.get("PageSize") or DEFAULT_PAGE_SIZE)
    except ValueError:
        raise bad_request("NextToken or PageSize is not valid.") from None
    if start < 0 or size < 1:
        raise bad_request("NextToken or PageSize is not valid.")
    end = start + size
    return list(items[start:end]), {"NextToken": str(end)} if end < len(items) else {}
