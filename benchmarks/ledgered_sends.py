"""Row 1: ledgered sends per second in a batch, against the same number of threads calling boto3 with no ledger."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Comparison, Effort, in_own_process, median, side_by_side
from benchmarks.provider_server import LeanProvider
from sandbox.postgres import EmbeddedPostgres

ROW = 1
THREADS = 16
PEER, OURS = "boto3", "mailonce on PostgreSQL"
HOW = (
    "{mails} mails of 8 KB, {threads} threads, each way in a process of its own, against one lean HTTP server; clients and "
    "connections warm. Ours: `deliver_all` with journal and PostgreSQL ledger (fsync on)"
)


def compare(effort: Effort) -> Iterator[Comparison]:
    """Yield one line for each latency of the provider."""
    mails, rounds = effort.of(2000, 60), effort.of(5, 1)
    with TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as postgres:
        ledger = postgres.create_database("benchmark")
        for milliseconds in (0, 20):
            with LeanProvider(milliseconds / 1000) as provider:
                order = {"mails": mails, "threads": THREADS, "ses": provider.url, "ledger": ledger}
                ways = {way: partial(rate, order | {"way": way}) for way in (PEER, OURS)}
                found = side_by_side(ways, rounds)
            yield Comparison(
                row=ROW,
                what=f"ledgered sends in a batch, PostgreSQL ledger, provider latency {milliseconds} ms",
                against="the same number of threads calling boto3, no ledger",
                unit="mails/s",
                ours=median(found[OURS]),
                peers=median(found[PEER]),
                goal=0.9,
                at_most=False,
                how=HOW.format(mails=mails, threads=THREADS),
                runs=found,
            )


def rate(order: dict[str, object]) -> float:
    """Return mails per second."""
    took = in_own_process("benchmarks.sender", order)
    return float(str(order["mails"])) / float(took["seconds"])
