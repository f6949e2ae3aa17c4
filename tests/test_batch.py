"""A batch: each recipient's trouble is their own, a retry touches only the unresolved, and a blocked run stops."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from mailonce import batch
from mailonce.batch import deliver_all, threads_of
from mailonce.delivery import Decision, Delivery, PlannedDelivery
from mailonce.errors import BatchIncomplete, InDoubt, InvalidInput, MailonceError, Rejected, RunBlocked, Throttled
from mailonce.messages.message import Message
from mailonce.pace import Pace
from mailonce.protocol import Result, Tools
from mailonce.providers.base import Departure
from mailonce.receipts import ReceiptsInMemory
from mailonce.states import State
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_delivery

TROUBLE: Mapping[str, MailonceError] = {
    "throttled": Throttled("slow down"),
    "rejected": Rejected("no such mailbox"),
    "lost": InDoubt("no answer"),
}


class Provider:
    """Accepts everybody but those whose id says otherwise; counts who was asked for."""

    remembers = None

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.trouble = dict(TROUBLE)
        self.lock = threading.Lock()

    def send(self, message: Message, *, tags: Mapping[str, str], idempotency_key: str, departure: Departure) -> str:
        departure.signing()
        departure.leaving()
        recipient = message.to.partition("@")[0]
        with self.lock:
            self.asked[recipient] += 1
        if error := self.trouble.get(recipient.partition("-")[0]):
            raise error
        return f"message for {recipient}"


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def tools(ledger: MemoryLedger, provider: Provider) -> Tools:
    return Tools(ledger=ledger, provider=provider, receipts=ReceiptsInMemory(), by="test")


def makers(*recipients: str) -> list[Callable[[], Delivery]]:
    def maker(recipient: str) -> Callable[[], Delivery]:
        def make() -> Delivery:
            if recipient.startswith("invalid"):
                raise InvalidInput(row=recipient, field="email", reason="is empty", remedy="Give one")
            return make_delivery(recipient)

        return make

    return [maker(recipient) for recipient in recipients]


EVERYBODY = [f"fine-{number}" for number in range(20)] + ["throttled-1", "rejected-1", "lost-1", "invalid-1"]


@pytest.mark.parametrize("concurrency", [1, 4, 64])
def test_one_recipients_trouble_stops_nobody_else(tools: Tools, provider: Provider, concurrency: int) -> None:
    with pytest.raises(BatchIncomplete) as caught:
        deliver_all(makers(*EVERYBODY), tools, concurrency=concurrency)
    assert sorted(type(error).__name__ for error in caught.value.errors) == [
        "InDoubt", "InvalidInput", "Rejected", "Throttled",
    ]  # fmt: skip
    assert caught.value.total == 24
    assert sum(provider.asked[recipient] for recipient in EVERYBODY if recipient.startswith("fine")) == 20
    for name in ("throttled-1", "rejected-1", "lost-1", "invalid-1"):
        assert name in str(caught.value)


def test_a_retry_touches_only_the_unresolved(tools: Tools, provider: Provider) -> None:
    with pytest.raises(BatchIncomplete):
        deliver_all(makers(*EVERYBODY), tools, concurrency=4)
    asked = provider.asked.copy()
    provider.trouble.clear()
    with pytest.raises(BatchIncomplete) as caught:
        deliver_all(makers(*EVERYBODY), tools, concurrency=4)
    assert provider.asked - asked == Counter({"throttled-1": 1})
    assert len(caught.value.errors) == 3


def test_what_was_planned_is_made_only_for_who_has_no_mail_yet(
    tools: Tools, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[str] = []

    def planned(recipient: str, fingerprint: str = "") -> PlannedDelivery:
        delivery = make_delivery(recipient)

        def make() -> Delivery:
            made.append(recipient)
            return delivery

        told = fingerprint or delivery.message.fingerprint
        return PlannedDelivery(key=delivery.key, recipient_id=recipient, fingerprint=told, make=make)

    assert deliver_all([planned("fine-1"), planned("fine-2")], tools, concurrency=2).results == {Result.SENT: 2}
    made.clear()
    everybody = [planned("fine-1"), planned("fine-2", "another content"), planned("fine-3"), *makers("fine-4")]
    tally = deliver_all(everybody, tools, concurrency=2)
    assert tally.results == {Result.ALREADY_SENT: 1, Result.CONTENT_CHANGED: 1, Result.SENT: 2}
    assert made == ["fine-3"]
    assert set(provider.asked.values()) == {1}
    assert "fine-2: nothing sent: already sent" in caplog.text


def test_finished_again_is_all_replays(tools: Tools, provider: Provider) -> None:
    everybody = makers(*EVERYBODY[:20])
    assert deliver_all(everybody, tools, concurrency=4).results == {Result.SENT: 20}
    assert deliver_all(everybody, tools, concurrency=4).results == {Result.ALREADY_SENT: 20}
    assert provider.asked.total() == 20


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_blocked_run_claims_nothing_further(
    tools: Tools, provider: Provider, concurrency: int, caplog: pytest.LogCaptureFixture
) -> None:
    provider.trouble["blocked"] = RunBlocked("sending is paused")
    recipients = ["blocked-0", *[f"fine-{number}" for number in range(5000)]]
    asked_until_stopped = [1]

    class Watched(Pace):
        def stop(self) -> None:
            super().stop()
            asked_until_stopped.append(provider.asked.total())

    with pytest.raises(BatchIncomplete) as caught:
        deliver_all(makers(*recipients), replace(tools, pace=Watched()), concurrency=concurrency)
    assert any(isinstance(error, RunBlocked) for error in caught.value.errors)
    # At most those that were under way beside it; one after the other there are none.
    under_way = threads_of(concurrency) if concurrency > 1 else 0
    assert provider.asked.total() <= asked_until_stopped[:2][-1] + under_way
    assert "were not tried: the run is blocked" in caplog.text


def test_of_one_alone_its_own_error_is_raised(tools: Tools) -> None:
    with pytest.raises(Rejected, match="no such mailbox") as caught:
        deliver_all(makers("rejected-1"), tools)
    assert caught.value.recipient_id == "rejected-1"


def test_what_nobody_foresaw_is_not_taken_for_a_recipients_trouble(tools: Tools) -> None:
    def broken() -> Delivery:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        deliver_all([*makers("fine-1"), broken], tools, concurrency=2)


def test_an_empty_batch_is_done(tools: Tools) -> None:
    assert deliver_all([], tools, concurrency=4).done == 0


@pytest.mark.parametrize("concurrency", [1, 4])
def test_who_has_the_mail_is_looked_up_and_claimed_by_nobody(
    tools: Tools, ledger: MemoryLedger, caplog: pytest.LogCaptureFixture, concurrency: int
) -> None:
    recipients = [f"fine-{number}" for number in range(2 * batch.PAGE + 5)]
    deliver_all(makers(*recipients[:-3]), tools, concurrency=concurrency)
    ledger.calls.clear()
    with caplog.at_level(logging.INFO, logger="mailonce.protocol"):
        tally = deliver_all(makers(*recipients), tools, concurrency=concurrency)
    assert tally.results == {Result.ALREADY_SENT: len(recipients) - 3, Result.SENT: 3}
    assert Counter(ledger.calls) == {"find": 3, "claim": 3, "conclude": 3}
    assert caplog.text.count("nothing sent: already sent on") == len(recipients) - 3


def test_cancelled_and_changed_are_told_apart_without_a_claim(tools: Tools, ledger: MemoryLedger) -> None:
    deliver_all(makers("fine-1", "fine-2"), tools)
    with pytest.raises(BatchIncomplete):
        deliver_all(makers("rejected-1", "fine-1"), tools)
    key = make_delivery("rejected-1").key
    ledger.decide(key, Decision(state=State.CANCELLED, by="support", reason="asked for"))
    ledger.calls.clear()
    changed = [lambda: make_delivery("fine-1", text="You used 4 units."), *makers("fine-2", "rejected-1")]
    results = deliver_all(changed, tools).results
    assert results == {Result.CONTENT_CHANGED: 1, Result.ALREADY_SENT: 1, Result.CANCELLED: 1}
    assert ledger.calls == ["find"]


def test_one_alone_is_claimed_without_a_look_unless_it_would_have_to_wait_its_turn(
    tools: Tools, ledger: MemoryLedger
) -> None:
    deliver_all(makers("fine-1"), tools)
    assert ledger.calls == ["claim", "conclude"]
    ledger.rate.limit("account", 1)
    ledger.calls.clear()
    governed = replace(tools, pace=Pace(ledger.rate, "account"))
    assert deliver_all(makers("fine-1"), governed).results == {Result.ALREADY_SENT: 1}
    assert deliver_all(makers("fine-2"), governed).results == {Result.SENT: 1}
    assert ledger.calls == ["find", "find", "rate.reserve", "claim", "conclude"]


def test_throttled_mails_are_tried_again_each_time_when_their_turn_comes(
    tools: Tools, ledger: MemoryLedger, provider: Provider
) -> None:
    ledger.rate.limit("account", 200)
    with pytest.raises(BatchIncomplete) as caught:
        deliver_all(makers("throttled-1", "fine-1"), replace(tools, pace=Pace(ledger.rate, "account")), concurrency=2)
    assert [type(error) for error in caught.value.errors] == [Throttled]
    assert provider.asked == {"throttled-1": batch.TRIES, "fine-1": 1}
    assert 0.1 <= ledger.rate.timetables["account"].share <= 0.8
    (entry,) = ledger.find([make_delivery("throttled-1").key])
    assert entry.state is State.RELEASED
    with pytest.raises(Throttled):
        deliver_all(makers("throttled-2"), tools)
    assert provider.asked["throttled-2"] == 1, "Airflow's retries wait without a worker"


def test_a_stopped_batch_lets_nobody_wait_for_its_turn(tools: Tools, ledger: MemoryLedger, provider: Provider) -> None:
    ledger.rate.limit("account", 0.01)
    provider.trouble["blocked"] = RunBlocked("sending is paused")
    recipients = ["blocked-0", *[f"fine-{number}" for number in range(50)]]
    begun = time.monotonic()
    with pytest.raises(BatchIncomplete):
        deliver_all(makers(*recipients), replace(tools, pace=Pace(ledger.rate, "account")), concurrency=8)
    assert time.monotonic() - begun < 50, "the next slot comes after 100 s"
    assert provider.asked == {"blocked-0": 1}


def test_progress_is_said_while_it_runs(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(batch, "PROGRESS_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, logger="mailonce.batch"):
        deliver_all(makers(*EVERYBODY[:20]), tools, concurrency=2)
    assert "10 of 20 done (0 unresolved)" in caplog.text
