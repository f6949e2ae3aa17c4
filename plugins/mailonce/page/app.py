"""The page as a FastAPI application, which Airflow's api-server mounts."""

from __future__ import annotations

from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from mailonce.compatibility import shows_plugin_pages
from mailonce.errors import InvalidInput, LedgerError
from mailonce.page import decisions, deliveries, documents, mail, months, runs, search, static_files
from mailonce.page.headers import SecurityHeaders
from mailonce.page.presenting import page


def create_app() -> FastAPI:
    """Return the page. It reaches for the ledger, and for settings, when the first request needs them."""
    # Without its own documents: they would be open to everybody.
    app = FastAPI(title="Mail ledger", docs_url=None, redoc_url=None, openapi_url=None)
    for part in (months, search, deliveries, decisions, mail, documents, runs, static_files):
        app.include_router(part.router)
    app.add_middleware(SecurityHeaders)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(LedgerError, _ledger_away)
    app.add_exception_handler(InvalidInput, _wrong)
    return app


_TITLES = {
    400: "That cannot be answered",
    401: "Sign in to Airflow first",
    403: "Not allowed",
    404: "There is nothing here",
    405: "Not possible here",
    409: "It changed in the meantime",
}


NO_SIGN_IN = (
    "This Airflow lets no browser sign in to a page of a plugin: that needs Apache Airflow 3.1. Until then the terminal "
    "tool answers the same questions: mailonce status, show and resolve."
)


async def _refused(request: Request, error: Exception) -> Response:
    refusal = cast("HTTPException", error)
    sign_in = _sign_in_address(request) if refusal.status_code == 401 and shows_plugin_pages() else ""
    return page(
        request,
        "message",
        status_code=refusal.status_code,
        title=_TITLES.get(refusal.status_code, "That did not work"),
        text=str(refusal.detail) if sign_in or refusal.status_code != 401 else NO_SIGN_IN,
        sign_in=sign_in,
    )


async def _malformed(request: Request, error: Exception) -> Response:
    return page(
        request, "message", status_code=400, title=_TITLES[400], text="The address or the form is malformed.", sign_in=""
    )  # fmt: skip


async def _ledger_away(request: Request, error: Exception) -> Response:
    return page(
        request, "message", status_code=503, title="The ledger does not answer", sign_in="",
        text=f"{error} Nothing is lost by this; `mailonce doctor` tells what is wrong with the set-up.",
    )  # fmt: skip


async def _wrong(request: Request, error: Exception) -> Response:
    return page(request, "message", status_code=400, title=_TITLES[400], text=str(error), sign_in="")


def _sign_in_address(request: Request) -> str:
    from airflow.api_fastapi.app import get_auth_manager

    return str(get_auth_manager().get_url_login(next_url=str(request.url)))
