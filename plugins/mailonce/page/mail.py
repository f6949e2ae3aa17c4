"""The rendered mail: a page that says what it is, and a frame without scripts that holds it."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response, status
from fastapi.responses import HTMLResponse

from mailonce.errors import InvalidInput
from mailonce.page.access import SeesDelivery, TheSettings
from mailonce.page.headers import MAIL_POLICY
from mailonce.page.presenting import page
from mailonce.page.rendering import in_words, rendered

router = APIRouter()


@router.get("/deliveries/{key}/mail")
def mail(request: Request, seen: SeesDelivery, settings: TheSettings) -> Response:
    """Show the mail of a delivery, as it was sent or as it would be."""
    try:
        made = rendered(seen.entry, settings)
    except InvalidInput as complaint:
        return page(request, "mail", viewer=seen.viewer, entry=seen.entry, mail=None, words=str(complaint))
    return page(request, "mail", viewer=seen.viewer, entry=seen.entry, mail=made, words=in_words(seen.entry, made))


@router.get("/deliveries/{key}/mail/html")
def mail_html(seen: SeesDelivery, settings: TheSettings) -> Response:
    """Return the mail's HTML alone, which no script of may run and nothing of may be fetched."""
    message = rendered(seen.entry, settings).message
    if not message.html:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "This mail has no HTML part.")
    return HTMLResponse(message.html, headers={"Content-Security-Policy": MAIL_POLICY})
