"""Links shown beside a task in Airflow's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink

from mailonce.compatibility import conf, shows_plugin_pages

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PAGE = "/mailonce"
"""Where the api-server serves the page, below Airflow's own path."""

ROUTE = "mail-ledger"
"""Under which name Airflow shows the page inside its own."""


class SentMessageLink(BaseOperatorLink):
    """From a task to the mail it sent, where the setting ``message_url`` says mails can be seen."""

    name = "Sent message"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL, or nothing if the task sent to several, or the setting is empty."""
        return str(getattr(operator, "message_url", ""))


class MailLedgerLink(BaseOperatorLink):
    """From a task to what the ledger has of its recipient, or of its month if it has several."""

    name = "Mail ledger"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, below the host that Airflow is seen at; nothing where it shows no pages of plugins."""
        campaign, period, edition = (str(getattr(operator, name, "")) for name in ("campaign", "period", "edition"))
        if not shows_plugin_pages():
            return ""
        home = f"{airflow_path()}/plugin/{ROUTE}{airflow_path()}{PAGE}"
        # A task that failed early has its templates unrendered.
        if not campaign or not period or "{{" in f"{campaign}{period}{edition}":
            return f"{home}/"
        # The label of a task with several names the first and the last of them.
        label = str(getattr(operator, "map_label", ""))
        asked = urlencode(
            {"edition": edition} | ({"q": label, "by": "recipient"} if label and " … " not in label else {})
        )
        return f"{home}/months/{quote(campaign, safe='')}/{quote(period, safe='')}?{asked}"


def airflow_path() -> str:
    """Return the path below which a proxy serves Airflow, without a slash at its end; empty: none."""
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
