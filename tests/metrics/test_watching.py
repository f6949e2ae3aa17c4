from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from mailonce import errors
from mailonce.batch import deliver_all
from mailonce.delivery import Conclusion
from mailonce.errors import BatchIncomplete, DailyQuotaExceeded, InDoubt, MailonceError, NotDelivered, Rejected
from mailonce.metrics.catalogue import MAILS
from mailonce.metrics.watching import Watch, part_of
from mailonce.pace import Pace
from mailonce.protocol import Step, Tools
from mailonce.receipts import ReceiptsInMemory
from mailonce.states import State
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeProvider, make_claim, make_delivery
from tests.metrics.received import Received


def tools(watch: Watch, ledger: MemoryLedger, provider: FakeProvider, pace: Pace | None = None) -> Tools:
    return Tools(ledger=ledger, provider=provider, receipts=ReceiptsInMemory(), by="test", reached=watch.reached,
                 pace=pace or Pace())  # fmt: skip


def makers(*deliveries: Any) -> list[Any]:
    return [lambda delivery=delivery: delivery for delivery in deliveries]


def test_a_batch_is_counted_by_how_each_ended() -> None:
    received, ledger = Received(), MemoryLedger()
    sent, done = make_delivery("sent"), make_delivery("done")
    claim = make_claim(done)
    ledger.claim(claim)
    ledger.conclude(done.key, claim.token, Conclusion(state=State.SENT, message_id="m-0"))
    with Watch(received, began=datetime.now(timezone.utc) - timedelta(hours=1)) as watch:
        watch.told(deliver_all(makers(sent, done), tools(watch, ledger, FakeProvider()), concurrency=2))
    assert received.counts == {"mailonce.mails.sent": 1, "mailonce.mails.already_sent": 1}
    assert {name: len(times) for name, times in received.times.items()} == {
        "mailonce.claim": 1, "mailonce.send": 1, "mailonce.record": 1,
    }  # fmt: skip
    assert 3600 <= received.gauges["mailonce.run_seconds"] < 3660


def test_a_replay_alone_took_no_time_worth_telling() -> None:
    received, ledger, provider = Received(), MemoryLedger(), FakeProvider()
    for _ in range(2):
        with Watch(received, began=datetime.now(timezone.utc)) as watch:
            watch.told(deliver_all(makers(make_delivery()), tools(watch, ledger, provider)))
        received.gauges, gauges = {}, received.gauges
    assert gauges == {}
    assert received.counts == {"mailonce.mails.sent": 1, "mailonce.mails.already_sent": 1}


def test_the_stretches_are_told_apart() -> None:
    received, ledger = Received(), MemoryLedger()
    moments = iter([0.0, 1.0, 3.0, 3.5, 8.5])  # before claim, claimed, leaving, accepted, recorded
    with Watch(received, clock=lambda: next(moments)) as watch:
        watch.told(deliver_all(makers(make_delivery()), tools(watch, ledger, FakeProvider())))
    assert received.times == {"mailonce.claim": [1.0], "mailonce.send": [2.5], "mailonce.record": [5.0]}


def test_a_batch_that_is_incomplete_is_counted_error_by_error() -> None:
    received, ledger = Received(), MemoryLedger()

    def answer(message: Any, tags: Any) -> str:
        who = message.to.split("@")[0]
        if who != "fine":
            raise {"doubt": InDoubt("lost"), "refused": Rejected("no")}[who]
        return "m-1"

    for also in ("sent", "already_sent"):
        received.counts.clear()
        with pytest.raises(BatchIncomplete), Watch(received) as watch:
            watch.told(deliver_all(
                makers(*map(make_delivery, ("fine", "doubt", "refused"))), tools(watch, ledger, FakeProvider(answer))
            ))  # fmt: skip
        assert received.counts == {f"mailonce.mails.{part}": 1 for part in (also, "in_doubt", "rejected")}


@pytest.mark.parametrize("kind", [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, NotDelivered)
    and kind is not NotDelivered
])  # fmt: skip
def test_every_way_to_fail_has_its_own_count(kind: type[MailonceError]) -> None:
    part = part_of(kind("x"))
    assert part in MAILS.parts
    assert part != "failed"


def test_what_nobody_expected_is_counted_too() -> None:
    received = Received()
    with pytest.raises(KeyError), Watch(received):
        raise KeyError
    assert received.counts == {"mailonce.mails.failed": 1}


def test_slots_that_nobody_used_are_wasted() -> None:
    received, ledger = Received(), MemoryLedger()
    ledger.rate.limit("account", 1000)
    with Watch(received) as watch:
        rates = watch.rates(ledger.rate)
        rates.reserve("account", 7)
        rates.throttled("account")
        rates.limit("account", 1000)
        watch.told(deliver_all(
            makers(make_delivery("a"), make_delivery("b")),
            tools(watch, ledger, FakeProvider(), Pace(rates, "account")), concurrency=2,
        ))  # fmt: skip
    granted, wasted = received.counts["mailonce.slots.granted"], received.counts["mailonce.slots.wasted"]
    assert granted - wasted == 2
    assert wasted >= 7
    assert received.counts["mailonce.throttled"] == 1


def test_an_account_without_a_limit_grants_nothing() -> None:
    received = Received()
    with Watch(received) as watch:
        assert watch.rates(MemoryLedger().rate).reserve("account", 3) is None
    assert received.counts == {}


def test_a_daily_quota_has_a_count_of_its_own() -> None:
    assert part_of(DailyQuotaExceeded("x")) == "quota_used_up"


def test_it_costs_almost_nothing() -> None:
    received = Received()
    steps = [*Step]
    with Watch(received) as watch:
        began = time.process_time()
        for _ in range(20_000):
            for step in steps:
                watch.reached(step)
        each = (time.process_time() - began) / 20_000
    # A mail takes about 1.3 ms of a processor; this is to be a hundredth of it, on a slow machine too.
    assert each < 50e-6, f"{each * 1e6:.1f} µs a mail"
    assert received.calls < 200
