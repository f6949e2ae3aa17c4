"""Row 2: the same, against AWS Lambda Powertools' idempotency around the same call, both on the DynamoDB API."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.ledgered_sends import THREADS
from benchmarks.measuring import Comparison, Effort, in_own_process, median, side_by_side
from benchmarks.provider_server import LeanProvider
from sandbox.aws import LocalAws

ROW = 2
PEER, OURS = "powertools", "mailonce on DynamoDB"


def compare(effort: Effort) -> Iterator[Comparison]:
    """Yield the line, with the ledger writes of both in its remark."""
    mails, rounds = effort.of(800, 40), effort.of(5, 1)
    with LocalAws() as aws, LeanProvider() as provider:
        order = {"mails": mails, "threads": THREADS, "ses": provider.url, "ledger": aws.url}
        ways = {
            way: partial(in_own_process, "benchmarks.sender", order | {"way": way, "count_writes": True})
            for way in (PEER, OURS)
        }
        took = side_by_side(ways, rounds)
    rates = {way: [mails / each["seconds"] for each in some] for way, some in took.items()}
    writes = {way: median([each["writes"] / mails for each in some]) for way, some in took.items()}
    cpu = {way: median([each["cpu_seconds"] / mails * 1000 for each in some]) for way, some in took.items()}
    yield Comparison(
        row=ROW,
        what="ledgered sends in a batch, DynamoDB ledger, provider latency 0 ms",
        against="AWS Lambda Powertools idempotency, DynamoDB layer, around the same call",
        unit="mails/s",
        ours=median(rates[OURS]),
        peers=median(rates[PEER]),
        goal=1.5,
        at_most=False,
        how=f"{mails} mails, {THREADS} threads, each way in a process of its own, against one DynamoDB API (ministack, on "
        "the same machine) and one lean HTTP server",
        remark=f"Writes a mail: {writes[OURS]:.2f} against {writes[PEER]:.2f}. Processor time of the client a mail: "
        f"{cpu[OURS]:.2f} ms against {cpu[PEER]:.2f} ms; the rest of the time is the DynamoDB API's own",
        runs=rates,
    )
