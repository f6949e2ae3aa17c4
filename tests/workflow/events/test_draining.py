"""From a queue in memory to a ledger in memory: order, repetition, crashes, and whatever else may lie in a queue."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import airflow.sdk  # noqa: F401 - sets up logging anew, so it must not be imported in the midst of a test
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.delivery import Conclusion, Delivery, Entry
from mailonce.errors import LedgerUnavailable
from mailonce.events import Fate
from mailonce.privacy.person import erase_person, find_person
from mailonce.privacy.pseudonyms import KEY_CHECK, Pseudonyms
from mailonce.privacy.purges import Purge
from mailonce.protocol import Result, Tools, deliver
from mailonce.receipts import ReceiptsInMemory
from mailonce.states import State
from mailonce.workflow.events import draining
from mailonce.workflow.events.draining import Drain, Tally
from mailonce.workflow.events.observing import Outcome
from mailonce.workflow.events.set_aside import SetAside
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeClock, FakeProvider, make_claim, make_delivery
from tests.workflow.events.made_events import ACCEPTED_AT, MemoryQueue, body

ANN, BOB = make_delivery("ann"), make_delivery("bob")


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def drain(queue: MemoryQueue, ledger: MemoryLedger, tmp_path: Path) -> Callable[..., Tally]:
    def run(**options: Any) -> Tally:
        return Drain(queue, ledger, SetAside(f"file://{tmp_path}"), **options).run()  # type: ignore[arg-type]

    return run


def claimed(ledger: MemoryLedger, delivery: Delivery = ANN, then: Conclusion | None = None) -> Delivery:
    claim = make_claim(delivery)
    ledger.claim(claim)
    if then:
        ledger.conclude(delivery.key, claim.token, then)
    return delivery


def doubted(ledger: MemoryLedger, delivery: Delivery = ANN) -> Delivery:
    return claimed(ledger, delivery, Conclusion(state=State.IN_DOUBT, error="no answer"))


def entry(ledger: MemoryLedger, delivery: Delivery = ANN) -> Entry:
    return next(ledger.find([delivery.key]))


def kept(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("events/set-aside/*/*.json"))]


class TestWhatAnEventSettles:
    @pytest.mark.parametrize("kind", ["Send", "Delivery", "Bounce", "Reject"])
    def test_a_mail_in_doubt_was_sent(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any, kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        queue.put(body(doubted(ledger), kind))
        tally = drain()
        assert (entry(ledger).state, entry(ledger).message_id) == (State.SENT, "m-1")
        assert (dict(tally.outcomes), tally.drained, tally.alarming) == ({Outcome.APPLIED: 1}, True, False)
        assert "ann: was IN_DOUBT, is SENT: message m-1" in caplog.text
        assert queue.held == {}

    def test_a_released_key_whose_mail_was_accepted_after_all_is_not_sent_again(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any
    ) -> None:
        claimed(ledger, ANN, Conclusion(state=State.RELEASED, error="throttled"))
        queue.put(body(ANN))
        drain()
        provider = FakeProvider()
        tools = Tools(ledger=ledger, provider=provider, receipts=ReceiptsInMemory(), by="test")
        assert deliver(ANN, tools)[0] is Result.ALREADY_SENT
        assert provider.asked == 0

    def test_what_became_of_a_mail_stands_in_its_row(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any
    ) -> None:
        queue.put(body(doubted(ledger), "Bounce", seconds=7))
        drain()
        row = entry(ledger)
        assert (row.fate, row.fate_detail) == (Fate.BOUNCED, "Permanent/General")
        assert row.fate_at == ACCEPTED_AT + timedelta(seconds=7)

    def test_a_row_that_the_ledger_has_forgotten_comes_back(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any
    ) -> None:
        queue.put(body(ANN, "Delivery"), body(ANN, "Send"))
        assert drain().outcomes[Outcome.APPLIED] >= 1
        assert (entry(ledger).state, entry(ledger).identity, entry(ledger).fate) == (
            State.SENT, ANN.identity, Fate.DELIVERED,
        )  # fmt: skip


class TestOnce:
    def test_an_event_that_the_row_holds_costs_no_write(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any
    ) -> None:
        doubted(ledger)
        bodies = [body(ANN, "Send"), body(ANN, "Delivery"), body(ANN, "Bounce")]
        queue.put(*bodies)
        drain()
        history = entry(ledger).history
        ledger.calls.clear()
        queue.put(*bodies, *bodies)
        assert dict(drain().outcomes) == {Outcome.KNOWN: 6}
        assert set(ledger.calls) == {"epoch.read", "find", "epoch.drained"}
        assert entry(ledger).history == history

    def test_the_same_event_twice_in_one_batch_is_written_once(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any
    ) -> None:
        doubted(ledger)
        queue.put(*[body(ANN, "Delivery")] * 10)
        assert dict(drain().outcomes) == {Outcome.APPLIED: 1, Outcome.KNOWN: 9}
        assert ledger.calls.count("observe") == 1

    @given(st.integers(), st.integers(1, 8), st.permutations(
        [("Send", "m-1", 0), ("Delivery", "m-1", 3), ("DeliveryDelay", "m-1", 1), ("Complaint", "m-1", 9),
         ("Send", "m-2", 0), ("Bounce", "m-2", 4)] * 2,
    ))  # fmt: skip
    def test_order_and_repetition_are_nothing(self, seed: int, threads: int, events: Any) -> None:
        ledger, queue = MemoryLedger(), MemoryQueue(seed)
        doubted(ledger)
        queue.put(*(body(ANN, kind, message_id, seconds=seconds) for kind, message_id, seconds in events))
        tally = Drain(queue, ledger, SetAside("file:///nowhere"), threads=threads).run()  # type: ignore[arg-type]
        row = entry(ledger)
        assert {row.message_id, *row.duplicate_message_ids} == {"m-1", "m-2"}
        assert (row.state, row.fate, len(row.event_ids)) == (State.SENT, Fate.COMPLAINED, 4)
        assert row.fate_at == ACCEPTED_AT + timedelta(seconds=9)
        assert [line["by"] for line in row.history if str(line["by"]) == "event Bounce"].count("event Bounce") <= 2
        assert (tally.outcomes.total(), list(tally.duplicates)) == (12, [ANN.key])
        assert {held.address for held in ledger.suppressions.all()} == {"ann@example.org"}

    def test_many_side_by_side(self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any) -> None:
        deliveries = [doubted(ledger, make_delivery(f"C-{number}")) for number in range(150)]
        for kind in ("Send", "Delivery", "Send"):
            queue.put(*(body(each, kind, f"m-{each.key}") for each in deliveries))
        tally = drain(threads=8)
        assert tally.drained
        assert tally.outcomes.total() == 450
        assert {(row.state, row.fate) for row in ledger.of_month("usage", "2030-01")} == {(State.SENT, Fate.DELIVERED)}


class TestSuppressing:
    def test_an_address_that_bounced_for_good_or_complained_is_not_mailed(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any
    ) -> None:
        queue.put(body(ANN, "Bounce", seconds=5), body(BOB, "Complaint"), body(make_delivery("cid"), "Delivery"))
        drain()
        held = {one.address: one for one in ledger.suppressions.all()}
        assert set(held) == {"ann@example.org", "bob@example.org"}
        ann = held["ann@example.org"]
        assert (ann.reason, ann.by, ann.key) == ("hard bounce (Permanent/General)", "event Bounce", ANN.key)
        assert ann.since == ACCEPTED_AT + timedelta(seconds=5)

    def test_a_crash_before_the_row_is_written_forgets_no_suppression(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def dies(event: Any) -> Any:
            raise LedgerUnavailable("away")

        with monkeypatch.context() as broken:
            broken.setattr(ledger, "observe", dies)
            queue.put(body(ANN, "Bounce"))
            with pytest.raises(LedgerUnavailable):
                drain()
        drain()
        assert [one.address for one in ledger.suppressions.all()] == ["ann@example.org"]
        assert entry(ledger).fate is Fate.BOUNCED

    def test_what_somebody_lifted_does_not_come_back_by_repetition(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any
    ) -> None:
        queue.put(body(ANN, "Bounce"))
        drain()
        ledger.suppressions.lift("ann@example.org", by="support", reason="mailbox is back")
        queue.put(body(ANN, "Bounce"))
        drain()
        assert list(ledger.suppressions.all()) == []


class TestDuplicates:
    def test_two_message_ids_for_one_key_are_measured_once(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        queue.put(body(ANN, "Send", "m-1"))
        assert not drain().alarming
        queue.put(body(ANN, "Send", "m-2"), body(BOB, "Send", "m-3"))
        (found,) = drain().duplicates.values()
        assert (found.recipient_id, found.key, found.message_ids) == ("ann", ANN.key, ("m-1", "m-2"))
        (error,) = (line for line in caplog.records if line.levelno == logging.ERROR)
        assert "ann: a measured duplicate: the provider accepted messages m-1 and m-2" in error.getMessage()
        # What the ledger knows already is told no more, whatever else comes about either mail.
        queue.put(body(ANN, "Delivery", "m-2"), body(ANN, "Delivery", "m-1"), body(ANN, "Send", "m-2"))
        assert not drain().alarming

    def test_each_further_one_is_told(self, queue: MemoryQueue, drain: Any) -> None:
        for message_id, duplicates in (("m-1", 0), ("m-2", 1), ("m-3", 1)):
            queue.put(body(ANN, "Send", message_id))
            assert len(drain().duplicates) == duplicates

    def test_a_crash_after_the_ledger_was_told_hides_none(self, queue: MemoryQueue, drain: Any) -> None:
        queue.put(body(ANN, "Send", "m-1"))
        drain()
        queue.put(body(ANN, "Send", "m-2"))
        queue.breaks_at_delete = SystemExit()
        with pytest.raises(SystemExit):
            drain()
        queue.breaks_at_delete = None
        queue.time_passes()
        tally = drain()
        assert list(tally.duplicates) == [ANN.key]
        assert dict(tally.outcomes) == {Outcome.KNOWN: 1}


class TestTroubles:
    def test_a_ledger_that_is_away_loses_nothing(self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any) -> None:
        bodies = [body(doubted(ledger, make_delivery(f"C-{number}"))) for number in range(25)]
        queue.put(*bodies)
        ledger.calls.clear()
        original, asked = ledger.observe, 0

        def dies_in_the_second_batch(event: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == 15:
                ledger.fail_next = "after"
            if asked > 15:
                ledger.fail_next = "before"
            return original(event)

        ledger.observe = dies_in_the_second_batch  # type: ignore[method-assign]
        with pytest.raises(LedgerUnavailable):
            drain()
        assert len(queue.held) == 15
        assert not any(held.hidden for held in queue.held.values()), "the next try need not wait for them"
        ledger.observe = original  # type: ignore[method-assign]
        ledger.fail_next = None
        tally = drain()
        assert tally.drained
        assert sum(tally.outcomes.values()) == 15
        rows = list(ledger.of_month("usage", "2030-01"))
        assert [row.state for row in rows] == [State.SENT] * 25
        assert {len(row.history) for row in rows} == {3}, "claimed, in doubt, sent"

    @pytest.mark.parametrize("threads", [1, 8])
    def test_a_ledger_that_is_away_from_the_start(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any, threads: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queue.put(*(body(make_delivery(f"C-{number}")) for number in range(200)))

        def away(*_: Any) -> Any:
            raise LedgerUnavailable("away")

        monkeypatch.setattr(ledger, "find", away)
        with pytest.raises(LedgerUnavailable):
            drain(threads=threads)
        assert len(queue.held) == 200
        assert "delete" not in queue.calls
        assert ledger.epoch.read().events_drained_at is None

    def test_killed_between_the_ledger_and_the_queue_nothing_is_told_twice(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any
    ) -> None:
        queue.put(body(doubted(ledger), "Send"), body(ANN, "Delivery"), body(ANN, "Bounce"))
        queue.breaks_at_delete = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            drain()
        history = entry(ledger).history
        queue.breaks_at_delete = None
        assert not drain().drained, "whoever was killed still holds them"
        assert ledger.epoch.read().events_drained_at is None
        queue.time_passes()
        tally = drain()
        assert (dict(tally.outcomes), tally.drained) == ({Outcome.KNOWN: 3}, True)
        assert (entry(ledger).history, queue.held) == (history, {})

    def test_what_the_queue_did_not_delete_comes_again(self, queue: MemoryQueue, drain: Any) -> None:
        queue.put(*(body(make_delivery(f"C-{number}")) for number in range(5)))
        queue.receipts_fail = 2
        assert dict(drain().outcomes) == {Outcome.APPLIED: 5, Outcome.KNOWN: 2}

    def test_an_error_does_not_hide_what_was_found_before_it(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queue.put(body(ANN, "Send", "m-1"), body(ANN, "Send", "m-2"))
        original = queue.delete

        def then_the_ledger_goes(messages: Any) -> None:
            original(messages)
            ledger.fail_next = "before"

        monkeypatch.setattr(queue, "delete", then_the_ledger_goes)
        tally = drain()
        assert list(tally.duplicates) == [ANN.key]
        assert (tally.drained, tally.stopped_by) == (False, "LedgerUnavailable: the ledger is away")


class TestEmpty:
    def test_an_empty_queue_costs_three_questions(self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any) -> None:
        tally = drain(threads=8)
        assert (tally.drained, tally.in_words()) == (True, "no messages")
        assert (queue.calls, ledger.calls) == (["receive", "depth"], ["epoch.read", "epoch.drained"])

    def test_the_moment_is_the_ledger_s_and_from_before_the_last_look(self, tmp_path: Path) -> None:
        clock = FakeClock()
        ledger, queue = MemoryLedger(clock.now), MemoryQueue()
        start, original = clock.now(), queue.receive

        def takes_a_minute() -> Any:
            clock.advance(timedelta(minutes=1))
            return original()

        queue.receive = takes_a_minute  # type: ignore[method-assign]
        queue.put(body(ANN))
        Drain(queue, ledger, SetAside(f"file://{tmp_path}")).run()  # type: ignore[arg-type]
        assert queue.calls.count("receive") == 2
        assert ledger.epoch.read().events_drained_at == start + timedelta(minutes=1)

    def test_messages_in_somebody_else_s_hands_mean_that_it_is_not_drained(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any
    ) -> None:
        queue.elsewhere = 3
        queue.put(body(ANN))
        tally = drain()
        assert (tally.drained, tally.outcomes.total()) == (False, 1)
        assert ledger.epoch.read().events_drained_at is None

    def test_what_arrives_meanwhile_is_taken_too(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = queue.depth

        def one_more() -> Any:
            monkeypatch.undo()
            queue.put(body(ANN))
            return original()

        monkeypatch.setattr(queue, "depth", one_more)
        tally = drain()
        assert (tally.drained, tally.outcomes.total()) == (True, 1)

    @pytest.mark.parametrize("threads", [1, 4])
    def test_the_time_is_bounded(
        self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any, threads: int, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        clock = FakeClock()
        monkeypatch.setattr(draining.time, "monotonic", clock.seconds)
        original = queue.delete

        def takes_a_minute(messages: Any) -> None:
            clock.advance(timedelta(minutes=1))
            original(messages)

        monkeypatch.setattr(queue, "delete", takes_a_minute)
        queue.put(*(body(make_delivery(f"C-{number}")) for number in range(300)))
        caplog.set_level(logging.INFO)
        tally = drain(threads=threads)
        assert not tally.drained
        assert 100 <= tally.outcomes.total() <= 100 + 10 * threads
        assert len(queue.held) == 300 - tally.outcomes.total()
        assert not any(held.hidden for held in queue.held.values())
        assert ledger.epoch.read().events_drained_at is None
        assert "the time is up" in caplog.text
        assert "messages so far" in caplog.text


class TestSettingAside:
    def test_what_cannot_be_read_is_kept_and_told(
        self, queue: MemoryQueue, drain: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        confirmation = json.dumps({"Type": "SubscriptionConfirmation", "SubscribeURL": "https://sns.example/"})
        queue.put("not JSON \ud800", confirmation, body(ANN), "{}")
        tally = drain()
        assert dict(tally.outcomes) == {Outcome.SET_ASIDE: 3, Outcome.APPLIED: 1}
        assert (tally.alarming, tally.drained, queue.held) == (True, True, {})
        files = kept(tmp_path)
        assert {file["body"] for file in files} == {"not JSON \ud800", confirmation, "{}"}
        assert all(set(file) == {"message_id", "at", "reason", "body"} for file in files)
        warnings = [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]
        assert len(warnings) == 3
        assert any("is a SubscriptionConfirmation of SNS: somebody must decide" in line for line in warnings)
        assert all(str(tmp_path) in line for line in warnings)

    def test_the_same_body_twice_is_one_file(self, queue: MemoryQueue, drain: Any, tmp_path: Path) -> None:
        queue.put("poison", "poison")
        assert dict(drain().outcomes) == {Outcome.SET_ASIDE: 2}
        (file,) = tmp_path.glob("events/set-aside/*/*.json")
        assert len(file.stem) == 64

    def test_a_mail_that_nobody_knows_is_set_aside(self, queue: MemoryQueue, drain: Any, tmp_path: Path) -> None:
        queue.put(body(ANN, mailonce_key=ANN.key), body(BOB, "Bounce", mailonce_key=BOB.key))
        assert dict(drain().outcomes) == {Outcome.SET_ASIDE: 2}
        assert all("does another ledger's configuration set publish" in file["reason"] for file in kept(tmp_path))

    def test_but_not_one_that_the_ledger_knows(self, ledger: MemoryLedger, queue: MemoryQueue, drain: Any) -> None:
        queue.put(body(doubted(ledger), mailonce_key=ANN.key))
        assert dict(drain().outcomes) == {Outcome.APPLIED: 1}
        assert entry(ledger).state is State.SENT

    def test_what_cannot_be_kept_is_not_deleted(self, queue: MemoryQueue, ledger: MemoryLedger, tmp_path: Path) -> None:
        (tmp_path / "events").write_text("a file where a folder should be")
        queue.put("poison")
        with pytest.raises(OSError):
            Drain(queue, ledger, SetAside(f"file://{tmp_path}")).run()  # type: ignore[arg-type]
        assert queue.bodies() == ["poison"]

    def test_others_mails_are_let_go(self, queue: MemoryQueue, drain: Any) -> None:
        queue.put(
            json.dumps({"eventType": "Send", "mail": {"messageId": "x"}}),
            body(ANN).replace('"Send"', '"Open"'),
            "Successfully validated SNS topic for Amazon SES event publishing.",
        )
        tally = drain()
        assert dict(tally.outcomes) == {Outcome.NOT_OURS: 1, Outcome.TELLS_NOTHING: 2}
        assert (tally.alarming, queue.held) == (False, {})
        assert tally.in_words() == "1 not ours, 2 tells nothing"


def test_an_event_of_a_purged_month_makes_no_row_anew(
    drain: Callable[..., Tally], queue: MemoryQueue, ledger: MemoryLedger
) -> None:
    who = ANN.identity
    ledger.privacy.mark(
        Purge(campaign=who.campaign, period=who.period, edition=who.edition, by="ann", reason="retention")
    )
    queue.put(body(ANN, "Complaint"))
    tally = drain()
    assert tally.outcomes == {Outcome.PURGED: 1}
    assert not tally.alarming
    assert list(ledger.find([ANN.key])) == []
    assert [one.address for one in ledger.suppressions.all()] == [ANN.message.to], "who complains is not mailed again"


def test_a_complaint_of_somebody_who_was_erased_brings_no_address_back(
    drain: Callable[..., Tally], queue: MemoryQueue, ledger: MemoryLedger
) -> None:
    keys = Pseudonyms(b"0123456789abcdef0123456789abcdef")
    claim = make_claim(ANN)
    ledger.claim(claim)
    ledger.conclude(ANN.key, claim.token, Conclusion(state=State.SENT, message_id="m-1"))
    erase_person(ledger, find_person(ledger, "ann", keys), keys, by="support", reason="asked to")
    queue.put(body(ANN, "Complaint"))
    assert drain().outcomes == {Outcome.APPLIED: 1}
    assert {one.address for one in ledger.suppressions.all()} == {KEY_CHECK, keys.of(ANN.message.to)}
    (entry,) = ledger.find([ANN.key])
    assert entry.fate is Fate.COMPLAINED
    assert ANN.message.to not in str(vars(entry))
