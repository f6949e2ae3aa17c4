from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mailonce.delivery import Conclusion
from mailonce.messages.rows import read_row
from mailonce.states import State
from mailonce.workflow.preview import Plan, plan_of, preview_all
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def entry_in(state: State, **changes: Any) -> Any:
    ledger = MemoryLedger()
    entry = ledger.claim(make_claim(make_delivery()))
    return replace(entry, state=state, **changes)


@pytest.mark.parametrize(
    ("entry", "plan"),
    [
        (None, Plan.NEW),
        (entry_in(State.RELEASED), Plan.NEW),
        (entry_in(State.SENT), Plan.ALREADY_SENT),
        (entry_in(State.SENT, fingerprint="other"), Plan.CONTENT_CHANGED),
        (entry_in(State.IN_DOUBT), Plan.IN_DOUBT),
        (entry_in(State.SENDING), Plan.IN_FLIGHT),
        # Its sender is past its deadline: whoever delivers next makes it IN_DOUBT.
        (entry_in(State.SENDING, deadline_at=LONG_AGO), Plan.IN_DOUBT),
        (entry_in(State.REJECTED), Plan.REJECTED),
        (entry_in(State.CANCELLED), Plan.CANCELLED),
    ],
    ids=lambda value: value.name if isinstance(value, Plan) else "",
)
def test_what_delivering_would_do(entry: Any, plan: Plan) -> None:
    assert plan_of(make_delivery().message.fingerprint, entry) is plan


def makers(maker: Any, *rows: dict[str, Any]) -> list[Any]:
    return [partial(lambda raw: maker.delivery(read_row(raw)), raw) for raw in rows]


def test_counts_are_by_plan_and_the_ledger_is_only_read(maker: Any, make_row: Any) -> None:
    ledger = MemoryLedger()
    sent, changed = maker.delivery(read_row(make_row("sent"))), maker.delivery(read_row(make_row("changed", units=1)))
    for delivery in (sent, changed):
        claim = make_claim(delivery)
        ledger.claim(claim)
        ledger.conclude(delivery.key, claim.token, Conclusion(state=State.SENT, message_id="m"))
    before = list(ledger.moves)
    ledger.calls.clear()
    counts = preview_all(
        makers(maker, make_row("new"), make_row("sent"), make_row("changed"), make_row("bad", units=None)),
        ledger,
        folder_uri=None,
    )
    assert counts == {"new": 1, "already sent": 1, "content changed since it was sent": 1, "invalid": 1}
    assert set(ledger.calls) == {"find"}
    assert ledger.moves == before


def test_what_is_invalid_is_named(maker: Any, make_row: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        preview_all(makers(maker, make_row("C-9", units=None)), MemoryLedger(), folder_uri=None)
    assert "row C-9, field template usage/body.txt.j2" in caplog.text


def test_rendered_mails_lie_below_the_snapshot_named_by_key(maker: Any, make_row: Any, tmp_path: Path) -> None:
    delivery = maker.delivery(read_row(make_row("../../escape")))
    preview_all([lambda: delivery], MemoryLedger(), folder_uri=f"file://{tmp_path}/snapshot")
    files = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert files == {f"snapshot/preview/{delivery.key}.json", f"snapshot/preview/{delivery.key}.txt"}
    home = tmp_path / "snapshot" / "preview"
    assert (home / f"{delivery.key}.txt").read_text() == "3 units"
    assert json.loads((home / f"{delivery.key}.json").read_text()) == {
        "key": delivery.key,
        "plan": "new",
        "recipient_id": "../../escape",
        "from": "billing@example.com",
        "to": "ann@example.com",
        "reply_to": [],
        "subject": "Your month",
        "headers": {"X-Units": "3"},
    }
