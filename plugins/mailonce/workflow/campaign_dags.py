"""Which Dag mails a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from mailonce.workflow.settings import SECTION


def dag_of(campaign: str) -> str:
    """Return the id of the Dag that mails a campaign: ``<campaign>_email``, unless ``campaign_dags`` names another."""
    return _named_dags().get(campaign, f"{campaign}_email")


@lru_cache
def _named_dags() -> Mapping[str, str]:
    from airflow.configuration import conf

    text = conf.get(SECTION, "campaign_dags", fallback="")
    pairs = (pair.partition("=") for pair in text.split(",") if pair.strip())
    return {campaign.strip(): dag.strip() for campaign, _, dag in pairs}
