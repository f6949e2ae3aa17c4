"""Who did not get it, and why: as rows, and as CSV that a spreadsheet opens without running what stands in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mailonce.browsing import Search, found
from mailonce.delivery import Entry
from mailonce.events import Fate
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from mailonce.workflow.plan import NOT_YET, with_entries
from mailonce.workflow.snapshot import Snapshot, reject_in_words

FIELDS = ("recipient_id", "email", "edition", "state", "why", "since", "message_id", "key")
"""The columns of :func:`not_delivered` and :func:`not_tried`, in order."""

_NOT_ACCEPTED = frozenset(State) - {State.SENT}
_LOST = frozenset({Fate.BOUNCED, Fate.DROPPED})
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What makes a cell a formula to a spreadsheet (OWASP, "CSV Injection")."""

_WHY = {
    State.SENDING: "being sent",
    State.RELEASED: "not accepted, and free to be sent again",
    State.IN_DOUBT: "nobody knows whether it was accepted",
}


def not_delivered(ledger: Ledger, campaign: str, period: str) -> Iterator[Mapping[str, str]]:
    """Yield everybody in the ledger whose mail was not accepted, or was accepted and then bounced or dropped.

    A page of the ledger at a time is in memory. Who was never tried has no row: see :func:`not_tried`.

    :return: one mapping a recipient, with the names of :data:`FIELDS`.
    """
    for search in (
        Search(campaign=campaign, period=period, states=_NOT_ACCEPTED),
        Search(campaign=campaign, period=period, states=frozenset({State.SENT}), fates=_LOST),
    ):
        yield from map(_row_of, found(ledger.browser, search))


def not_tried(ledger: Ledger, snapshot: Snapshot) -> Iterator[Mapping[str, str]]:
    """Yield who was planned and has no row yet, and the rows that are not mailed at all, with the reason.

    A chunk of the snapshot at a time is in memory.

    :return: one mapping a recipient, with the names of :data:`FIELDS`.
    """
    edition = snapshot.manifest.edition
    for planned, entry in with_entries(snapshot, ledger):
        if entry is None:
            yield _line(
                recipient_id=planned.row.recipient_id,
                email=planned.row.email,
                edition=edition,
                state=NOT_YET,
                why="planned, and not tried yet",
                key=planned.key,
            )
    for reject in snapshot.rejects():
        yield _line(
            recipient_id=str(reject["row"]),
            edition=edition,
            state=str(reject["kind"]),
            why=reject_in_words(reject),
        )


def csv_lines(rows: Iterable[Mapping[str, str]], fields: Sequence[str] = FIELDS) -> Iterator[str]:
    """Yield a CSV file (RFC 4180) line by line, the names of the columns first.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it.

    :param rows: :param fields: the columns, in order; a row without one of them has an empty cell.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)

    def line(cells: Iterable[str]) -> str:
        writer.writerow([_harmless(cell) for cell in cells])
        text = buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        return text

    yield line(fields)
    for row in rows:
        yield line(row.get(field, "") for field in fields)


def _row_of(entry: Entry) -> Mapping[str, str]:
    bounced = entry.fate if entry.state is State.SENT else None
    why = entry.fate_detail if bounced else entry.error or _last_note(entry) or _WHY.get(entry.state)
    since = entry.fate_at if bounced else None
    return _line(
        recipient_id=entry.identity.recipient_id,
        email=entry.email,
        edition=entry.identity.edition,
        state=(bounced or entry.state).value,
        why=why or "",
        since=since.isoformat(timespec="seconds") if since else _last_moment(entry),
        message_id=entry.message_id or "",
        key=entry.key,
    )


def _last_note(entry: Entry) -> str:
    return (entry.history[-1].get("note") or "") if entry.history else ""


def _last_moment(entry: Entry) -> str:
    return (entry.history[-1].get("at") or "") if entry.history else ""


def _line(**cells: str) -> Mapping[str, str]:
    return dict.fromkeys(FIELDS, "") | cells


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
