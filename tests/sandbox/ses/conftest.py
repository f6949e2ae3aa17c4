"""The stand-in and a client of it, for every test in this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.ses import SesStandIn
from tests.sandbox.ses.tools import client_of


@pytest.fixture
def ses() -> Iterator[SesStandIn]:
    with SesStandIn(hang_seconds=30, slow_seconds=0.15, late_seconds=0.15) as standin:
        yield standin


@pytest.fixture
def client(ses: SesStandIn) -> Any:
    return client_of(ses.url)
