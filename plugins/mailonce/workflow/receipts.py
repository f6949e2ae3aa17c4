"""The second store for receipts in Airflow: the task's state store, which survives the task and its retries."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mailonce.delivery import Receipt
from mailonce.errors import UnsupportedAirflow

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor

log = logging.getLogger(__name__)
NAME = "mailonce_receipts"


class TaskStateReceipts:
    """Keeps receipts in Airflow's task state store (Airflow 3.3), one entry a task instance.

    :param store: ``context["task_state_store"]``; None outside a running task, when the log is all there is.
    """

    def __init__(self, store: TaskStateStoreAccessor | None) -> None:
        self._store = store
        self._lock = threading.Lock()

    def keep(self, receipt: Receipt) -> None:
        """See :class:`mailonce.receipts.ReceiptStore`."""
        try:
            with self._lock:
                self._write({**self._read(), receipt.message_id: receipt.key})
        except UnsupportedAirflow as lacking:
            # Nothing failed that a trace could tell of.
            log.error("the receipt for key %s (message %s) %s", receipt.key, receipt.message_id, lacking)
        except Exception:
            # Something else is wrong already, and must not be hidden by this.
            log.exception(
                "the receipt for key %s (message %s) is kept only in this log", receipt.key, receipt.message_id
            )

    def kept(self) -> Sequence[Receipt]:
        """See :class:`mailonce.receipts.ReceiptStore`."""
        kept = self._read().items()
        return [Receipt(key=key, message_id=message_id, evidence="kept receipt") for message_id, key in kept]

    def forget(self, receipt: Receipt) -> None:
        """See :class:`mailonce.receipts.ReceiptStore`."""
        with self._lock:
            self._write({name: value for name, value in self._read().items() if name != receipt.message_id})

    def _read(self) -> dict[str, str]:
        # Key by message id: a key with two messages is just what must not be forgotten.
        found: Any = self._store.get(NAME, {}) if self._store is not None else {}
        return dict(found)

    def _write(self, receipts: dict[str, str]) -> None:
        if self._store is None:
            raise UnsupportedAirflow(
                "is kept only in this log, and in the journal on this machine if there is one: a task's state store, the "
                "other place for it, comes with Airflow 3.3."
            )
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        value: Any = receipts
        self._store.set(NAME, value, retention=NEVER_EXPIRE)
