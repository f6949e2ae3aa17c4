"""What Airflow loads from its plugins folder: registers the package's parts that Airflow must know by name."""

from airflow.plugins_manager import AirflowPlugin

from mailonce.operators.links import SentMessageLink


class MailoncePlugin(AirflowPlugin):
    """The package, as Airflow's plugin manager sees it."""

    name = "mailonce"
    operator_extra_links = [SentMessageLink()]  # noqa: RUF012 - the base class declares it so
