"""The months with their funnels, one month with its deliveries, and who did not get it as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response, status
from fastapi.responses import RedirectResponse, StreamingResponse

from mailonce.browsing import PAGE, Page, Search
from mailonce.export import csv_lines, not_delivered, not_tried
from mailonce.ledgers.base import Ledger
from mailonce.page.access import SeesCampaign, SignedIn, TheLedger, TheSettings
from mailonce.page.documents import DIGEST, Document, documents_of
from mailonce.page.funnel import BY_NAME, funnels
from mailonce.page.presenting import address, page
from mailonce.page.searching import By, found, meant
from mailonce.workflow.planned import Planned, Statement, planned_month, planned_months
from mailonce.workflow.settings import Settings
from mailonce.workflow.snapshot import Snapshot

router = APIRouter()


@router.get("/")
def months(request: Request, viewer: SignedIn, ledger: TheLedger, settings: TheSettings) -> Response:
    """Show every month that the viewer may see."""
    made = funnels(ledger.browser.months(), planned_months(settings.snapshot_uri))
    allowed = {campaign: viewer.may_see(campaign) for campaign in {one.campaign for one in made}}
    return page(
        request, "months", viewer=viewer, funnels=[one for one in made if allowed[one.campaign]], hidden=not all(allowed.values())
    )  # fmt: skip


@router.get("/months/{campaign}/{period}")
def month(
    *,
    request: Request,
    campaign: str,
    period: str,
    viewer: SeesCampaign,
    ledger: TheLedger,
    settings: TheSettings,
    edition: str = "",
    show: str = "",
    q: str = "",
    by: By = By.ANYTHING,
    after: str = "",
    snapshot: str = "",
    run: str = "",
) -> Response:
    """Show one month: its funnel, and its deliveries a page at a time.

    :param edition: only this one. :param show: one of :data:`mailonce.page.funnel.SHOWS`. :param q: what to look for.
    :param by: what ``q`` is. :param after: of the page before. :param snapshot: the name of a run's own one.
    :param run: that run, as the name of its files.
    """
    if show and show not in BY_NAME:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"There is no such part of a month as {show!r}.")
    planned = planned_month(settings.snapshot_uri, campaign, period)
    made = funnels(ledger.browser.totals(campaign, period), planned)
    asked = Search(
        campaign=campaign,
        period=period,
        edition=edition,
        states=BY_NAME[show].states if show else frozenset(),
        fates=BY_NAME[show].fates if show else frozenset(),
    )
    deliveries, note = _deliveries(ledger, asked, q.strip(), by, after)
    return page(
        request,
        "month",
        viewer=viewer,
        campaign=campaign,
        period=period,
        edition=edition,
        editions=[one.edition for one in made],
        funnels=[one for one in made if edition in ("", one.edition)],
        show=show,
        q=q.strip(),
        by=by,
        after=after,
        deliveries=deliveries,
        note=note,
        documents=list(_documents(settings, planned, edition, snapshot, run)),
    )


@router.post("/months/{campaign}/{period}")
def look_for(
    *,
    request: Request,
    campaign: str,
    period: str,
    viewer: SeesCampaign,
    ledger: TheLedger,
    settings: TheSettings,
    edition: Annotated[str, Form()] = "",
    show: Annotated[str, Form()] = "",
    q: Annotated[str, Form()] = "",
    by: Annotated[By, Form()] = By.ANYTHING,
) -> Response:
    """Show what is looked for in a month: as :func:`month` does, but no customer's address stands in the access log."""
    if meant(q.strip(), by) is By.ADDRESS:
        return month(
            request=request, campaign=campaign, period=period, viewer=viewer, ledger=ledger, settings=settings,
            edition=edition, show=show, q=q, by=by,
        )  # fmt: skip
    place = address(request, "months", campaign, period, edition=edition, show=show, q=q.strip(), by=by.value)
    return RedirectResponse(f"{place}#deliveries", status.HTTP_303_SEE_OTHER)


@router.get("/months/{campaign}/{period}/not-delivered.csv")
def not_delivered_csv(
    campaign: str, period: str, viewer: SeesCampaign, ledger: TheLedger, settings: TheSettings
) -> Response:
    """Stream who did not get it, and why, as CSV."""
    planned = [Snapshot(one.uri) for one in planned_month(settings.snapshot_uri, campaign, period).values()]
    return StreamingResponse(
        csv_lines(_everybody_without(ledger, campaign, period, planned)),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{_file_name(campaign, period)}"'},
    )


def _documents(
    settings: Settings, planned: Mapping[Statement, Planned], edition: str, snapshot: str, run: str
) -> Iterator[tuple[Document, str, str]]:
    """Yield what there is to read of a run, or else of each edition: with its edition and its snapshot's name."""
    for one in planned.values():
        place, _, newest = one.uri.rpartition("/")
        if edition not in ("", one.manifest.edition):
            continue
        name = snapshot if DIGEST.fullmatch(snapshot) else newest
        for document in documents_of(f"{place}/{name}", run if name == snapshot else ""):
            yield document, one.manifest.edition, name


def _deliveries(ledger: Ledger, asked: Search, q: str, by: By, after: str) -> tuple[Page, str]:
    """Return a page of deliveries, and what to know about how it was found."""
    kind = meant(q, by)
    if not q or kind is By.RECIPIENT:
        search = Search(**{**vars(asked), "recipient_id": q})
        return ledger.browser.search(search, after=after, limit=PAGE), ""
    entries, note = found(ledger, asked, q, kind)
    return Page(entries=entries), note


def _everybody_without(
    ledger: Ledger, campaign: str, period: str, snapshots: list[Snapshot]
) -> Iterator[Mapping[str, str]]:
    return chain(
        not_delivered(ledger, campaign, period),
        chain.from_iterable(not_tried(ledger, snapshot) for snapshot in snapshots),
    )


def _file_name(campaign: str, period: str) -> str:
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in f"{campaign}-{period}")
    return f"not-delivered-{plain}.csv"
