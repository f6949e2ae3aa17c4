r"""Tell people what they must hear of, through any notifier of Airflow.

::

    from mailonce.notifiers import DeliveryAlert

    IdempotentSesOperator(…, on_failure_callback=DeliveryAlert())  # the channels of the settings
    DeliveryAlert([SlackWebhookNotifier(text="{{ alert.subject }}\n{{ alert.text }}")])  # one of your own

An alert always becomes a line of the log at ERROR and a count of the metric ``mailonce.alerts``.
"""

from mailonce.notifiers.delivery_alert import DeliveryAlert, deadline_missed

__all__ = ["DeliveryAlert", "deadline_missed"]
