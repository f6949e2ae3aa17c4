"""Mail every recipient once, and prove it.

:class:`IdempotentSesOperator` is the package's face in a Dag; :func:`deliver` is its heart, and needs no Airflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailonce.operators.ses import IdempotentSesOperator
    from mailonce.protocol import deliver
    from mailonce.workflow.retries import DeliveryRetryPolicy

__all__ = ["DeliveryRetryPolicy", "IdempotentSesOperator", "deliver"]
__version__ = "0.1.0"

_HOMES = {
    "IdempotentSesOperator": "mailonce.operators.ses",
    "DeliveryRetryPolicy": "mailonce.workflow.retries",
    "deliver": "mailonce.protocol",
}


def __getattr__(name: str) -> Any:
    # Late, so that the protocol can be imported where there is no Airflow, and Dag files are parsed quickly.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
