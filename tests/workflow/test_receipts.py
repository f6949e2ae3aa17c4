from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mailonce.delivery import Receipt
from mailonce.workflow.receipts import NAME, TaskStateReceipts


class Store:
    """Airflow's task state store, as far as it is used here."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.retentions: list[Any] = []
        self.broken = False

    def get(self, name: str, default: Any = None) -> Any:
        if self.broken:
            raise ConnectionError("the api-server is away")
        return self.values.get(name, default)

    def set(self, name: str, value: Any, *, retention: Any = None) -> None:
        if self.broken:
            raise ConnectionError("the api-server is away")
        self.values[name] = value
        self.retentions.append(retention)


@pytest.fixture
def store() -> Store:
    return Store()


def receipts(store: Any) -> TaskStateReceipts:
    return TaskStateReceipts(store)


def test_a_receipt_outlives_the_task(store: Store) -> None:
    receipts(store).keep(Receipt(key="k1", message_id="m1"))
    assert receipts(store).kept() == [Receipt(key="k1", message_id="m1", evidence="kept receipt")]


def test_receipts_do_not_push_each_other_out(store: Store) -> None:
    kept = receipts(store)
    for number in (1, 2, 3):
        kept.keep(Receipt(key=f"k{number}", message_id=f"m{number}"))
    kept.forget(Receipt(key="k2", message_id="m2"))
    kept.forget(Receipt(key="never kept", message_id="m9"))
    assert {receipt.key: receipt.message_id for receipt in kept.kept()} == {"k1": "m1", "k3": "m3"}


def test_they_never_expire_and_are_plain_values(store: Store) -> None:
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    receipts(store).keep(Receipt(key="k1", message_id="m1"))
    assert store.values == {NAME: {"m1": "k1"}}
    assert store.retentions == [NEVER_EXPIRE]


def test_threads_of_a_batch_lose_none(store: Store) -> None:
    kept, together = receipts(store), threading.Barrier(8)

    def keep(number: int) -> None:
        together.wait()
        for each in range(25):
            kept.keep(Receipt(key="k", message_id=f"m{number}-{each}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(8)))
    assert len(kept.kept()) == 200


def test_keeping_never_raises_and_the_log_has_the_receipt(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.broken = True
    with caplog.at_level(logging.ERROR):
        receipts(store).keep(Receipt(key="k1", message_id="m1"))
    assert "key k1 (message m1) is kept only in this log" in caplog.text


def test_outside_a_task_the_log_is_all_there_is(caplog: pytest.LogCaptureFixture) -> None:
    receipts(None).keep(Receipt(key="k1", message_id="m1"))
    assert "key k1 (message m1) is kept only in this log" in caplog.text
    assert receipts(None).kept() == []


def test_a_store_that_cannot_be_read_stops_the_task_before_it_sends(store: Store) -> None:
    store.broken = True
    with pytest.raises(ConnectionError):
        receipts(store).kept()
