"""A month from the query to the snapshot: the same for a run, and for who only wants to see what a run would do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mailonce.keys import key_recipe
from mailonce.ledgers.base import Ledger
from mailonce.messages.statement import StatementMaker
from mailonce.messages.templates import Templates
from mailonce.period import Period
from mailonce.workflow.corrections import with_originals
from mailonce.workflow.settings import Settings
from mailonce.workflow.snapshot import Snapshot
from mailonce.workflow.snapshot_writer import write_snapshot
from mailonce.workflow.suppressed import Suppressed
from mailonce.workflow.usage import read_statement, usage_rows


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to mail.

    :param statement: the usage query's file. :param template_root: folder of the campaigns' templates.
    :param recipients: only these ids; empty: everybody. :param recipients_per_task: None: as the number of them asks for.
    :param key: the key recipe, see :func:`mailonce.keys.key_recipe`.
    """

    campaign: str
    period: str
    edition: str
    statement: Path
    template_root: Path
    recipients: Collection[str] = ()
    recipients_per_task: int | None = None
    key: str = "statement"


def statement_maker(settings: Settings, wanted: Wanted) -> StatementMaker:
    """Return what renders the mails.

    :raises mailonce.errors.InvalidInput: period, templates, sender or key recipe are not what they should be.
    """
    period = Period(wanted.period, settings.timezone)
    return StatementMaker(
        campaign=wanted.campaign,
        period=period.key,
        period_fields=period,
        edition=wanted.edition,
        content=Templates.of_campaign(wanted.campaign, wanted.template_root),
        sender=settings.required_sender(),
        reply_to=settings.reply_addresses,
        recipe=key_recipe(wanted.key),
    )


def write_month(settings: Settings, ledger: Ledger, maker: StatementMaker, wanted: Wanted, *, uri: str) -> Snapshot:
    """Run the query, check and render every row, and write the snapshot.

    :param uri: the folder that all snapshots stand in.
    :raises mailonce.errors.InvalidInput: the query, or the connection that it runs through, cannot be used.
    """
    period = Period(wanted.period, settings.timezone)
    rows = usage_rows(settings.usage_conn_id, read_statement(wanted.statement), period)
    return write_snapshot(
        with_originals(rows, ledger, maker, zone=settings.timezone),
        maker,
        uri=uri,
        only=wanted.recipients,
        recipients_per_task=wanted.recipients_per_task,
        suppressed=Suppressed(ledger, settings),
    )
