"""Links shown beside a task in Airflow's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class SentMessageLink(BaseOperatorLink):
    """From a task to the mail it sent, where the setting ``message_url`` says mails can be seen."""

    name = "Sent message"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL, or nothing if the task sent to several, or the setting is empty."""
        return str(getattr(operator, "message_url", ""))
