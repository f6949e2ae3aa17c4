"""A month tried without a run: the same query, checks, templates and comparison as the Dag's, and nothing that stays."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from mailonce.errors import MailonceError
from mailonce.keys import key_recipe
from mailonce.ledgers.base import Ledger
from mailonce.messages.statement import StatementMaker
from mailonce.messages.templates import Templates
from mailonce.period import Period
from mailonce.workflow.account import Account
from mailonce.workflow.connections import ses_account_client
from mailonce.workflow.corrections import with_originals
from mailonce.workflow.plan import Allowance
from mailonce.workflow.settings import Settings
from mailonce.workflow.snapshot import Snapshot
from mailonce.workflow.snapshot_writer import write_snapshot
from mailonce.workflow.suppressed import Suppressed
from mailonce.workflow.usage import read_statement, usage_rows

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to try.

    :param statement: the usage query's file. :param template_root: folder of the campaigns' templates.
    :param recipients: only these ids; empty: everybody. :param key: the key recipe, see :func:`mailonce.keys.key_recipe`.
    """

    campaign: str
    period: str
    edition: str
    statement: Path
    template_root: Path
    recipients: Collection[str] = ()
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


def try_month(settings: Settings, ledger: Ledger, maker: StatementMaker, wanted: Wanted, *, home: Path) -> Snapshot:
    """Run the query, check and render every row, and write the snapshot.

    :param home: an empty folder on this machine; the real snapshots are left alone.
    :raises mailonce.errors.InvalidInput: the query, or the connection that it runs through, cannot be used.
    """
    period = Period(wanted.period, settings.timezone)
    rows = usage_rows(settings.usage_conn_id, read_statement(wanted.statement), period)
    return write_snapshot(
        with_originals(rows, ledger, maker, zone=settings.timezone),
        maker,
        uri=home.as_uri(),
        only=wanted.recipients,
        suppressed=Suppressed(ledger, settings),
    )


def allowance(settings: Settings) -> Allowance:
    """Return what the account may still send; nothing is known where SES cannot be asked, and that is said."""
    try:
        account = Account.told_by(dict(ses_account_client(settings).get_account()))
    except (ClientError, BotoCoreError, MailonceError) as error:
        log.warning("what the account may still send is not known: %s", error)
        account = Account()
    return Allowance(
        left_today=account.left_today, daily_quota=account.daily_quota, spread=settings.spread_over_days
    )  # fmt: skip
