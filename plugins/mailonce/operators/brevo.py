"""``IdempotentBrevoOperator``: a send through Brevo that is safe to repeat."""

from __future__ import annotations

from typing import Any

from mailonce.operators.base import IdempotentMailOperator


class IdempotentBrevoOperator(IdempotentMailOperator):
    """Mail each recipient once through Brevo, however often the task runs.

    What it has in common with the others of the family, arguments and all, stands in
    :class:`mailonce.operators.base.IdempotentMailOperator`. A mail whose answer was lost is asked for again under the same
    idempotency key, for as long as Brevo recognises it; what is in doubt after that is held.

    :param brevo_conn_id: overrides the setting of the same name. (templated)
    """

    provider = "brevo"
    overrides = (*IdempotentMailOperator.overrides, "brevo_conn_id")
    template_fields = (*IdempotentMailOperator.template_fields, "brevo_conn_id")

    def __init__(self, *, brevo_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.brevo_conn_id = brevo_conn_id
