"""A person decides about one delivery: first shown what it would do, then asked for the reason, then done."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response, status
from fastapi.responses import RedirectResponse

from mailonce.decisions import DecisionRefused, resolve
from mailonce.delivery import MAXIMUM_ERROR_LENGTH, Decision
from mailonce.page.access import ActsOnDelivery, Seen, TheLedger
from mailonce.page.effects import Choice, effect_of, version_of
from mailonce.page.forgery import Genuine, remember_browser, token_for
from mailonce.page.presenting import address, as_it_counts, page

router = APIRouter()


@router.get("/deliveries/{key}/decide/{choice}")
def confirm(request: Request, choice: Choice, seen: ActsOnDelivery) -> Response:
    """Show what a decision would do, and ask for the reason."""
    return _form(request, choice, seen)


@router.post("/deliveries/{key}/decide/{choice}", dependencies=[Genuine])
def decide(
    *,
    request: Request,
    key: str,
    choice: Choice,
    seen: ActsOnDelivery,
    ledger: TheLedger,
    reason: Annotated[str, Form()] = "",
    version: Annotated[str, Form()] = "",
) -> Response:
    """Write a decision, if the delivery still stands as it was shown.

    :param reason: why. :param version: of what was shown, see :func:`mailonce.page.effects.version_of`.
    """
    entry = as_it_counts(seen.entry)
    if version != version_of(entry):
        raise HTTPException(
            status.HTTP_409_CONFLICT,
            "Nothing was changed: the delivery is no longer as it was shown to you. Look at it again, then decide.",
        )
    if not reason.strip() or len(reason) > MAXIMUM_ERROR_LENGTH:
        return _form(request, choice, seen, reason=reason, complaint=_complaint(reason))
    decision = Decision(state=choice.state, by=seen.viewer.name, reason=_one_line(reason), token=entry.token)
    try:
        resolve(ledger, key, decision)
    except DecisionRefused as refusal:
        raise HTTPException(status.HTTP_409_CONFLICT, f"Nothing was changed: {refusal}") from refusal
    return RedirectResponse(address(request, "deliveries", key, done="true"), status.HTTP_303_SEE_OTHER)


def _form(request: Request, choice: Choice, seen: Seen, *, reason: str = "", complaint: str = "") -> Response:
    entry = as_it_counts(seen.entry)
    token, browser = token_for(request, seen.viewer)
    response = page(
        request,
        "decide",
        status_code=status.HTTP_422_UNPROCESSABLE_CONTENT if complaint else status.HTTP_200_OK,
        viewer=seen.viewer,
        entry=entry,
        effect=effect_of(entry, choice),
        version=version_of(entry),
        token=token,
        reason=reason,
        complaint=complaint,
        longest=MAXIMUM_ERROR_LENGTH,
    )
    remember_browser(response, request, browser)
    return response


def _complaint(reason: str) -> str:
    if not reason.strip():
        return "A reason is needed: whoever asks later will find it here."
    return f"The reason is longer than {MAXIMUM_ERROR_LENGTH} characters."


def _one_line(reason: str) -> str:
    """Return the reason as one line of the history; what is no character to be seen becomes a blank."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in reason).split())
