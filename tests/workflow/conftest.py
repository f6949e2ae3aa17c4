"""What the tests of planning, previewing and reporting share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mailonce.messages.statement import StatementMaker
from mailonce.messages.templates import Templates
from mailonce.workflow.snapshot import Snapshot
from mailonce.workflow.snapshot_writer import write_snapshot

WriteSnapshot = Callable[..., Snapshot]
MakeRow = Callable[..., dict[str, Any]]


@pytest.fixture
def maker() -> StatementMaker:
    content = Templates.inline("usage", subject="Your month", text="{{ units }} units", headers="X-Units: {{ units }}")
    return StatementMaker(campaign="usage", period="2026-10", content=content, sender="billing@example.com")


@pytest.fixture
def make_row() -> MakeRow:
    def make(recipient_id: Any = "C-1", **columns: Any) -> dict[str, Any]:
        return {"recipient_id": recipient_id, "email": "ann@example.com", "units": 3, **columns}

    return make


@pytest.fixture
def write(tmp_path: Any, maker: StatementMaker) -> WriteSnapshot:
    def written(*rows: Mapping[str, Any], **options: Any) -> Snapshot:
        return write_snapshot(
            rows, options.pop("maker", maker), uri=options.pop("uri", f"file://{tmp_path}"), **options
        )

    return written
