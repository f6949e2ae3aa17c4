"""What Airflow loads, as an entry point or from its plugins folder: registers the parts that it must know by name.

Every Airflow process imports this, each task's too: nothing heavy is imported until somebody opens the page.
"""

import logging
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from mailonce.compatibility import refuse_unsupported
from mailonce.errors import UnsupportedAirflow

log = logging.getLogger(__name__)


def _parts() -> dict[str, list[Any]]:
    """Return what is registered. Nothing where Airflow is too old: that is said in a line, and Airflow starts all the same."""
    try:
        refuse_unsupported()
    except UnsupportedAirflow as too_old:
        log.error("%s", too_old)
        return {"links": [], "apps": [], "views": []}
    from mailonce.operators.links import PAGE, ROUTE, MailLedgerLink, SentMessageLink, airflow_path
    from mailonce.page.lazy import LazyPage

    home = f"{airflow_path()}{PAGE}/"
    return {
        "links": [SentMessageLink(), MailLedgerLink()],
        "apps": [{"app": LazyPage(), "url_prefix": PAGE, "name": "Mail ledger"}],
        "views": [
            {"name": "Mail ledger", "href": home, "destination": "nav", "category": "browse", "url_route": ROUTE},
            {
                "name": "Mail ledger",
                "href": f"{home}runs/{{DAG_ID}}/{{RUN_ID}}",
                "destination": "dag_run",
                "url_route": f"{ROUTE}-of-run",
            },
        ],
    }


_PARTS = _parts()


class MailoncePlugin(AirflowPlugin):
    """The package, as Airflow's plugin manager sees it."""

    name = "mailonce"
    operator_extra_links = _PARTS["links"]
    fastapi_apps: list[Any] = _PARTS["apps"]
    external_views: list[Any] = _PARTS["views"]


def _is_installed_too() -> bool:
    try:
        found = distribution("mailonce").entry_points
    except PackageNotFoundError:
        return False
    return any(each.group == "airflow.plugins" for each in found)


if __name__ != "mailonce.mailonce_plugin" and _is_installed_too():
    # Airflow runs the files of its plugins folder as modules of their own. What it gets from the installed package
    # already it would register once all the same, but call the second an error, in its log and in its UI.
    del MailoncePlugin
