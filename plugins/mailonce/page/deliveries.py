"""One delivery: how it stands, how it came to that, and what may be done about it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from mailonce.page.access import SeesDelivery
from mailonce.page.effects import effects_of
from mailonce.page.presenting import as_it_counts, page
from mailonce.states import State
from mailonce.workflow.campaign_dags import dag_of

router = APIRouter()


@router.get("/deliveries/{key}")
def delivery(request: Request, seen: SeesDelivery, done: bool = False) -> Response:
    """Show one delivery.

    :param done: whether the viewer just decided about it.
    """
    entry = as_it_counts(seen.entry)
    return page(
        request,
        "delivery",
        viewer=seen.viewer,
        entry=entry,
        abandoned=entry.state is not seen.entry.state,
        effects=effects_of(entry) if seen.may_act else (),
        may_act=seen.may_act,
        sendable=entry.state is State.RELEASED,
        dag_id=dag_of(entry.identity.campaign),
        done=done,
    )
