"""Whom a task serves: one row, a list of rows, or a chunk of a snapshot; without those who must not be mailed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailonce.errors import InvalidInput
from mailonce.messages.rows import Row, read_row
from mailonce.suppression import normal
from mailonce.workflow.connections import open_ledger
from mailonce.workflow.settings import Settings
from mailonce.workflow.snapshot import Snapshot
from mailonce.workflow.suppressed import Suppressed

if TYPE_CHECKING:
    from mailonce.operators.base import IdempotentMailOperator

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """One to be mailed.

    :param row: theirs, or what is wrong with it: raised in its turn, so that it stops no other recipient.
    :param planned_key: the key that their mail was planned under, if it was planned. :param fingerprint: of that mail.
    """

    row: Row | InvalidInput
    planned_key: str | None = None
    fingerprint: str = ""


def read_recipients(operator: IdempotentMailOperator) -> list[Recipient]:
    """Return whom the operator's arguments name.

    :raises mailonce.errors.InvalidInput: they name nobody, or in more than one way.
    """
    given = [name for name in ("recipient", "recipients", "snapshot") if getattr(operator, name) not in (None, "")]
    if len(given) != 1:
        raise InvalidInput(
            field="recipient, recipients, snapshot",
            reason=f"{' and '.join(given) or 'none'} of them given",
            remedy="Give exactly one",
        )
    if operator.snapshot:
        if operator.chunk is None:
            raise InvalidInput(field="chunk", reason="is missing", remedy="Say which chunk of the snapshot")
        planned = Snapshot(operator.snapshot).chunk(operator.chunk)
        return [Recipient(row=one.row, planned_key=one.key, fingerprint=one.fingerprint) for one in planned]
    several = _from_text(operator.recipients)
    rows = several if several is not None else [_from_text(operator.recipient)]
    if isinstance(rows, (str, Mapping)) or not isinstance(rows, Sequence):
        raise InvalidInput(field="recipients", reason=f"is a {type(rows).__name__}", remedy="Give a list of rows")
    return [Recipient(row=_row(row, number)) for number, row in enumerate(rows, start=1)]


def without_suppressed(recipients: Sequence[Recipient], settings: Settings) -> list[Recipient]:
    """Leave out those whose addresses must not be mailed, and say so. (A snapshot holds none: it was planned so.)"""
    addresses = [one.row.email for one in recipients if isinstance(one.row, Row)]
    with closing(open_ledger(settings)) as ledger:
        found = Suppressed(ledger, settings)(addresses) if addresses else {}
    mailed = []
    for one in recipients:
        if isinstance(one.row, Row) and (reason := found.get(normal(one.row.email))):
            log.warning("%s: nothing sent: the address is suppressed: %s", one.row.recipient_id, reason)
        else:
            mailed.append(one)
    return mailed


def label(recipients: Sequence[Recipient]) -> str:
    """Return what Airflow shows instead of the map index: the recipient's id, never the address."""
    names = [one.row.recipient_id for one in recipients if isinstance(one.row, Row)]
    if len(names) <= 1:
        return "".join(names)
    return f"{names[0]} … {names[-1]} ({len(names)})"


def _row(raw: Any, number: int) -> Row | InvalidInput:
    if not isinstance(raw, Mapping):
        return InvalidInput(
            row=f"number {number}",
            field="recipient",
            reason=f"is a {type(raw).__name__}",
            remedy="Give a row: names and values, with recipient_id and email among them",
        )
    try:
        return read_row(raw, number=number)
    except InvalidInput as complaint:
        return complaint


def _from_text(value: Any) -> Any:
    """Return rows given as JSON text: what a template renders to, unless the Dag renders native objects."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise InvalidInput(
            field="recipient", reason=f"is text that is not JSON ({error})", remedy="Render it with | tojson"
        ) from error
