"""Requests that change something must come from this page's own forms, filled in by who is signed in.

A form carries a token that Airflow's secret key signs: for one user, one browser, one address of the page, and half
an hour. A page elsewhere can make a browser send its cookies along, but cannot read or make such a token.
"""

from __future__ import annotations

import secrets
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Form, HTTPException, Request, Response, status
from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from mailonce.page.access import SignedIn, Viewer

COOKIE = "mailonce_page"
"""Holds a random text that ties a form to the browser it was shown in."""

LIFETIME = 1800
"""Seconds for which a form can be sent."""


def token_for(request: Request, viewer: Viewer) -> tuple[str, str]:
    """Return the token of a form that is sent to the address it is shown at, and the browser's text for the cookie."""
    browser = request.cookies.get(COOKIE) or secrets.token_urlsafe(32)
    return _signer().dumps(_bound_to(request, viewer, browser)), browser


def remember_browser(response: Response, request: Request, browser: str) -> None:
    """Set the cookie that the form's token is tied to."""
    response.set_cookie(
        COOKIE,
        browser,
        path=str(request.scope.get("root_path") or "/"),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


def genuine(request: Request, viewer: SignedIn, token: Annotated[str, Form()] = "") -> None:
    """Refuse, with 403, a request that did not come from this page's own form."""
    if not _from_here(request):
        raise _refused("it came from another site")
    browser = request.cookies.get(COOKIE)
    if not token or not browser:
        raise _refused("it carried no token of this page's form; cookies must be allowed")
    try:
        bound_to = _signer().loads(token, max_age=LIFETIME)
    except SignatureExpired:
        raise _refused("its form was opened more than half an hour ago") from None
    except BadSignature:
        raise _refused("its token was not made by this page") from None
    if bound_to != _bound_to(request, viewer, browser):
        raise _refused("its token was made for somebody else, or for another form")


Genuine = Depends(genuine)


def _bound_to(request: Request, viewer: Viewer, browser: str) -> list[str]:
    return [str(viewer.user.get_id()), browser, request.url.path]


def _from_here(request: Request) -> bool:
    """Tell whether the browser says that a page of this host sent the request. Old browsers, and tools, say nothing."""
    from airflow.configuration import conf

    said = request.headers.get("sec-fetch-site")
    if said is not None and said != "same-origin":
        return False
    origin = request.headers.get("origin")
    if origin is None or said == "same-origin":
        return True
    # Behind a proxy the Host header may be another than the one the browser knows; base_url is what it knows.
    known = {request.headers.get("host", ""), urlsplit(conf.get("api", "base_url", fallback="")).netloc}
    return urlsplit(origin).netloc in known - {""}


def _refused(why: str) -> HTTPException:
    return HTTPException(
        status.HTTP_403_FORBIDDEN, f"Nothing was changed: the request was refused, for {why}. Open the form again."
    )


def _signer() -> URLSafeTimedSerializer:
    from airflow.api_fastapi.auth.tokens import get_signing_key

    return URLSafeTimedSerializer(get_signing_key("api", "secret_key"), salt="mailonce page")
