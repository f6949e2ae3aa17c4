"""A correction's rows are told when the original was sent, once, when the month is planned."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from mailonce.delivery import Conclusion
from mailonce.keys import ExpressionKey, content_key, statement_key
from mailonce.messages.rows import read_row
from mailonce.messages.templates import Templates
from mailonce.states import State
from mailonce.workflow import corrections
from mailonce.workflow.corrections import with_originals
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim

# Still October in New York.
SENT_AT = datetime(2026, 11, 1, 2, 30, tzinfo=timezone.utc)


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger(now=lambda: SENT_AT)


def deliver(ledger: MemoryLedger, delivery: Any, state: State = State.SENT) -> None:
    claim = make_claim(delivery)
    ledger.claim(claim)
    message_id = "m-1" if state is State.SENT else None
    ledger.conclude(delivery.key, claim.token, Conclusion(state=state, message_id=message_id))


def originals(rows: list[Any], ledger: MemoryLedger, maker: Any, zone: str = "UTC") -> list[Any]:
    return [row["original_sent_at"] for row in with_originals(rows, ledger, maker, zone=zone)]


def test_rows_of_an_original_pass_untouched_and_nobody_is_asked(
    ledger: MemoryLedger, maker: Any, make_row: Any
) -> None:
    rows = [make_row("C-1"), {"nonsense": object()}]
    assert list(with_originals(rows, ledger, maker, zone="UTC")) == rows
    assert ledger.calls == []


@pytest.mark.parametrize("recipe", [statement_key, ExpressionKey("recipient_id"), content_key])
def test_it_is_when_the_original_was_sent_whatever_makes_the_key(
    ledger: MemoryLedger, maker: Any, make_row: Any, recipe: Any
) -> None:
    original = replace(maker, recipe=recipe)
    deliver(ledger, original.delivery(read_row(make_row("sent"))))
    deliver(ledger, original.delivery(read_row(make_row("held", units=4))), State.IN_DOUBT)
    rows = [make_row("sent"), make_row("held", units=4), make_row("never", units=5)]
    correction = replace(original, edition="corrected-1")
    assert originals(rows, ledger, correction) == [SENT_AT, None, None]


def test_it_is_told_in_the_campaign_s_time_zone(ledger: MemoryLedger, maker: Any, make_row: Any) -> None:
    deliver(ledger, maker.delivery(read_row(make_row())))
    (told,) = originals([make_row()], ledger, replace(maker, edition="corrected-1"), "America/New_York")
    assert told == SENT_AT
    assert (told.day, told.month) == (31, 10)


def test_rows_that_cannot_be_mailed_are_left_to_whoever_names_them(
    ledger: MemoryLedger, maker: Any, make_row: Any
) -> None:
    rows = [{"units": 1}, make_row("bad", email="nobody"), make_row("twin"), make_row("twin")]
    assert originals(rows, ledger, replace(maker, edition="corrected-1")) == [None] * 4


def test_many_are_asked_for_at_once(
    ledger: MemoryLedger, maker: Any, make_row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "_KEYS_PER_QUESTION", 2)
    assert originals([make_row(n) for n in range(5)], ledger, replace(maker, edition="c")) == [None] * 5
    assert ledger.calls == ["find"] * 3


def test_a_cleared_task_renders_the_same_correction_however_late(
    ledger: MemoryLedger, maker: Any, make_row: Any, write: Any
) -> None:
    text = "{% if is_correction %}replaces that of {{ original_sent_at.date() }}: {% endif %}{{ units }} units"
    content = Templates.inline("usage", subject="Your month", text=text)
    original = replace(maker, content=content)
    deliver(ledger, original.delivery(read_row(make_row(units=2))))
    correction = replace(original, edition="corrected-1")
    rows = list(with_originals([make_row()], ledger, correction, zone="UTC"))
    (planned,) = write(*rows, maker=correction).rows()
    mail = correction.delivery(planned.row).message
    assert mail.text == "replaces that of 2026-11-01: 3 units"
    assert mail.fingerprint == planned.fingerprint
    assert original.delivery(read_row(make_row())).message.text == "3 units"
