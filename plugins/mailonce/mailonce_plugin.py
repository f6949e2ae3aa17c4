"""What Airflow loads from its plugins folder: registers the package's parts that Airflow must know by name.

Every Airflow process imports this, each task's too: nothing heavy is imported until somebody opens the page.
"""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from mailonce.operators.links import PAGE, ROUTE, MailLedgerLink, SentMessageLink, airflow_path
from mailonce.page.lazy import LazyPage

_HOME = f"{airflow_path()}{PAGE}/"


class MailoncePlugin(AirflowPlugin):
    """The package, as Airflow's plugin manager sees it."""

    name = "mailonce"
    operator_extra_links = [SentMessageLink(), MailLedgerLink()]  # noqa: RUF012 - the base class declares it so
    fastapi_apps: list[Any] = [{"app": LazyPage(), "url_prefix": PAGE, "name": "Mail ledger"}]  # noqa: RUF012 - same
    external_views: list[Any] = [  # noqa: RUF012 - same
        {"name": "Mail ledger", "href": _HOME, "destination": "nav", "category": "browse", "url_route": ROUTE},
        {
            "name": "Mail ledger",
            "href": f"{_HOME}runs/{{DAG_ID}}/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": f"{ROUTE}-of-run",
        },
    ]
