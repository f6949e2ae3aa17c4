"""What all operators of the family have in common: a send that is safe to repeat, whoever carries the mail."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from mailonce.operators.links import MailLedgerLink, SentMessageLink
from mailonce.workflow.retries import DeliveryRetryPolicy, decided_here

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context


class IdempotentMailOperator(BaseOperator):
    """Mail each recipient once, however often the task runs. Use one of its kin, each of which names a provider:
    :class:`mailonce.IdempotentSesOperator`, :class:`mailonce.IdempotentBrevoOperator`, :class:`mailonce.IdempotentSmtpOperator`.

    Before each send a key is claimed in a ledger; whoever finds the key taken sends nothing, says so in the log,
    and succeeds if the mail is known to be out. A mail that may or may not have been accepted is held, by name,
    and never sent again by itself. See ``docs/protocol.md``.

    Give the recipients in one of three ways: ``recipient`` (one row), ``recipients`` (a list of rows), or
    ``snapshot`` and ``chunk`` (a part of a snapshot, as the monthly Dag does). A row has ``recipient_id``, ``email``
    and whatever the content uses. Give the content in one of two ways: the folder ``template_root/campaign``
    (the default), or ``subject`` with ``text`` and/or ``html`` (Jinja over the row, rendered by this package and not
    by Airflow).

    :param campaign: what is mailed; part of the key. (templated)
    :param period: the month ``2026-10``, or whatever the campaign counts by; part of the key. (templated)
    :param edition: a corrected statement is a new edition, and so a new key. (templated)
    :param recipient: one row. (templated)
    :param recipients: a list of rows. (templated)
    :param snapshot: URI of a snapshot. (templated) :param chunk: which chunk of it.
    :param approved: URI of the snapshot that a person approved: another one, and a mail that would differ from what it
        was then, is refused. None: no approval is asked for. (templated)
    :param key: ``statement`` (campaign, period, recipient, edition), ``content``, or a JMESPath expression over the row.
    :param subject: :param text: :param html: :param headers: content as Jinja text; headers one ``Name: value`` a line.
    :param preview: render and look up, but neither claim nor send. (templated)
    :param sender: :param reply_to: :param in_doubt: :param ledger_conn_id: :param ledger_table:
    :param template_root: :param concurrency: override the setting of the same name. (templated)
    :return: how many were sent, already sent, …; of a single recipient also who and the message id.
    :raises mailonce.errors.MailonceError: see :mod:`mailonce.errors`; each says what is safe to do next.
    """

    template_fields: Sequence[str] = (
        "campaign", "period", "edition", "recipient", "recipients", "snapshot", "approved", "preview", "sender",
        "reply_to", "in_doubt", "ledger_conn_id", "ledger_table", "template_root",
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {"recipient": "json", "recipients": "json"}
    operator_extra_links: Collection[BaseOperatorLink] = (SentMessageLink(), MailLedgerLink())
    ui_color = "#e8f4ec"

    provider: ClassVar[str]
    """Who carries the mail: what the setting ``provider`` would say."""
    overrides: ClassVar[tuple[str, ...]] = (
        "sender", "reply_to", "in_doubt", "ledger_conn_id", "ledger_table", "template_root", "concurrency",
    )  # fmt: skip
    """The arguments that override the setting of the same name."""
    ses_template: str | None = None

    def __init__(
        self,
        *,
        campaign: str,
        period: str,
        edition: str = "original",
        recipient: Mapping[str, Any] | str | None = None,
        recipients: Sequence[Mapping[str, Any]] | str | None = None,
        snapshot: str | None = None,
        chunk: int | None = None,
        approved: str | None = None,
        key: str = "statement",
        subject: str | None = None,
        text: str = "",
        html: str = "",
        headers: str = "",
        preview: bool | str = False,
        sender: str | None = None,
        reply_to: str | None = None,
        in_doubt: str | None = None,
        ledger_conn_id: str | None = None,
        ledger_table: str | None = None,
        template_root: str | None = None,
        concurrency: int | None = None,
        **kwargs: Any,
    ) -> None:
        ours = {**DeliveryRetryPolicy().task_arguments, "map_index_template": "{{ task.map_label }}"}
        # What the Dag's default_args say wins; Airflow has put them together here, but not yet into kwargs.
        kwargs = {**{name: ours[name] for name in ours.keys() - (kwargs.get("default_args") or {}).keys()}, **kwargs}
        super().__init__(**kwargs)
        self.campaign = campaign
        self.period = period
        self.edition = edition
        self.recipient = recipient
        self.recipients = recipients
        self.snapshot = snapshot
        self.chunk = chunk
        self.approved = approved
        self.key = key
        self.subject = subject
        self.text = text
        self.html = html
        self.headers = headers
        self.preview = preview
        self.sender = sender
        self.reply_to = reply_to
        self.in_doubt = in_doubt
        self.ledger_conn_id = ledger_conn_id
        self.ledger_table = ledger_table
        self.template_root = template_root
        self.concurrency = concurrency
        # Both are read by templates and links after execute(): they must exist, whatever happened in it.
        self.map_label = ""
        self.message_url = ""

    @decided_here
    def execute(self, context: Context) -> dict[str, Any]:
        """Deliver, or preview."""
        # Not at the top: Dag files are parsed every few seconds, and parsing needs none of it.
        from mailonce.workflow.delivering import run

        outcome = run(self, context)
        if not self.message_url:
            # Airflow stores each link by a request of its own, one that leads nowhere too.
            self.operator_extra_links = (MailLedgerLink(),)
        return outcome
