"""The journal and its reader: what a dead process proves, and what nobody may take for proof."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mailonce.delivery import Claim, Conclusion, Receipt
from mailonce.errors import InDoubt, LedgerUnavailable, MailonceError, NeverLeft, Throttled
from mailonce.journal import Journal, boot_id
from mailonce.protocol import Result, Step, Tools, deliver
from mailonce.receipts import ReceiptsInMemory
from mailonce.recovery import Unfinished, recover, unfinished
from mailonce.states import State
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeProvider, make_claim, make_delivery

ROOT = Path(__file__).resolve().parent.parent
AT_ONCE = timedelta(0)

pytestmark = pytest.mark.skipif(not boot_id(), reason="no journals on a system that does not name its boots")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


def claimed(ledger: MemoryLedger, recipient: str = "C-1") -> Claim:
    claim = make_claim(make_delivery(recipient))
    ledger.claim(claim)
    return claim


def die(journal: Journal) -> None:
    """End as a killed process does: the kernel closes the file, and nobody tidies up."""
    assert journal._file is not None
    os.close(journal._file)
    journal._file = None


def state(ledger: MemoryLedger, claim: Claim) -> State:
    (entry,) = ledger.find([claim.delivery.key])
    return entry.state


REJECTED = Conclusion(state=State.REJECTED, error="no such mailbox")
STORIES = {
    # what it wrote                                        and how the key stands once that is read
    "claimed": (["claiming"], State.RELEASED),
    "left": (["claiming", "leaving"], State.IN_DOUBT),
    "accepted": (["claiming", "leaving", "accepted"], State.SENT),
    "refused": (["claiming", "leaving", "failed"], State.REJECTED),
    "done": (["claiming", "leaving", "done"], State.SENDING),
}
ARGUMENTS = {"accepted": "m-1", "failed": REJECTED}


@pytest.mark.parametrize("story", STORIES)
def test_what_a_dead_process_left_is_written_into_the_ledger(folder: Path, ledger: MemoryLedger, story: str) -> None:
    facts, expected = STORIES[story]
    journal, claim = Journal(folder), claimed(ledger)
    for fact in facts:
        getattr(journal, fact)(claim, *([ARGUMENTS[fact]] if fact in ARGUMENTS else ()))
    journal.claiming(claimed(ledger, "the next"))  # what is done is written down with it
    die(journal)
    recover(folder, ledger, young=AT_ONCE)
    assert state(ledger, claim) is expected
    assert not list(folder.iterdir())
    assert recover(folder, ledger, young=AT_ONCE) == 0


def test_what_was_done_last_is_recovered_once_more_and_nothing_comes_of_it(folder: Path, ledger: MemoryLedger) -> None:
    journal, claim = Journal(folder), claimed(ledger)
    for fact in ("claiming", "leaving"):
        getattr(journal, fact)(claim)
    journal.accepted(claim, "m-1")
    ledger.conclude(claim.delivery.key, claim.token, Conclusion(state=State.SENT, message_id="m-1"))
    journal.done(claim)
    (before,) = ledger.find([claim.delivery.key])
    die(journal)
    recover(folder, ledger, young=AT_ONCE)
    (after,) = ledger.find([claim.delivery.key])
    assert (after.state, after.message_id, after.history) == (before.state, before.message_id, before.history)


def test_a_journal_that_is_closed_waits_for_what_is_being_written(
    folder: Path, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, claim = Journal(folder), claimed(ledger)
    journal.claiming(claim)
    write, began, go_on = os.write, threading.Event(), threading.Event()

    def slow(file: int, lines: bytes) -> int:
        monkeypatch.setattr("mailonce.journal.os.write", write)
        began.set()
        assert go_on.wait(30)
        return write(file, lines)

    monkeypatch.setattr("mailonce.journal.os.write", slow)
    leaving = threading.Thread(target=journal.leaving, args=(claim,))
    leaving.start()
    assert began.wait(30)
    closing = threading.Thread(target=journal.close)
    closing.start()
    for _ in range(3000):
        if journal._closed:
            break
        began.clear()
        began.wait(0.01)
    with pytest.raises(NeverLeft, match="closed"):
        journal.leaving(make_claim(make_delivery("C-2")))
    assert closing.is_alive(), "the lock is not released before the line is written"
    go_on.set()
    for thread in (leaving, closing):
        thread.join(30)
    recover(folder, ledger, young=AT_ONCE)
    assert state(ledger, claim) is State.IN_DOUBT


def test_a_living_process_is_left_alone(folder: Path, ledger: MemoryLedger) -> None:
    journal, claim = Journal(folder), claimed(ledger)
    journal.claiming(claim)
    assert recover(folder, ledger, young=AT_ONCE) == 0
    assert state(ledger, claim) is State.SENDING
    die(journal)
    assert recover(folder, ledger, young=AT_ONCE) == 1


def test_a_young_journal_is_left_for_later(folder: Path, ledger: MemoryLedger) -> None:
    """The claim of a process that has just died may still be on its way to the ledger."""
    journal, claim = Journal(folder), claimed(ledger)
    journal.claiming(claim)
    die(journal)
    assert recover(folder, ledger) == 0
    (file,) = folder.iterdir()
    an_hour_ago = file.stat().st_mtime - 3600
    os.utime(file, (an_hour_ago, an_hour_ago))
    assert recover(folder, ledger) == 1


def test_after_a_restart_of_the_machine_only_what_is_there_counts(folder: Path, ledger: MemoryLedger) -> None:
    before = Journal(folder)
    claims = {name: claimed(ledger, name) for name in ("claimed", "left", "accepted")}
    for claim in claims.values():
        before.claiming(claim)
    before.leaving(claims["left"])
    before.accepted(claims["accepted"], "m-1")
    die(before)
    with mock.patch("mailonce.recovery.boot_id", return_value="another boot"):
        recover(folder, ledger, young=AT_ONCE)
    assert {name: state(ledger, claim) for name, claim in claims.items()} == {
        "claimed": State.SENDING, "left": State.IN_DOUBT, "accepted": State.SENT,
    }  # fmt: skip


def test_a_newer_claim_is_left_alone(folder: Path, ledger: MemoryLedger) -> None:
    journal, claim = Journal(folder), claimed(ledger)
    journal.claiming(claim)
    die(journal)
    ledger.conclude(claim.delivery.key, claim.token, Conclusion(state=State.RELEASED, error="said elsewhere"))
    successor = make_claim(claim.delivery)
    ledger.claim(successor)
    recover(folder, ledger, young=AT_ONCE)
    (entry,) = ledger.find([claim.delivery.key])
    assert (entry.state, entry.token) == (State.SENDING, successor.token)


def test_a_ledger_that_is_away_finds_the_journal_later(folder: Path, ledger: MemoryLedger) -> None:
    journal, claim = Journal(folder), claimed(ledger)
    journal.claiming(claim)
    die(journal)
    ledger.fail_next = "before"
    with pytest.raises(LedgerUnavailable):
        recover(folder, ledger, young=AT_ONCE)
    assert recover(folder, ledger, young=AT_ONCE) == 1
    assert state(ledger, claim) is State.RELEASED


def test_a_journal_in_which_all_is_done_goes_with_its_process(folder: Path, ledger: MemoryLedger) -> None:
    journal, claim = Journal(folder), claimed(ledger)
    journal.claiming(claim)
    journal.done(claim)
    journal.close()
    assert not list(folder.iterdir())


def test_a_journal_that_tells_more_than_the_ledger_knows_stays(folder: Path, ledger: MemoryLedger) -> None:
    journal, claim = Journal(folder), claimed(ledger)
    journal.claiming(claim)
    journal.close()
    assert recover(folder, ledger, young=AT_ONCE) == 1
    assert state(ledger, claim) is State.RELEASED


def test_a_full_disk_lets_nothing_leave(folder: Path, ledger: MemoryLedger) -> None:
    """Were the mail sent without the line, the next reader would take it for one that never left."""
    journal = Journal(folder)
    provider = FakeProvider()
    tools = Tools(ledger=ledger, provider=provider, receipts=ReceiptsInMemory(), by="test", journal=journal)
    delivery = make_delivery()
    for trouble in (OSError(28, "No space left on device"), [3]):  # refused, or cut off
        with mock.patch("mailonce.journal.os.write", side_effect=trouble) as write:
            write.return_value = 3
            if isinstance(trouble, list):
                write.side_effect = lambda _file, _line: 3
            with pytest.raises(NeverLeft, match="journal"):
                deliver(delivery, replace(tools))
        (entry,) = ledger.find([delivery.key])
        assert entry.state is State.RELEASED
    assert provider.accepted == []
    assert deliver(delivery, tools)[0] is Result.SENT


def test_what_outlives_its_journal_sends_nothing(folder: Path, ledger: MemoryLedger) -> None:
    """A thread that goes on after its task was torn down: another process takes its claim for one that never left."""
    journal, provider = Journal(folder), FakeProvider()

    def reached(step: Step) -> None:
        if step is Step.CLAIMED:
            journal.close()
            assert recover(folder, ledger, young=AT_ONCE) == 1
            assert deliver(make_delivery(), replace(tools, journal=Journal(folder), reached=lambda _step: None))

    tools = Tools(
        ledger=ledger, provider=provider, receipts=ReceiptsInMemory(), by="test", journal=journal, reached=reached
    )  # fmt: skip
    with pytest.raises(NeverLeft, match="journal is closed"):
        deliver(make_delivery(), tools)
    assert len(provider.accepted) == 1
    (entry,) = ledger.find([make_delivery().key])
    assert entry.state is State.SENT


def test_a_line_that_was_cut_off_hides_none_that_follows() -> None:
    """A disk that was full for a moment: the torn line is no fact, and the next one still is."""
    lines = [b'["journal", "here"]\n', b'["claiming", "k", "t"]\n', b'["leavi', b"\n", b'["leaving", "k", "t"]\n']
    text = b"".join(lines)
    (one,) = unfinished(text.splitlines(keepends=True), boot="here")
    assert isinstance(one.outcome, Conclusion)
    assert one.outcome.state is State.IN_DOUBT


def test_without_a_directory_nothing_is_written_and_all_goes_well(tmp_path: Path, ledger: MemoryLedger) -> None:
    for journal in (Journal(None), Journal(tmp_path / "file" / "journal")):
        (tmp_path / "file").touch()
        tools = Tools(
            ledger=ledger, provider=FakeProvider(), receipts=ReceiptsInMemory(), by="test", journal=journal
        )  # fmt: skip
        assert deliver(make_delivery(f"C-{id(journal)}"), tools)[0] is Result.SENT
        journal.close()


@pytest.mark.parametrize("failure", [None, Throttled("slower"), InDoubt("lost"), RuntimeError("a fault")])
def test_nothing_stays_behind_when_the_ledger_knows_all(
    folder: Path, ledger: MemoryLedger, failure: Exception | None
) -> None:
    journal = Journal(folder)
    provider = FakeProvider()
    if failure:
        provider.answer = mock.Mock(side_effect=failure)
    tools = Tools(ledger=ledger, provider=provider, receipts=ReceiptsInMemory(), by="test", journal=journal)
    with pytest.raises(MailonceError) if failure else nullcontext():
        deliver(make_delivery(), tools)
    journal.close()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_claim_whose_answer_is_lost_is_free_again_at_once(folder: Path, ledger: MemoryLedger, when: str) -> None:
    journal = Journal(folder)
    tools = Tools(ledger=ledger, provider=FakeProvider(), receipts=ReceiptsInMemory(), by="test", journal=journal)
    ledger.fail_next = when
    with pytest.raises(LedgerUnavailable):
        deliver(make_delivery(), tools)
    journal.close()
    recover(folder, ledger, young=AT_ONCE)
    assert deliver(make_delivery(), replace(tools, journal=Journal(folder)))[0] is Result.SENT


def test_a_killed_process_releases_its_lock_and_a_frozen_one_does_not(folder: Path) -> None:
    program = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "plugins")!r}]
from pathlib import Path
from mailonce.journal import Journal
journal = Journal(Path({str(folder)!r}))
print("ready", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    (file,) = folder.iterdir()
    child.send_signal(signal.SIGSTOP)
    with file.open("rb") as handle, pytest.raises(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child.kill()
    child.wait(timeout=30)
    with file.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child.communicate()


# -- whatever is in the file -----------------------------------------------------------------------------------

FACTS = st.sampled_from(["claiming", "leaving", "accepted", "done"])


@given(st.lists(st.tuples(FACTS, st.sampled_from("abc"))), st.integers(0, 40))
def test_a_reader_never_takes_a_mail_that_left_for_one_that_did_not(story: list[tuple[str, str]], cut: int) -> None:
    """Whatever the order, and wherever the last line was cut off: released is only what claimed and no more."""
    lines = [b'["journal", "here"]\n']
    for what, token in story:
        extra = ', "m-1"' if what == "accepted" else ""
        lines.append(f'["{what}", "key-{token}", "{token}"{extra}]\n'.encode())
    text = b"".join(lines)
    text = text[: max(len(lines[0]), len(text) - cut)]
    whole = [line for line in text.splitlines(keepends=True) if line.endswith(b"\n")][1:]
    for one in unfinished(text.splitlines(keepends=True), boot="here"):
        own = [line for line in whole if f'"{one.token}"'.encode() in line]
        if isinstance(one.outcome, Conclusion) and one.outcome.state is State.RELEASED:
            assert b"claiming" in own[-1]
        if isinstance(one.outcome, Receipt):
            assert b"accepted" in own[-1]


@given(st.lists(st.binary(max_size=40)))
def test_any_rubbish_is_read_without_a_fault(lines: list[bytes]) -> None:
    assert all(isinstance(one, Unfinished) for one in unfinished(lines, boot="here"))


@pytest.mark.parametrize("step", list(Step))
def test_death_at_every_step_is_told_by_the_journal(folder: Path, ledger: MemoryLedger, step: Step) -> None:
    class Dead(BaseException):
        pass

    def reached(now: Step) -> None:
        if now is step:
            # From here on nothing of this process reaches the ledger or the disk.
            die(journal)
            ledger.calls.clear()
            monkey.setattr(ledger, "conclude", mock.Mock(side_effect=Dead))
            raise Dead

    journal = Journal(folder)
    provider = FakeProvider()
    tools = Tools(
        ledger=ledger, provider=provider, receipts=ReceiptsInMemory(), by="test", journal=journal, reached=reached
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as monkey, pytest.raises(Dead):
        deliver(make_delivery(), tools)
    recover(folder, ledger, young=AT_ONCE)
    expected = {
        Step.BEFORE_CLAIM: (None, 0),
        Step.CLAIMED: (State.RELEASED, 0),
        Step.LEAVING: (State.IN_DOUBT, 0),
        Step.ACCEPTED: (State.SENT, 1),
        Step.RECORDED: (State.SENT, 1),
    }[step]
    entry = next(ledger.find([make_delivery().key]), None)
    assert (entry.state if entry else None, len(provider.accepted)) == expected
