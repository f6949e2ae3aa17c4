"""``IdempotentSesOperator``: a send through Amazon SES that is safe to repeat."""

from __future__ import annotations

from typing import Any

from mailonce.operators.base import IdempotentMailOperator


class IdempotentSesOperator(IdempotentMailOperator):
    """Mail each recipient once through Amazon SES, however often the task runs.

    What it has in common with the others of the family, arguments and all, stands in
    :class:`mailonce.operators.base.IdempotentMailOperator`. A mail in doubt is settled by SES's own events, where they are read.

    :param ses_template: name of a template stored in SES, in place of other content.
    :param configuration_set: :param aws_conn_id: :param region_name: override the setting of the same name. (templated)
    """

    provider = "ses"
    overrides = (*IdempotentMailOperator.overrides, "configuration_set", "aws_conn_id", "region_name")
    template_fields = (*IdempotentMailOperator.template_fields, "configuration_set", "aws_conn_id", "region_name")

    def __init__(
        self,
        *,
        ses_template: str | None = None,
        configuration_set: str | None = None,
        aws_conn_id: str | None = None,
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ses_template = ses_template
        self.configuration_set = configuration_set
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
