"""`make demo`: last month's statements to 100 sample customers, some of them troublesome; then everything again.

Every line with a tick was checked against the stand-in's own log of what it accepted, not against what Airflow or
the ledger believe. Exit code 0 only if every one of them holds.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row

from sandbox.airflow_api import AirflowApi
from sandbox.processes import exit_on_sigterm
from sandbox.sample_usage import ANSWER_LOST, REFUSED, REJECTED, THROTTLED, TROUBLE, UNAVAILABLE
from sandbox.ses import Behaviour
from sandbox.stack import MONTHLY, RECONCILE, ROOT, Sandbox

DIRECTORY = ROOT / ".sandbox"
KEY_TAG = "mailonce_key"
PATIENCE = 900.0
"""Seconds for one run of the month; a slow machine with two cores needs about a hundred."""


class Claims:
    """What the demo says, each line with how it was checked."""

    def __init__(self) -> None:
        self.failed = 0

    def check(self, claim: str, *, found: object, expected: object) -> None:
        """Print a claim with its figure, and remember if it does not hold."""
        holds = found == expected
        self.failed += not holds
        print(f"  {'✔' if holds else '✘'} {claim}: {found}" + ("" if holds else f", but expected {expected}"))


def main() -> int:
    """Run the demo. :return: the exit code."""
    exit_on_sigterm()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    started = time.monotonic()
    print("Starting PostgreSQL, the SES stand-in, and Airflow …", flush=True)
    with Sandbox(DIRECTORY) as sandbox:
        api = sandbox.airflow.api()
        for dag in (MONTHLY, RECONCILE):
            api.wait_for_dag(dag)
        # Reads the provider's events every minute, and writes them into the ledger.
        api.unpause(RECONCILE)
        misbehave(sandbox)
        claims = Claims()
        first = scheduled_run(api)
        check_first_run(claims, sandbox, api, first)
        check_clearing(claims, sandbox, api, first)
        check_second_run(claims, sandbox, api, read_report(api, first)["period"])
    print(f"\n{claims.failed or 'No'} claim{'s' * (claims.failed != 1)} failed; {time.monotonic() - started:.0f} s.")
    print("Read the mails: run `make serve` and open its mailbox page; Airflow's page shows the runs.")
    return 1 if claims.failed else 0


def misbehave(sandbox: Sandbox) -> None:
    """Tell the stand-in whom to treat badly."""
    for number, (_, address) in enumerate(THROTTLED):
        sandbox.ses.behave(address, [Behaviour.THROTTLE] * (2 + 2 * (number % 2)))
    lost = (Behaviour.ACCEPT_THEN_500, Behaviour.ACCEPT_THEN_RESET, Behaviour.ACCEPT_THEN_DROP)
    for number, (_, address) in enumerate(ANSWER_LOST):
        # For as often as anybody asks: a second request would be a second mail.
        sandbox.ses.behave(address, [lost[number % len(lost)]] * 5)
    for _, address in REJECTED:
        sandbox.ses.behave(address, [Behaviour.REJECT] * 5)
    for _, address in UNAVAILABLE:
        sandbox.ses.behave(address, [Behaviour.UNAVAILABLE_503] * 5)


def scheduled_run(api: AirflowApi) -> str:
    """Unpause the Dag, so that the schedule's latest run starts, and wait for it. :return: the run's id."""
    print(f"\nunpausing {MONTHLY}: the schedule's run of this month starts …", flush=True)
    api.unpause(MONTHLY)
    deadline = time.monotonic() + 60
    while not (runs := api.runs(MONTHLY)):
        if time.monotonic() > deadline:
            raise TimeoutError("the scheduler started no run within a minute")
        time.sleep(0.3)
    run = str(runs[0]["dag_run_id"])
    finish(api, run)
    return run


def triggered_run(api: AirflowApi, period: str) -> str:
    """Trigger the month by hand, and wait for it. :return: the run's id."""
    print(f"\ntriggering {MONTHLY} by hand for the same month, {period} …", flush=True)
    run = api.trigger(MONTHLY, {"period": period})
    finish(api, run)
    return run


def finish(api: AirflowApi, run: str) -> None:
    """Wait for a run, and say how it ended."""
    began = time.monotonic()
    state = api.wait_for_run(MONTHLY, run, PATIENCE)
    counts = Counter(task.state for task in api.task_instances(MONTHLY, run) if task.task_id == "deliver")
    words = ", ".join(f"{number} {state}" for state, number in sorted(counts.items(), key=str))
    red = " (red on purpose: its report names who has no confirmed mail)" if state == "failed" else ""
    print(f"  the run: {state}{red} after {time.monotonic() - began:.0f} s; its deliver tasks: {words}")


def check_first_run(claims: Claims, sandbox: Sandbox, api: AirflowApi, run: str) -> None:
    """Check who got a mail, and that everybody else is named."""
    customers, mailable = 100, 100 - len(REFUSED)
    held = [recipient for recipient, _ in UNAVAILABLE]
    ledger = ledger_states(sandbox)
    report = read_report(api, run)
    named = {exception["recipient_id"] for exception in report["exceptions"]}
    got = {str(mail.tags[KEY_TAG]) for mail in sandbox.ses.mails}
    claims.check(
        "statements accepted by the provider", found=len(got), expected=mailable - len(REJECTED) - len(UNAVAILABLE)
    )
    claims.check("customers who got two", found=repeated(sandbox), expected=0)
    claims.check(
        "throttled, retried by Airflow, and mailed once",
        found=sum(len(sandbox.ses.mails_to(address)) for _, address in THROTTLED),
        expected=len(THROTTLED),
    )
    claims.check(
        "accepted but the answer lost: not sent again, and proved by the provider's event",
        found=sum(ledger[recipient] == "SENT" for recipient, _ in ANSWER_LOST),
        expected=len(ANSWER_LOST),
    )
    claims.check(
        "their tasks ended green without anybody's help",
        found=sum(green(api, run, recipient) for recipient, _ in ANSWER_LOST),
        expected=len(ANSWER_LOST),
    )
    claims.check(
        "provider unavailable (503) and no event: held as in doubt, for nobody can know",
        found=sum(ledger[recipient] == "IN_DOUBT" for recipient, _ in UNAVAILABLE),
        expected=len(UNAVAILABLE),
    )
    claims.check(
        "rejected by the provider, kept by name",
        found=sum(ledger[recipient] == "REJECTED" for recipient, _ in REJECTED),
        expected=len(REJECTED),
    )
    claims.check("bad rows refused before anything was sent, with field and reason", found=report["counts"]["invalid"],
                 expected=len(REFUSED))  # fmt: skip
    claims.check(
        "customers who are neither mailed nor named",
        found=customers - len({r for r, s in ledger.items() if s == "SENT"} | named),
        expected=0,
    )
    claims.check(
        "everybody named in the report is one of the troublesome",
        found=sorted(named - TROUBLE.keys()),
        expected=[],
    )
    print(f"    held: {', '.join(sorted(held))}; report: {relative(report['file'])}")


def green(api: AirflowApi, run: str, recipient: str) -> bool:
    """Tell whether a recipient's task has succeeded."""
    tasks = api.task_instances(MONTHLY, run)
    return any(task.rendered_map_index == recipient and task.state == "success" for task in tasks)


def check_clearing(claims: Claims, sandbox: Sandbox, api: AirflowApi, run: str) -> None:
    """Clear what failed, as somebody on call would."""
    before = requests_by_recipient(sandbox)
    cleared = api.clear(MONTHLY, run, only_failed=True)
    print(f"\nclearing the {cleared} failed tasks of the first run …", flush=True)
    finish(api, run)
    claims.check("further requests to the provider", found=difference(before, sandbox), expected={})
    claims.check("customers who got two", found=repeated(sandbox), expected=0)


def check_second_run(claims: Claims, sandbox: Sandbox, api: AirflowApi, period: str) -> None:
    """Run the whole month again, as somebody who did not know would."""
    before = requests_by_recipient(sandbox)
    run = triggered_run(api, period)
    claims.check("further requests to the provider", found=difference(before, sandbox), expected={})
    claims.check("customers who got two", found=repeated(sandbox), expected=0)
    log = next(api.logs(MONTHLY, run, "deliver", 1, task.map_index) for task in api.task_instances(MONTHLY, run)
               if task.task_id == "deliver" and task.state == "success")  # fmt: skip
    line = next((line for line in log.splitlines() if "already sent on" in line), "")
    claims.check("the log says why nothing was sent", found=bool(line), expected=True)
    print(f"    {line[:118]}…")


def read_report(api: AirflowApi, run: str) -> dict[str, Any]:
    """Return the report that the run wrote beside its snapshot."""
    uri = api.xcom(MONTHLY, run, "snapshot", key="snapshot")
    file = Path(urlsplit(uri).path) / "report.json"
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return {**report, "file": file}


def ledger_states(sandbox: Sandbox) -> Mapping[str, str]:
    """Return each recipient's state, read by plain SQL."""
    with psycopg.connect(sandbox.postgres.dsn("ledger"), row_factory=dict_row) as connection:
        rows: Iterable[dict[str, str]] = connection.execute("SELECT recipient_id, state FROM mailonce_ledger")
        return {row["recipient_id"]: row["state"] for row in rows}


def repeated(sandbox: Sandbox) -> int:
    """Return how many keys the stand-in accepted more than one mail for."""
    return sum(count > 1 for count in Counter(mail.tags[KEY_TAG] for mail in sandbox.ses.mails).values())


def requests_by_recipient(sandbox: Sandbox) -> Counter[str]:
    """Return how many requests the stand-in saw for each recipient, refused ones included."""
    return Counter(str(request.recipient) for request in sandbox.ses.requests)


def difference(before: Counter[str], sandbox: Sandbox) -> dict[str, int]:
    """Return the requests that came since."""
    return dict(requests_by_recipient(sandbox) - before)


def relative(file: Path) -> Path:
    """Return a path as the reader would type it."""
    return file.relative_to(ROOT) if file.is_relative_to(ROOT) else file


if __name__ == "__main__":
    sys.exit(main())
