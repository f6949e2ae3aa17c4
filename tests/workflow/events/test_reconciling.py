"""The stand-in for SES publishes into a real queue, and the Dag's tasks empty it into each kind of ledger."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from mailonce import IdempotentSesOperator
from mailonce.delivery import Conclusion, Delivery, Entry
from mailonce.errors import DuplicateMeasured, EventsSetAside, InDoubt, InvalidInput, LedgerUnavailable
from mailonce.events import Fate
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from mailonce.workflow import connections
from mailonce.workflow.connections import events_client, open_ledger
from mailonce.workflow.events import queue as event_queue
from mailonce.workflow.events.queue import EventQueue
from mailonce.workflow.events.reconciling import raise_alarm, reconcile
from mailonce.workflow.retries import DeliveryRetryPolicy
from mailonce.workflow.settings import Settings
from sandbox.aws import REGION, LocalAws
from sandbox.ses import Behaviour, SesStandIn, SqsEvents
from sandbox.ses import Fate as StandInFate
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim, make_delivery
from tests.workflow.events.made_events import body

ANN = make_delivery("ann")


def remember(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the connection ``mailonce_ledger`` lead to a ledger in memory."""
    ledger = MemoryLedger()
    monkeypatch.setitem(connections._LEDGERS, "memory", lambda *_: ledger)  # type: ignore[arg-type]
    connect("mailonce_ledger", conn_type="memory")


@pytest.fixture(
    params=[
        "memory",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("dynamodb", marks=pytest.mark.dynamodb),
    ]
)
def ledger(request: pytest.FixtureRequest, connect: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger that the tasks find, each test's own."""
    monkeypatch.setenv("AIRFLOW__MAILONCE__LEDGER_TABLE", f"reconciling_{uuid.uuid4().hex[:12]}")
    if request.param == "memory":
        remember(connect, monkeypatch)
    elif request.param == "postgres":
        server = request.getfixturevalue("postgres")
        server.create_database("reconciling")
        connect("mailonce_ledger", **server.connection("reconciling"))
    else:
        url = request.getfixturevalue("local_aws").url
        extra = {"region_name": "eu-central-1", "endpoint_url": url}
        connect("mailonce_ledger", conn_type="aws", login="local", password="local", extra=extra)
    with closing(open_ledger(Settings.load())) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty queue on this machine is known to be empty at once."""
    monkeypatch.setattr(event_queue, "WAIT_SECONDS", 0)


@pytest.fixture
def sqs(local_aws: LocalAws) -> Any:
    return local_aws.client("sqs")


@pytest.fixture
def queue_url(sqs: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A queue of the test's own, as the settings name it."""
    url: str = sqs.create_queue(QueueName=f"events-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    monkeypatch.setenv("AIRFLOW__MAILONCE__EVENTS_QUEUE_URL", url)
    return url


@pytest.fixture(params=["wrapped by SNS", "raw"])
def ses(request: pytest.FixtureRequest, queue_url: str, local_aws: LocalAws) -> Iterator[SesStandIn]:
    publisher = SqsEvents(queue_url, local_aws.url, wrap_in_sns=request.param != "raw", region_name=REGION)
    with SesStandIn(hang_seconds=5, late_seconds=0.1, events=publisher) as standin:
        yield standin


@pytest.fixture
def connected(
    local_aws: LocalAws, connect: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., None]:
    """Makes the connection ``aws_default``: SQS on this machine, and SES too if there is one."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AIRFLOW__MAILONCE__SNAPSHOT_URI", f"file://{tmp_path}/snapshots")
    monkeypatch.setenv("AIRFLOW__MAILONCE__JOURNAL_DIR", "none")
    monkeypatch.setenv("AIRFLOW__MAILONCE__SENDER", "Billing <billing@example.com>")
    monkeypatch.setenv("AIRFLOW__MAILONCE__CONFIGURATION_SET", "statements")

    def make(ses_url: str = "") -> None:
        services = {"sqs": {"endpoint_url": local_aws.url}, "sesv2": {"endpoint_url": ses_url or local_aws.url}}
        extra = {
            "region_name": "eu-central-1", "service_config": services,
            "config_kwargs": {"read_timeout": 3, "connect_timeout": 1},
        }  # fmt: skip
        connect("aws_default", conn_type="aws", login="local", password="local", extra=extra)

    make()
    return make


def doubted(ledger: Ledger, delivery: Delivery = ANN) -> None:
    claim = make_claim(delivery)
    ledger.claim(claim)
    ledger.conclude(delivery.key, claim.token, Conclusion(state=State.IN_DOUBT, error="no answer"))


def entry(ledger: Ledger, delivery: Delivery = ANN) -> Entry:
    return next(ledger.find([delivery.key]))


def put(sqs: Any, url: str, *bodies: str) -> None:
    for text in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=text)


class TestFromTheWireToTheLedger:
    @pytest.fixture(autouse=True)
    def _wired(self, ledger: Ledger, ses: SesStandIn, connected: Any, queue_url: str) -> None:
        connected(ses.url)

    def mail(self, *recipient_ids: str) -> Any:
        rows = [{"recipient_id": each, "email": f"{each}@example.com"} for each in recipient_ids]
        facts = {"campaign": "usage", "period": "2030-01", "subject": "Your month", "text": "3 units"}
        return IdempotentSesOperator(task_id="mail", recipients=rows, **facts).execute({})

    def rows(self, ledger: Ledger) -> dict[str, Entry]:
        return {row.identity.recipient_id: row for row in ledger.of_month("usage", "2030-01")}

    def published(self, ses: SesStandIn, count: int) -> None:
        ends = time.monotonic() + 10
        while ses.events.published < count and time.monotonic() < ends:
            time.sleep(0.02)
        assert ses.events.published == count

    def test_a_mail_whose_answer_was_lost_was_sent_and_is_not_sent_again(self, ledger: Ledger, ses: SesStandIn) -> None:
        ses.behave("ann@example.com", [Behaviour.ACCEPT_THEN_RESET])
        with pytest.raises(InDoubt):
            self.mail("ann")
        assert self.rows(ledger)["ann"].state is State.IN_DOUBT
        self.published(ses, 2)
        assert reconcile()["applied"] == 2
        assert self.rows(ledger)["ann"].state is State.SENT
        assert self.mail("ann")["already sent"] == 1
        assert len(ses.requests) == 1

    def test_each_fate_once_out_of_order_and_repeated(self, ledger: Ledger, ses: SesStandIn, sqs: Any) -> None:
        fates = {
            "delivered": (StandInFate.DELIVERY, Fate.DELIVERED),
            "bounced": (StandInFate.BOUNCE, Fate.BOUNCED),
            "full": (StandInFate.TRANSIENT_BOUNCE, Fate.BOUNCED),
            "complained": (StandInFate.COMPLAINT, Fate.COMPLAINED),
            "suppressed": (StandInFate.SUPPRESSED, Fate.BOUNCED),
            "delayed": (StandInFate.DELAYED, Fate.DELIVERED),
            "virus": (StandInFate.REJECT, Fate.DROPPED),
            "repeated": (StandInFate.REPEATED, Fate.DELIVERED),
            "nothing-more": (StandInFate.SEND_ONLY, None),
        }
        ses.set_fates({f"{name}@example.com": fate for name, (fate, _) in fates.items()})
        self.mail(*fates)
        self.published(ses, 20)
        result = reconcile()
        assert result["applied"] + result["already known"] == 20
        assert (result["drained"], result["duplicates"]) == (True, 0)
        rows = self.rows(ledger)
        assert {name: (row.state, row.fate) for name, row in rows.items()} == {
            name: (State.SENT, fate) for name, (_, fate) in fates.items()
        }
        assert {one.address.partition("@")[0] for one in ledger.suppressions.all()} == {
            "bounced", "complained", "suppressed",
        }  # fmt: skip
        assert all("@" not in (row.fate_detail or "") for row in rows.values())
        raise_alarm(result)
        assert {name: row.history for name, row in rows.items()} == {
            name: row.history for name, row in self.rows(ledger).items()
        }

    def test_a_duplicate_is_measured_and_raises_alarm_once(self, ledger: Ledger, ses: SesStandIn) -> None:
        self.mail("ann")
        (mail,) = ses.mails
        behind_our_back = boto3.client(
            "sesv2", endpoint_url=ses.url, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        second = behind_our_back.send_email(
            FromEmailAddress="billing@example.com", Destination={"ToAddresses": ["ann@example.com"]},
            Content={"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}},
            EmailTags=[{"Name": name, "Value": value} for name, value in mail.tags.items()],
            ConfigurationSetName="statements",
        )["MessageId"]  # fmt: skip
        self.published(ses, 4)
        result = reconcile()
        with pytest.raises(DuplicateMeasured, match=f"1 recipients .* ann: messages {mail.message_id}, {second} "):
            raise_alarm(result)
        assert json.loads(json.dumps(result)) == result | {
            "named_duplicates": [
                {"recipient_id": "ann", "key": mail.key, "message_ids": [mail.message_id, second]},
            ]
        }  # fmt: skip
        assert self.rows(ledger)["ann"].duplicate_message_ids == (second,)
        raise_alarm(reconcile())


class TestQueue:
    """With one ledger of each kind, and messages that no stand-in would write."""

    @pytest.fixture(autouse=True)
    def _wired(self, ledger: Ledger, connected: None, queue_url: str) -> None: ...

    def test_an_empty_queue_is_left_soon(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        reconcile()  # whatever is made on first use
        monkeypatch.setattr(event_queue, "WAIT_SECONDS", 1)
        before = ledger.epoch.read().read_at
        started = time.monotonic()
        result = reconcile()
        assert time.monotonic() - started < 15, "nobody waits for the 20 seconds that SQS allows"
        assert result["drained"] is True
        drained_at = ledger.epoch.read().events_drained_at
        assert drained_at is not None
        assert before <= drained_at <= ledger.epoch.read().read_at

    def test_a_ledger_that_goes_away_loses_nothing(
        self, ledger: Ledger, sqs: Any, queue_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deliveries = [make_delivery(f"C-{number:02}") for number in range(35)]
        put(sqs, queue_url, *(body(each, kind) for each in deliveries for kind in ("Send", "Bounce")))
        original, seen = type(ledger).observe, 0

        def goes_away(self: Any, event: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen > 17:
                raise LedgerUnavailable("away")
            return original(self, event)

        with monkeypatch.context() as broken:
            broken.setattr(type(ledger), "observe", goes_away)
            with pytest.raises(LedgerUnavailable):
                reconcile()
        assert ledger.epoch.read().events_drained_at is None
        result = reconcile()  # at once: nobody waits until the messages are visible again
        assert result["drained"] is True
        rows = list(ledger.of_month("usage", "2030-01"))
        assert [(row.state, row.fate, len(row.event_ids)) for row in rows] == [(State.SENT, Fate.BOUNCED, 1)] * 35
        assert {len(row.history) for row in rows} == {2}
        assert len(list(ledger.suppressions.all())) == 35

    def test_killed_before_it_deletes_it_tells_nothing_twice(
        self, ledger: Ledger, sqs: Any, queue_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        doubted(ledger)
        put(sqs, queue_url, body(ANN, "Send"), body(ANN, "Delivery"), body(ANN, "Send", "m-2"))
        monkeypatch.setattr(event_queue, "VISIBILITY_SECONDS", 1)

        def killed(*_: Any) -> None:
            raise SystemExit

        with monkeypatch.context() as broken:
            broken.setattr(EventQueue, "delete", killed)
            with pytest.raises(SystemExit):
                reconcile()
        history = entry(ledger).history
        assert reconcile()["drained"] is False, "the killed one's messages are not to be had yet"
        assert ledger.epoch.read().events_drained_at is None
        time.sleep(1)
        result = reconcile()
        assert (result["already known"], result["drained"], result["duplicates"]) == (3, True, 1)
        assert entry(ledger).history == history

    def test_what_cannot_be_used_is_kept_aside_and_raises_alarm_once(
        self, ledger: Ledger, sqs: Any, queue_url: str, tmp_path: Path
    ) -> None:
        put(sqs, queue_url, "poison ☠", body(ANN, mailonce_key=ANN.key), body(make_delivery("bob")))
        result = reconcile()
        assert (result["set aside"], result["applied"], result["drained"]) == (2, 1, True)
        with pytest.raises(EventsSetAside, match=rf"^2 messages .* under file://{tmp_path}/snapshots/events/set-aside"):
            raise_alarm(result)
        files = list((tmp_path / "snapshots/events/set-aside").glob("*/*.json"))
        assert "poison ☠" in [json.loads(file.read_text())["body"] for file in files]
        raise_alarm(reconcile())


class TestSettingAsideElsewhere:
    def test_in_s3(
        self,
        local_aws: LocalAws,
        connected: None,
        queue_url: str,
        sqs: Any,
        connect: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        remember(connect, monkeypatch)
        extra = {"region_name": "eu-central-1", "endpoint_url": local_aws.url}
        connect("aws_s3", conn_type="aws", login="local", password="local", extra=extra)
        bucket = f"aside-{uuid.uuid4().hex[:12]}"
        s3 = local_aws.client("s3")
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        monkeypatch.setenv("AIRFLOW__MAILONCE__SNAPSHOT_URI", f"s3://aws_s3@{bucket}/snapshots")
        put(sqs, queue_url, "poison")
        assert reconcile()["set aside"] == 1
        (stored,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
        assert stored["Key"].startswith("snapshots/events/set-aside/")
        kept = json.loads(s3.get_object(Bucket=bucket, Key=stored["Key"])["Body"].read())
        assert (kept["body"], kept["reason"]) == ("poison", "is not JSON (JSONDecodeError)")


class TestSettings:
    def test_without_a_queue_there_is_nothing_to_do(self, connected: None) -> None:
        with pytest.raises(AirflowSkipException, match="AIRFLOW__MAILONCE__EVENTS_QUEUE_URL"):
            reconcile()

    @pytest.mark.parametrize("url", ["events", "arn:aws:sqs:eu-central-1:123456789012:events"])
    def test_a_queue_is_named_by_its_url(self, connected: None, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        monkeypatch.setenv("AIRFLOW__MAILONCE__EVENTS_QUEUE_URL", url)
        with pytest.raises(InvalidInput, match=r"^setting \[mailonce\] events_queue_url: .* is no URL"):
            reconcile()

    def test_a_queue_that_is_not_there_is_named(
        self, connected: None, connect: Any, queue_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        remember(connect, monkeypatch)
        monkeypatch.setenv("AIRFLOW__MAILONCE__EVENTS_QUEUE_URL", f"{queue_url}-nosuch")
        with pytest.raises(InvalidInput, match=r"events_queue_url: SQS refuses ReceiveMessage .*NonExistentQueue"):
            reconcile()

    @pytest.mark.parametrize(
        ("url", "region"),
        [
            ("https://sqs.us-west-2.amazonaws.com/123456789012/events", "us-west-2"),
            ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/events", "cn-north-1"),
            ("https://vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com/123456789012/events", "eu-west-1"),
            ("http://127.0.0.1:4566/000000000000/sqs", "eu-central-1"),
        ],
    )
    def test_the_client_s_region_is_the_queue_s(self, connected: None, url: str, region: str) -> None:
        client = events_client(Settings(events_queue_url=url, concurrency=32))
        assert (client.meta.region_name, client.meta.config.max_pool_connections) == (region, 32)

    def test_the_endpoint_follows_the_sdk_s_conventions(
        self, connect: Any, monkeypatch: pytest.MonkeyPatch, queue_url: str, local_aws: LocalAws
    ) -> None:
        connect("aws_default", conn_type="aws", login="local", password="local", extra={"region_name": "eu-central-1"})
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", local_aws.url)
        client = events_client(Settings(events_queue_url=queue_url))
        assert client.meta.endpoint_url == local_aws.url
        assert EventQueue(client, queue_url).depth().waiting == 0


CALM = {
    "applied": 7,
    "drained": True,
    "stopped_by": "",
    "duplicates": 0,
    "named_duplicates": [],
    "set_aside_in": "kept",
}
TWICE = {"recipient_id": "ann", "key": "0" * 64, "message_ids": ["m-1", "m-2"]}


class TestAlarm:
    def test_there_is_none_without_a_cause(self) -> None:
        raise_alarm(CALM)
        raise_alarm({**CALM, "drained": False})

    def test_a_duplicate_comes_first_and_nothing_is_left_out(self) -> None:
        found = {
            "duplicates": 1,
            "named_duplicates": [TWICE],
            "set aside": 2,
            "stopped_by": "LedgerUnavailable: away",
        }
        with pytest.raises(DuplicateMeasured) as told:
            raise_alarm({**CALM, **found})
        text = str(told.value)
        for part in ("ann: messages m-1, m-2", "2 messages told nothing", "under kept", "LedgerUnavailable: away"):
            assert part in text

    def test_trying_again_would_not_help(self) -> None:
        for error in (DuplicateMeasured("x"), EventsSetAside("x")):
            assert DeliveryRetryPolicy().backoff(error).count == 0
