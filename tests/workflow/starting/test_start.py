"""From real SQS queues, standard and FIFO, and from asset events to runs: each once, none lost, none in another's way."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailonce.errors import InvalidInput, RequestsUnmet, StartRefused
from mailonce.workflow.events import queue as event_queue
from mailonce.workflow.starting import start
from mailonce.workflow.starting.start import Starter, start_months
from sandbox.aws import LocalAws

OCTOBER = {"campaign": "monthly_usage", "period": "2026-10"}
RUN = ("monthly_usage_email", "usage-complete__2026-10__original")
EXTRA: Any = {"region_name": "eu-central-1"}


@dataclass
class MemoryRuns:
    """Starts runs as Airflow does: an id once. ``dies_after``: the process ends right after a run was started."""

    refused: set[str] = field(default_factory=set)
    started: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    dies_after: bool = False

    def check(self, dag_id: str) -> None:
        if dag_id in self.refused:
            raise StartRefused(f"the Dag {dag_id} is paused: unpause it")

    def start(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> bool:
        if (dag_id, run_id) in self.started:
            return False
        self.started[dag_id, run_id] = conf
        if self.dies_after:
            raise KeyboardInterrupt
        return True

    def state(self, dag_id: str, run_id: str) -> str | None:
        return "running" if (dag_id, run_id) in self.started else None


class Queue:
    """A real queue of SQS, and the task that reads it."""

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs, self.url = sqs, url

    @property
    def fifo(self) -> bool:
        return self.url.endswith(".fifo")

    def put(self, body: Any, group: str = "usage") -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        # Another deduplication id each time: as if the five minutes of the first were over.
        more = {"MessageGroupId": group, "MessageDeduplicationId": uuid.uuid4().hex} if self.fifo else {}
        self._sqs.send_message(QueueUrl=self.url, MessageBody=text, **more)

    @property
    def left(self) -> int:
        """How many messages there are, hidden ones too."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(told[name]) for name in names)


@pytest.fixture(params=["standard", "fifo"])
def queue(
    request: pytest.FixtureRequest, local_aws: LocalAws, connect: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Queue:
    sqs = local_aws.client("sqs")
    name = f"usage-{uuid.uuid4().hex[:12]}"
    fifo = request.param == "fifo"
    created = sqs.create_queue(
        QueueName=f"{name}.fifo" if fifo else name, Attributes={"FifoQueue": "true"} if fifo else {}
    )
    connect(
        "aws_default", conn_type="aws", login="local", password="local", extra={**EXTRA, "endpoint_url": local_aws.url}
    )
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AIRFLOW__MAILONCE__TRIGGER_QUEUE_URL", created["QueueUrl"])
    monkeypatch.setenv("AIRFLOW__MAILONCE__SNAPSHOT_URI", f"file://{tmp_path}")
    monkeypatch.setattr(event_queue, "WAIT_SECONDS", 0)
    return Queue(sqs, created["QueueUrl"])


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> MemoryRuns:
    runs = MemoryRuns()
    monkeypatch.setattr(start, "DagRuns", lambda _instance: runs)
    return runs


def task(*extras: Mapping[str, Any]) -> dict[str, int]:
    """Run the task, in a run that these asset events started."""
    at = datetime(2026, 11, 1, 2, tzinfo=timezone.utc)
    events = [SimpleNamespace(extra=extra, timestamp=at) for extra in extras]
    context: Any = {"ti": None, "triggering_asset_events": {"asset": events} if events else {}}
    return start_months(context)


class TestQueue:
    def test_a_message_starts_its_run_and_is_gone(self, queue: Queue, runs: MemoryRuns) -> None:
        queue.put({**OCTOBER, "recipients": ["C-1"]})
        assert task() == {"started": 1}
        ((_, run_id),) = runs.started
        assert run_id.startswith("usage-complete__2026-10__original__")
        assert runs.started["monthly_usage_email", run_id] == {"period": "2026-10", "recipients": ["C-1"]}
        assert queue.left == 0
        assert task() == {}

    def test_whatever_comes_twice_starts_nothing_more(
        self, queue: Queue, runs: MemoryRuns, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(3):
            queue.put(OCTOBER)
        with caplog.at_level(logging.INFO):
            assert task(OCTOBER, {**OCTOBER, "edition": "original"}) == {"started": 1, "already started": 4}
        assert list(runs.started) == [RUN]
        assert queue.left == 0
        assert "exists already (running), so nothing is started. To repeat it on purpose, clear that run" in caplog.text

    def test_death_between_start_and_deletion_repeats_nothing(self, queue: Queue, runs: MemoryRuns) -> None:
        queue.put(OCTOBER)
        runs.dies_after = True
        with pytest.raises(KeyboardInterrupt):
            task()
        assert (list(runs.started), queue.left) == ([RUN], 1)
        assert task() == {"already started": 1}
        assert queue.left == 0

    def test_what_cannot_be_read_is_kept_named_and_in_nobody_s_way(
        self, queue: Queue, runs: MemoryRuns, tmp_path: Path
    ) -> None:
        for body in ("poison", {**OCTOBER, "perod": "2026-11"}, OCTOBER):
            queue.put(body)
        with pytest.raises(
            RequestsUnmet, match=r"it is not JSON.*'perod' was unexpected.*lies under file://.*/triggers"
        ):
            task()
        assert list(runs.started) == [RUN]
        assert queue.left == 0
        kept = [json.loads(file.read_text()) for file in tmp_path.glob("triggers/set-aside/*/*.json")]
        assert sorted(each["body"] for each in kept) == ["poison", json.dumps({**OCTOBER, "perod": "2026-11"})]
        assert all("asks for nothing that can be started" in each["reason"] for each in kept)
        assert task() == {}

    def test_while_the_dag_is_paused_the_message_waits_and_others_go_on(
        self, queue: Queue, runs: MemoryRuns, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(start, "WAIT_SECONDS", 1)
        runs.refused = {"monthly_usage_email"}
        queue.put(OCTOBER, group="usage")
        queue.put({**OCTOBER, "campaign": "invoices"}, group="invoices")
        with pytest.raises(
            RequestsUnmet, match=r"monthly_usage_email is paused: unpause it. The message waits in the queue"
        ):
            task()
        assert (list(runs.started), queue.left) == ([("invoices_email", RUN[1])], 1)
        runs.refused = set()
        deadline = time.monotonic() + 30
        while task() != {"started": 1}:
            assert time.monotonic() < deadline, "the message did not come again"
        assert (RUN in runs.started, queue.left) == (True, 0)

    def test_a_run_that_exists_is_enough_though_its_dag_is_paused(self, queue: Queue, runs: MemoryRuns) -> None:
        runs.started[RUN] = {}
        runs.refused = {RUN[0]}
        queue.put(OCTOBER)
        assert task() == {"already started": 1}
        assert queue.left == 0

    def test_a_queue_that_is_not_there_names_its_setting(
        self, queue: Queue, runs: MemoryRuns, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__MAILONCE__TRIGGER_QUEUE_URL", f"{queue.url}-x")
        with pytest.raises(InvalidInput, match=r"setting \[mailonce\] trigger_queue_url: SQS refuses ReceiveMessage"):
            task()


class TestAssetEvents:
    def test_start_their_runs_without_a_queue(self, runs: MemoryRuns) -> None:
        assert task(OCTOBER, {"period": "2026-09", "from_rest_api": True}) == {"started": 2}
        assert runs.started["monthly_usage_email", "usage-complete__2026-09__original"] == {"period": "2026-09"}

    def test_without_a_month_are_named_and_stop_no_other(self, runs: MemoryRuns) -> None:
        with pytest.raises(RequestsUnmet, match=r"the asset event of 2026-11-01 02:00:00 .*'period' is a required"):
            task({}, OCTOBER)
        assert list(runs.started) == [RUN]

    def test_for_a_dag_that_is_paused_say_what_to_do(self, runs: MemoryRuns) -> None:
        runs.refused = {RUN[0]}
        with pytest.raises(
            RequestsUnmet, match=r"is paused: unpause it. Clear this task then, or trigger the month by hand"
        ):
            task(OCTOBER)
        runs.refused = set()
        assert task(OCTOBER) == {"started": 1}


def test_many_troubles_are_named_in_part(runs: MemoryRuns) -> None:
    starter = Starter(runs)
    starter.from_events(SimpleNamespace(extra={}, timestamp=datetime(2026, 11, 1)) for _ in range(30))  # noqa: DTZ001
    assert len(starter.troubles) == 30
    with pytest.raises(RequestsUnmet, match="And 10 more, see the log"):
        task(*[{}] * 30)
