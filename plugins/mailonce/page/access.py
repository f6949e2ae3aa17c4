"""Who looks, and what Airflow lets them see and do. Every route depends on one of these.

A campaign is seen by whoever may read the runs of the Dag that mails it, and acted on by whoever may change them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser  # noqa: TC002 - FastAPI reads the annotation
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, HTTPException, status

from mailonce.delivery import Entry
from mailonce.ledgers.base import Ledger
from mailonce.page.searching import KEY
from mailonce.workflow.campaign_dags import dag_of
from mailonce.workflow.connections import open_ledger
from mailonce.workflow.planned import TAG
from mailonce.workflow.settings import Settings

CONNECTIONS = 4
"""So many of the ledger's connections one process of Airflow's api-server takes at most."""

_opening = threading.Lock()


@dataclass(frozen=True)
class Viewer:
    """Somebody who is signed in.

    :param user: as Airflow's auth manager knows them.
    """

    user: BaseUser

    @property
    def name(self) -> str:
        """What the ledger's history calls them."""
        return str(self.user.get_name())

    def may_see(self, campaign: str) -> bool:
        """Whether Airflow lets them read the runs of the campaign's Dag."""
        return self._may("GET", dag_of(campaign), DagAccessEntity.RUN)

    def may_act(self, campaign: str) -> bool:
        """Whether Airflow lets them change the runs of the campaign's Dag."""
        return self._may("PUT", dag_of(campaign), DagAccessEntity.RUN)

    def may_read_run(self, dag_id: str) -> bool:
        """Whether Airflow lets them read a Dag's runs, and what its tasks told each other."""
        return all(self._may("GET", dag_id, entity) for entity in (DagAccessEntity.RUN, DagAccessEntity.XCOM))

    def _may(self, method: str, dag_id: str, entity: DagAccessEntity) -> bool:
        team = _team(dag_id)
        # Before Airflow 3.1 there are no teams, and no such argument.
        details = DagDetails(id=dag_id, team_name=team) if team else DagDetails(id=dag_id)
        return bool(
            get_auth_manager().is_authorized_dag(
                method=method,  # type: ignore[arg-type]
                access_entity=entity,
                details=details,
                user=self.user,
            )
        )


def signed_in(user: Annotated[BaseUser, Depends(get_user)]) -> Viewer:
    """Return who is signed in to Airflow; 401 for everybody else."""
    return Viewer(user)


SignedIn = Annotated[Viewer, Depends(signed_in)]


def sees_campaign(campaign: str, viewer: SignedIn) -> Viewer:
    """Return who looks at the campaign that the path names; 403 if they may not."""
    if not TAG.fullmatch(campaign):
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such campaign.")
    if not viewer.may_see(campaign):
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"Airflow does not let you read the runs of {dag_of(campaign)}.")
    return viewer


SeesCampaign = Annotated[Viewer, Depends(sees_campaign)]


@lru_cache
def settings() -> Settings:
    """Return the settings, read once a process: those of a running Airflow do not change."""
    return Settings.load()


@lru_cache
def _open_ledger() -> Ledger:
    return open_ledger(settings(), connections=CONNECTIONS)


def the_ledger() -> Ledger:
    """Return the process's one ledger, opened when the first page needs it."""
    with _opening:
        return _open_ledger()


TheLedger = Annotated[Ledger, Depends(the_ledger)]
TheSettings = Annotated[Settings, Depends(settings)]


@dataclass(frozen=True)
class Seen:
    """A delivery, and who looks at it.

    :param may_act: whether they may decide about it.
    """

    entry: Entry
    viewer: Viewer
    may_act: bool


def sees_delivery(key: str, viewer: SignedIn, ledger: TheLedger) -> Seen:
    """Return the delivery that the path names; 404 if there is none, and just so if it is not theirs to see."""
    entry = next(ledger.find([key]), None) if KEY.fullmatch(key) else None
    if entry is None or not viewer.may_see(entry.identity.campaign):
        raise HTTPException(status.HTTP_404_NOT_FOUND, "The ledger has no delivery with this key that you may see.")
    return Seen(entry, viewer, viewer.may_act(entry.identity.campaign))


SeesDelivery = Annotated[Seen, Depends(sees_delivery)]


def acts_on_delivery(seen: SeesDelivery) -> Seen:
    """Return the delivery that the path names, for somebody who may decide about it; 403 for others."""
    if not seen.may_act:
        dag = dag_of(seen.entry.identity.campaign)
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"Airflow does not let you change the runs of {dag}.")
    return seen


ActsOnDelivery = Annotated[Seen, Depends(acts_on_delivery)]


def _team(dag_id: str) -> str | None:
    from airflow.configuration import conf
    from airflow.models.dag import DagModel

    if not conf.getboolean("core", "multi_team", fallback=False):
        return None
    find: Callable[[str], str | None] = DagModel.get_team_name
    return find(dag_id)
