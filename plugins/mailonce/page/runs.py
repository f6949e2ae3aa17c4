"""From a Dag run to the month that it mailed: what the tab "Mail ledger" of a run shows."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response, status
from fastapi.responses import RedirectResponse

from mailonce.page.access import SignedIn
from mailonce.page.presenting import address, page
from mailonce.workflow.reporting.files import file_name

router = APIRouter()


@router.get("/runs/{dag_id}/{run_id:path}")
def run(request: Request, dag_id: str, run_id: str, viewer: SignedIn) -> Response:
    """Lead to the month of a run."""
    if not viewer.may_read_run(dag_id):
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"Airflow does not let you read the runs of {dag_id}.")
    # <snapshot_uri>/<campaign>/<period>/<edition>/<digest>
    parts = (run_snapshot(dag_id, run_id) or "").rstrip("/").split("/")[-4:]
    if len(parts) < 4:
        return page(request, "no_month", viewer=viewer, dag_id=dag_id, run_id=run_id)
    campaign, period, edition, digest = parts
    return RedirectResponse(
        address(request, "months", campaign, period, edition=edition, snapshot=digest, run=file_name(run_id))
    )


def run_snapshot(dag_id: str, run_id: str) -> str | None:
    """Return the URI of the snapshot that a run wrote, as its tasks tell each other; None: it wrote none."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        query = XComModel.get_many(dag_ids=dag_id, run_id=run_id, key="snapshot", limit=1)
        found = session.scalars(query).first()
        value = XComModel.deserialize_value(found) if found is not None else None
    return value if isinstance(value, str) else None
