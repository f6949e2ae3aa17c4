"""A ledger that was brought back from a backup, copied or made anew is found out, and adopted by a person only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailonce.errors import LedgerForgot
from mailonce.findings import Severity
from mailonce.privacy.purges import Purge
from mailonce.workflow import ledger_witness
from mailonce.workflow.ledger_witness import adopt, check, refuse_forgetful, remember
from mailonce.workflow.settings import Settings
from sandbox.aws import LocalAws
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeClock

OCTOBER = {"campaign": "usage", "period": "2026-10"}
NOVEMBER = {"campaign": "usage", "period": "2026-11"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(snapshot_uri=f"file://{tmp_path}/snapshots")


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def mail(settings: Settings, ledger: MemoryLedger) -> Callable[..., None]:
    """Run a month: its beginning and its end."""

    def run(month: dict[str, str]) -> None:
        assert remember(settings, ledger, **month) == []
        assert remember(settings, ledger, **month) == []

    return run


def restored(ledger: MemoryLedger, *, runs: int) -> None:
    """Bring back a backup from when the ledger had counted so many runs."""
    ledger.epoch._epoch = replace(ledger.epoch._epoch, runs=runs)


def severities(settings: Settings, ledger: MemoryLedger, **month: str) -> list[Severity]:
    return [finding.severity for finding in check(settings, ledger.epoch.read, **month)]


def test_a_fresh_ledger_for_a_fresh_month_is_all_right(settings: Settings, ledger: MemoryLedger) -> None:
    assert severities(settings, ledger, **OCTOBER) == [Severity.OK]
    assert not Path(settings.snapshot_uri.removeprefix("file://")).exists()


def test_month_after_month_and_run_after_run(settings: Settings, ledger: MemoryLedger, mail: Any) -> None:
    for month in (OCTOBER, NOVEMBER, OCTOBER, OCTOBER):
        mail(month)
    assert severities(settings, ledger, **OCTOBER) == [Severity.OK]
    assert severities(settings, ledger) == [Severity.OK]
    assert ledger.epoch.read().runs == 8


def test_runs_that_begin_at_the_same_time_do_not_take_each_other_for_a_forgetful_ledger(
    settings: Settings, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one counts, and writes it down, between any two steps of ours."""
    advance, read = ledger.epoch.advance, ledger.epoch.read
    others = []

    def the_other_run() -> None:
        with monkeypatch.context() as alone:
            alone.setattr(ledger.epoch, "advance", advance)
            alone.setattr(ledger.epoch, "read", read)
            others.append(remember(settings, ledger, **OCTOBER))

    def overtaken(step: Callable[[], Any]) -> Callable[[], Any]:
        def stepped() -> Any:
            the_other_run()
            found = step()
            the_other_run()
            return found

        return stepped

    monkeypatch.setattr(ledger.epoch, "advance", overtaken(advance))
    monkeypatch.setattr(ledger.epoch, "read", overtaken(read))
    assert remember(settings, ledger, **OCTOBER) == []
    assert others == [[]] * 4
    (finding,) = check(settings, ledger.epoch.read, **OCTOBER)
    assert finding.severity is Severity.OK


def test_nobody_ever_reads_half_of_what_a_month_remembers(settings: Settings, ledger: MemoryLedger) -> None:
    stop, unreadable = threading.Event(), []

    def reader() -> None:
        while not stop.is_set():
            unreadable.extend(memory for memory in ledger_witness._read(settings) if memory.lost)

    remember(settings, ledger, **OCTOBER)
    reading = threading.Thread(target=reader)
    reading.start()
    for _ in range(200):
        remember(settings, ledger, **OCTOBER)
    stop.set()
    reading.join()
    assert unreadable == []


def test_a_month_mailed_after_the_backup_was_made_cannot_be_mailed_again(
    settings: Settings, ledger: MemoryLedger, mail: Any
) -> None:
    mail(OCTOBER)
    restored(ledger, runs=0)
    (finding,) = check(settings, ledger.epoch.read, **OCTOBER)
    assert finding.severity is Severity.ERROR
    assert "it knows less than when it mailed usage.2026-10" in finding.found
    assert "mailonce doctor --adopt-ledger --reason" in finding.remedy


def test_a_backup_made_during_the_run_has_forgotten_too(settings: Settings, ledger: MemoryLedger, mail: Any) -> None:
    mail(OCTOBER)
    restored(ledger, runs=1)
    assert severities(settings, ledger, **OCTOBER) == [Severity.ERROR]


def test_a_cleared_task_mails_nobody_from_a_ledger_that_forgot(
    settings: Settings, ledger: MemoryLedger, mail: Any
) -> None:
    mail(OCTOBER)
    refuse_forgetful(settings, ledger, **OCTOBER)
    restored(ledger, runs=1)
    with pytest.raises(LedgerForgot, match="knows less than when it mailed"):
        refuse_forgetful(settings, ledger, **OCTOBER)
    refuse_forgetful(settings, ledger, **NOVEMBER)


def test_a_backup_made_after_the_run_knows_it(settings: Settings, ledger: MemoryLedger, mail: Any) -> None:
    mail(OCTOBER)
    restored(ledger, runs=2)
    assert severities(settings, ledger, **OCTOBER) == [Severity.OK]


def test_a_ledger_made_anew_is_another_one(settings: Settings, ledger: MemoryLedger, mail: Any) -> None:
    mail(OCTOBER)
    anew = MemoryLedger()
    restored(anew, runs=100)
    assert severities(settings, anew, **OCTOBER) == [Severity.ERROR]


def test_a_copy_may_mail_nobody(settings: Settings, ledger: MemoryLedger) -> None:
    ledger.epoch.here = "another place"
    (finding,) = check(settings, ledger.epoch.read, **OCTOBER)
    assert finding.severity is Severity.ERROR
    assert "it was made in memory, but stands in another place" in finding.found


def test_what_was_forgotten_of_another_month_stops_that_month_only_and_for_good(
    settings: Settings, ledger: MemoryLedger, mail: Any
) -> None:
    mail(OCTOBER)
    restored(ledger, runs=0)
    assert severities(settings, ledger, **NOVEMBER) == [Severity.WARNING]
    for _ in range(5):  # the count goes on, past what October remembers
        mail(NOVEMBER)
    assert ledger.epoch.read().runs > 2
    assert severities(settings, ledger, **OCTOBER) == [Severity.ERROR]
    assert severities(settings, ledger, **NOVEMBER) == [Severity.WARNING]
    assert severities(settings, ledger) == [Severity.ERROR]


def test_a_ledger_that_is_exchanged_during_a_run_is_told_at_its_end(
    settings: Settings, ledger: MemoryLedger, mail: Any
) -> None:
    mail(NOVEMBER)
    remember(settings, ledger, **OCTOBER)
    restored(ledger, runs=0)
    (finding,) = remember(settings, ledger, **OCTOBER)
    assert finding.severity is Severity.ERROR
    restored(ledger, runs=50)
    assert Severity.ERROR in severities(settings, ledger, **OCTOBER)


def test_adopted_it_is_the_right_one_for_all_months(settings: Settings, ledger: MemoryLedger, mail: Any) -> None:
    mail(OCTOBER)
    mail(NOVEMBER)
    restored(ledger, runs=0)
    ledger.epoch.here = "another place"
    epoch = adopt(settings, ledger, by="ann", reason="backup of the 2nd, compared")
    assert epoch == replace(ledger.epoch.read(), read_at=epoch.read_at)
    assert [(by, reason) for _, by, reason in ledger.epoch.adoptions] == [("ann", "backup of the 2nd, compared")]
    assert severities(settings, ledger) == [Severity.OK]
    mail(OCTOBER)


def test_the_ledger_of_before_the_adoption_does_not_come_back_unseen(
    settings: Settings, ledger: MemoryLedger, mail: Any
) -> None:
    mail(OCTOBER)
    before = ledger.epoch._epoch
    adopt(settings, ledger, by="ann", reason="once")
    ledger.epoch._epoch = replace(before, runs=99)
    assert severities(settings, ledger, **OCTOBER) == [Severity.ERROR]


def test_runs_at_the_same_time_do_not_accuse_each_other(settings: Settings, ledger: MemoryLedger) -> None:
    for month in (OCTOBER, NOVEMBER, NOVEMBER, OCTOBER):
        assert remember(settings, ledger, **month) == []
    assert severities(settings, ledger) == [Severity.OK]


def test_one_that_counts_between_our_look_and_our_count_is_no_contradiction(
    settings: Settings, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ledger_witness._read

    def and_another_run(these: Settings) -> Any:
        memories = list(read(these))
        monkeypatch.setattr(ledger_witness, "_read", read)
        remember(settings, ledger, **NOVEMBER)
        return memories

    monkeypatch.setattr(ledger_witness, "_read", and_another_run)
    assert remember(settings, ledger, **OCTOBER) == []
    assert severities(settings, ledger) == [Severity.OK]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"epoch": "x", "runs": null, "lost": false}', "\x00"])
def test_a_memory_that_cannot_be_read_trusts_nobody(
    settings: Settings, ledger: MemoryLedger, mail: Any, tmp_path: Path, content: str
) -> None:
    mail(OCTOBER)
    (file,) = tmp_path.rglob("usage.2026-10.json")
    file.write_text(content)
    assert severities(settings, ledger, **OCTOBER) == [Severity.ERROR]
    assert severities(settings, ledger, **NOVEMBER) == [Severity.WARNING]
    adopt(settings, ledger, by="ann", reason="looked at")
    assert severities(settings, ledger, **OCTOBER) == [Severity.OK]


OTHER_NAMES = [{"ledger_table": "other"}, {"ledger_conn_id": "other"}]


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_month_that_another_ledger_mailed_is_not_mailed_by_this_one(
    settings: Settings, ledger: MemoryLedger, mail: Any, name: dict[str, str]
) -> None:
    mail(OCTOBER)
    here, other = replace(settings, **name), MemoryLedger()
    for _ in range(2):
        with pytest.raises(LedgerForgot, match=r"usage\.2026-10 was mailed with another ledger"):
            refuse_forgetful(here, other, **OCTOBER)
        assert [finding.severity for finding in remember(here, other, **OCTOBER)] == [Severity.ERROR]
    assert severities(here, other, **NOVEMBER) == [Severity.WARNING]
    assert remember(here, other, **NOVEMBER) == []
    assert severities(settings, ledger, **OCTOBER) == [Severity.WARNING], "the one that mailed it goes on"
    refuse_forgetful(settings, ledger, **OCTOBER)
    adopt(here, other, by="ann", reason="moved, and compared")
    for month in (OCTOBER, NOVEMBER):
        refuse_forgetful(here, other, **month)
        assert remember(here, other, **month) == []


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_the_same_ledger_under_another_name_goes_on(
    settings: Settings, ledger: MemoryLedger, mail: Any, name: dict[str, str]
) -> None:
    mail(OCTOBER)
    renamed = replace(settings, **name)
    assert severities(renamed, ledger, **OCTOBER) == [Severity.OK]
    refuse_forgetful(renamed, ledger, **OCTOBER)
    assert remember(renamed, ledger, **OCTOBER) == []
    again = replace(settings, ledger_conn_id="a third", ledger_table="third")
    assert remember(again, ledger, **OCTOBER) == []
    restored(ledger, runs=1)
    assert severities(again, ledger, **OCTOBER) == [Severity.ERROR]


def test_many_forgotten_months_are_not_all_named(settings: Settings, ledger: MemoryLedger, mail: Any) -> None:
    for number in range(1, 9):
        mail({"campaign": "usage", "period": f"2026-0{number}"})
    restored(ledger, runs=0)
    (finding,) = check(settings, ledger.epoch.read)
    assert "and 3 more" in finding.found


def purge(ledger: MemoryLedger, edition: str = "original") -> None:
    ledger.privacy.mark(Purge(**OCTOBER, edition=edition, by="ann", reason="retention"))


def test_a_month_that_was_purged_is_not_mailed_again_by_itself(
    settings: Settings, ledger: MemoryLedger, mail: Any
) -> None:
    mail(OCTOBER)
    purge(ledger)
    with pytest.raises(LedgerForgot, match=r"purged on 20.* by ann: retention.*--reopen 2026-10 --campaign usage"):
        refuse_forgetful(settings, ledger, **OCTOBER)
    assert [finding.severity for finding in remember(settings, ledger, **OCTOBER)] == [Severity.ERROR]
    assert remember(settings, ledger, **OCTOBER, edition="corrected") == []
    mail(NOVEMBER)
    ledger.privacy.reopen(*OCTOBER.values(), "original", by="ann", reason="to be mailed anew")
    mail(OCTOBER)


def test_a_month_past_its_retention_is_not_mailed_again_by_itself(settings: Settings) -> None:
    clock = FakeClock()
    ledger, kept = MemoryLedger(now=clock.now), replace(settings, retention_days="usage=30")
    assert remember(kept, ledger, **OCTOBER) == []
    clock.advance(timedelta(days=20))
    assert remember(kept, ledger, **OCTOBER) == []
    clock.advance(timedelta(days=9))
    refuse_forgetful(kept, ledger, **OCTOBER)
    clock.advance(timedelta(days=2))
    for now in (kept, settings):  # whatever the setting says today: the rows were written under the other
        with pytest.raises(LedgerForgot, match="were to be remembered until 2030-03-03"):
            refuse_forgetful(now, ledger, **OCTOBER)
        assert [finding.severity for finding in remember(now, ledger, **OCTOBER)] == [Severity.ERROR]
    refuse_forgetful(kept, ledger, **OCTOBER, edition="corrected")
    assert remember(kept, ledger, **NOVEMBER) == []
    adopt(kept, ledger, by="ann", reason="looked at")
    with pytest.raises(LedgerForgot):
        refuse_forgetful(kept, ledger, **OCTOBER)
    assert ledger_witness.reopen(kept, **OCTOBER, edition="original")
    assert ledger_witness.reopen(kept, **OCTOBER, edition="original") is None
    assert remember(kept, ledger, **OCTOBER) == []


@pytest.mark.dynamodb
def test_in_s3_through_an_airflow_connection(
    local_aws: LocalAws, connect: Any, monkeypatch: pytest.MonkeyPatch, ledger: MemoryLedger
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    extra = {"region_name": "eu-central-1", "endpoint_url": local_aws.url}
    connect("aws_default", conn_type="aws", login="local", password="local", extra=extra)
    bucket = {"Bucket": "memory", "CreateBucketConfiguration": {"LocationConstraint": "eu-central-1"}}
    local_aws.client("s3").create_bucket(**bucket)
    settings = Settings(snapshot_uri="s3://aws_default@memory/snapshots")
    assert severities(settings, ledger, **OCTOBER) == [Severity.OK]
    for month in (OCTOBER, NOVEMBER, OCTOBER):
        assert remember(settings, ledger, **month) == []
    assert severities(settings, ledger) == [Severity.OK]
    restored(ledger, runs=2)
    assert severities(settings, ledger, **OCTOBER) == [Severity.ERROR]
    assert severities(settings, ledger, **NOVEMBER) == [Severity.WARNING]
    adopt(settings, ledger, by="ann", reason="compared")
    assert severities(settings, ledger) == [Severity.OK]
