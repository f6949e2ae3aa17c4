"""kill -9 of a real process at every named step: at most one mail per key, and every key ends sent or held by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from mailonce.delivery import Decision, Entry
from mailonce.protocol import Step
from mailonce.states import State
from sandbox.aws import LocalAws
from sandbox.postgres import EmbeddedPostgres
from sandbox.ses import Behaviour, SesStandIn
from tests import crash_worker
from tests.fakes import make_delivery

ROOT = Path(__file__).resolve().parent.parent
RECIPIENT = "C-1"
DELIVERY = make_delivery(RECIPIENT)

ENDS = {
    # killed            the next tries  mails  and the key ends as
    "BEFORE_CLAIM": ("SENT", 1, State.SENT),
    "CLAIMED": ("InDoubt", 0, State.IN_DOUBT),
    "ACCEPTED": ("InDoubt", 1, State.IN_DOUBT),
    "RECORDED": ("ALREADY_SENT", 1, State.SENT),
}

Order = dict[str, object]


@pytest.fixture(
    params=[pytest.param("postgres", marks=pytest.mark.postgres), pytest.param("dynamodb", marks=pytest.mark.dynamodb)]
)
def order(request: pytest.FixtureRequest, ses: SesStandIn) -> Order:
    kind = request.param
    table = f"ledger_{uuid.uuid4().hex[:12]}"
    if kind == "postgres":
        postgres: EmbeddedPostgres = request.getfixturevalue("postgres")
        ledger = postgres.create_database("crashes")
    else:
        local_aws: LocalAws = request.getfixturevalue("local_aws")
        ledger = local_aws.url
    return {
        "kind": kind,
        "table": table,
        "ledger": ledger,
        "ses": ses.url,
        "recipient": RECIPIENT,
        "die_at": None,
        "window": 1,
    }


def work(order: Order, **changes: object) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash_worker", json.dumps(order | changes)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> str:
    printed, _ = process.communicate(timeout=60)
    return printed.strip()


def settled_outcome(order: Order) -> str:
    """Try as Airflow's retries would, as long as the dead worker's claim counts as being sent."""
    while (said := outcome(work(order))) == "InFlight":
        pass
    return said


def entry(order: Order) -> Entry:
    (found,) = crash_worker.open_ledger(order).find([DELIVERY.key])  # type: ignore[arg-type]
    return found


def test_every_step_has_its_end() -> None:
    assert set(ENDS) == {step.name for step in Step}


@pytest.mark.parametrize("step", ENDS)
def test_killed_at_a_step(order: Order, ses: SesStandIn, step: str) -> None:
    killed = work(order, die_at=step)
    assert killed.wait(timeout=60) == -signal.SIGKILL

    expected, mails, state = ENDS[step]
    assert settled_outcome(order) == expected
    assert len(ses.mails) == mails
    assert entry(order).state is state
    # Cleared, or the month started again: the same answer, and nothing more on the wire.
    requests = len(ses.requests)
    again = {"SENT": "ALREADY_SENT"}.get(expected, expected)
    assert [outcome(work(order)) for _ in range(2)] == [again, again]
    assert len(ses.requests) == requests


@pytest.mark.parametrize("accepted", [True, False])
def test_killed_while_the_answer_is_awaited(order: Order, ses: SesStandIn, accepted: bool) -> None:
    # Not accepted: the request arrives, and the answer does not come while the worker lives.
    ses.behave(DELIVERY.message.to, [Behaviour.ACCEPT_THEN_HANG if accepted else Behaviour.UNAVAILABLE_503])
    ses.settings.latency = 0 if accepted else 30
    process = work(order)
    ses.wait_for(lambda: len(ses.requests) == 1, timeout=30)
    process.kill()
    process.wait(timeout=30)

    assert settled_outcome(order) == "InDoubt"
    assert len(ses.mails) == int(accepted)
    assert len(ses.requests) == 1
    assert entry(order).state is State.IN_DOUBT


def test_a_frozen_worker_sends_nothing_once_it_is_past_its_deadline(order: Order, ses: SesStandIn) -> None:
    frozen = work(order, die_at=None, freeze_at="CLAIMED")
    wait_until_claimed(order)
    wait_until_stopped(frozen)
    assert settled_outcome(order) == "InDoubt"  # its deadline has passed: somebody else has taken notice
    os.kill(frozen.pid, signal.SIGCONT)
    assert outcome(frozen) == "NeverLeft"
    assert not ses.requests
    # Its own word that nothing left is proof: the doubt is over, and the next try sends.
    assert entry(order).state is State.RELEASED
    assert settled_outcome(order) == "SENT"
    assert len(ses.mails) == 1


def test_a_thawed_worker_changes_nothing_of_its_successors(order: Order, ses: SesStandIn) -> None:
    frozen = work(order, freeze_at="CLAIMED", settle=0)
    wait_until_claimed(order)
    wait_until_stopped(frozen)
    assert settled_outcome(order) == "InDoubt"
    decided = crash_worker.open_ledger(order).decide(  # type: ignore[arg-type]
        DELIVERY.key, Decision(state=State.RELEASED, by="support", reason="not in the provider's log")
    )
    assert decided is not None
    assert decided.state is State.RELEASED
    assert settled_outcome(order) == "SENT"
    before = entry(order)
    os.kill(frozen.pid, signal.SIGCONT)
    assert outcome(frozen) == "NeverLeft"
    assert len(ses.mails) == 1
    after = entry(order)
    assert (after.state, after.message_id, after.token, after.history) == (
        before.state, before.message_id, before.token, before.history,
    )  # fmt: skip


def wait_until_claimed(order: Order) -> None:
    ledger = crash_worker.open_ledger(order)  # type: ignore[arg-type]
    until(lambda: any(True for _ in ledger.find([DELIVERY.key])))


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")


def until(holds: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if holds():
            return
        os.sched_yield()
    raise TimeoutError
