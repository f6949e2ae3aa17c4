"""Mail every recipient once, and prove it.

:class:`IdempotentSesOperator` is the package's face in a Dag; :func:`deliver` is its heart, and needs no Airflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailonce.operators.brevo import IdempotentBrevoOperator
    from mailonce.operators.ses import IdempotentSesOperator
    from mailonce.operators.smtp import IdempotentSmtpOperator
    from mailonce.protocol import deliver
    from mailonce.workflow.retries import DeliveryRetryPolicy

__all__ = [
    "DeliveryRetryPolicy",
    "IdempotentBrevoOperator",
    "IdempotentSesOperator",
    "IdempotentSmtpOperator",
    "deliver",
]
__version__ = "0.1.0"

_HOMES = {
    "IdempotentBrevoOperator": "mailonce.operators.brevo",
    "IdempotentSesOperator": "mailonce.operators.ses",
    "IdempotentSmtpOperator": "mailonce.operators.smtp",
    "DeliveryRetryPolicy": "mailonce.workflow.retries",
    "deliver": "mailonce.protocol",
}


def __getattr__(name: str) -> Any:
    # Late, so that the protocol can be imported where there is no Airflow, and Dag files are parsed quickly.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name != "deliver":
        from mailonce.compatibility import refuse_unsupported

        refuse_unsupported()
    return getattr(import_module(_HOMES[name]), name)
