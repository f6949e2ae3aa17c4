"""Everything that the ledger has of one customer, of all campaigns and months: the support's first question."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response, status
from fastapi.responses import RedirectResponse

from mailonce.browsing import storable
from mailonce.delivery import Entry
from mailonce.ledgers.base import Ledger
from mailonce.page.access import SignedIn, TheLedger
from mailonce.page.presenting import address, page
from mailonce.page.searching import KEY, By, meant

MOST = 200
"""So many deliveries of one customer are shown."""

router = APIRouter()


@router.get("/search")
def search(request: Request, viewer: SignedIn, ledger: TheLedger, q: str = "", by: By = By.ANYTHING) -> Response:
    """Show what is found, as far as the viewer may see it.

    :param q: a recipient id, an address or a key. :param by: which of them it is.
    """
    text = q.strip()
    kind = meant(text, by)
    seen: dict[str, bool] = {}
    entries = []
    for entry in islice(_found(ledger, text, kind), MOST):
        campaign = entry.identity.campaign
        if campaign not in seen:
            seen[campaign] = viewer.may_see(campaign)
        if seen[campaign]:
            entries.append(entry)
    return page(request, "search", viewer=viewer, q=text, by=by, kind=kind, entries=entries, most=MOST)


@router.post("/search")
def look_for(
    request: Request,
    viewer: SignedIn,
    ledger: TheLedger,
    q: Annotated[str, Form()] = "",
    by: Annotated[By, Form()] = By.ANYTHING,
) -> Response:
    """Show what is found: as :func:`search` does, but no customer's address stands in the access log."""
    if meant(q.strip(), by) is By.ADDRESS:
        return search(request, viewer, ledger, q, by)
    return RedirectResponse(address(request, "search", q=q.strip(), by=by.value), status.HTTP_303_SEE_OTHER)


def _found(ledger: Ledger, text: str, by: By) -> Iterable[Entry]:
    if not text or by is By.MESSAGE or not storable(text):
        return ()
    if by is By.KEY:
        return ledger.find([text]) if KEY.fullmatch(text) else ()
    return ledger.of_address(text) if by is By.ADDRESS else ledger.browser.of_recipient(text)
