"""``IdempotentSmtpOperator``: a send through any mail relay that is safe to repeat."""

from __future__ import annotations

from typing import Any

from mailonce.operators.base import IdempotentMailOperator


class IdempotentSmtpOperator(IdempotentMailOperator):
    """Mail each recipient once through a mail relay, by SMTP, however often the task runs.

    What it has in common with the others of the family, arguments and all, stands in
    :class:`mailonce.operators.base.IdempotentMailOperator`. A mail whose answer was lost after its last byte is held: SMTP
    has no way to ask.

    :param smtp_conn_id: overrides the setting of the same name. (templated)
    """

    provider = "smtp"
    overrides = (*IdempotentMailOperator.overrides, "smtp_conn_id")
    template_fields = (*IdempotentMailOperator.template_fields, "smtp_conn_id")

    def __init__(self, *, smtp_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.smtp_conn_id = smtp_conn_id
