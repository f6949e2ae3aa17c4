"""What was mailed before a browser looks: few customers, of whom some are refused, rejected, held, or named hostilely."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
from psycopg.rows import dict_row

from sandbox.airflow_api import AirflowApi
from sandbox.sample_customers import sample_customers
from sandbox.sample_usage import months_before
from sandbox.ses import Behaviour, Fate
from sandbox.stack import MONTHLY, RECONCILE, Sandbox

ORDINARY = ("CUST-0001", "CUST-0002", "CUST-0003", "CUST-0005", "CUST-0006", "CUST-0008")
FATES = {"CUST-0006": Fate.BOUNCE, "CUST-0008": Fate.COMPLAINT}
REFUSED = ("CUST-0007", "CUST-0026")
REJECTED = ("CUST-0016", "CUST-0055")
HELD = ("CUST-0009", "CUST-0011", "CUST-0029", "CUST-0072")

SCRIPT = "<script>document.title='pwned'</script>"
"""Both the id and the name of a customer of the earlier month."""
FORMULA = '=HYPERLINK("https://example.org")'
"""The same of another, whose mail is rejected."""
EARLIER = ("CUST-0001", "CUST-0002", SCRIPT, FORMULA)

ADDRESSES = {customer.recipient_id: customer.email or "" for customer in sample_customers()} | {
    SCRIPT: "script@example.org",
    FORMULA: "formula@example.org",
}


@dataclass(frozen=True, kw_only=True)
class Mailed:
    """The month that the schedule's latest run is about, and the one before, which has the hostile names."""

    month: str
    run: str
    earlier: str
    earlier_run: str


def the_months() -> tuple[str, str]:
    """Return the month that the schedule mails today, on the 1st only from noon the one just over; and the one before."""
    earlier, month = months_before((datetime.now(timezone.utc) - timedelta(hours=12)).date(), 2)
    return f"{month:%Y-%m}", f"{earlier:%Y-%m}"


def prepare(stack: Sandbox) -> None:
    """Leave few customers in the usage database, and tell the provider how to treat them."""
    month, earlier = the_months()
    wanted = {month: [*ORDINARY, *REFUSED, *REJECTED, *HELD], earlier: list(EARLIER)}
    with psycopg.connect(stack.postgres.dsn("usage")) as connection:
        for hostile in (SCRIPT, FORMULA):
            connection.execute(
                "INSERT INTO customers SELECT %s, %s, %s, plan, currency, 0 FROM customers WHERE customer_id = 'CUST-0001'",
                [hostile, hostile, ADDRESSES[hostile]],
            )
            connection.execute(
                "INSERT INTO usage_daily SELECT %s, used_at, metric, quantity FROM usage_daily WHERE customer_id = 'CUST-0001'",
                [hostile],
            )
        connection.execute(
            "DELETE FROM usage_daily WHERE NOT (to_char(used_at, 'YYYY-MM') = %s AND customer_id = ANY(%s))"
            " AND NOT (to_char(used_at, 'YYYY-MM') = %s AND customer_id = ANY(%s))",
            [month, wanted[month], earlier, wanted[earlier]],
        )
    for customer in HELD:
        # Only the first time: once released, it can be sent.
        stack.ses.behave(ADDRESSES[customer], [Behaviour.UNAVAILABLE_503])
    for customer in (*REJECTED, FORMULA):
        stack.ses.behave(ADDRESSES[customer], Behaviour.REJECT)
    stack.ses.set_fates({ADDRESSES[customer]: fate for customer, fate in FATES.items()})


def mail(stack: Sandbox, api: AirflowApi) -> Mailed:
    """Wait for the schedule's run and for one of the earlier month, until their events are in the ledger."""
    month, earlier = the_months()
    earlier_run = api.trigger(MONTHLY, {"period": earlier})
    wait("the schedule's run", lambda: any(run["run_type"] == "scheduled" for run in api.runs(MONTHLY)))
    run = next(str(run["dag_run_id"]) for run in api.runs(MONTHLY) if run["run_type"] == "scheduled")
    # Red, both of them, for their reports name who has no confirmed mail.
    assert api.wait_for_run(MONTHLY, run) == "failed"
    assert api.wait_for_run(MONTHLY, earlier_run) == "failed"
    api.unpause(RECONCILE)
    accepted = len(ORDINARY) + len(EARLIER) - 1
    wait("the provider's events", lambda: count(stack, "state = 'SENT' AND fate IS NOT NULL") == accepted)
    wait("the last claim to be settled", lambda: count(stack, "state = 'IN_DOUBT' AND settled_at < now()") == len(HELD))
    return Mailed(month=month, run=run, earlier=earlier, earlier_run=earlier_run)


def row(stack: Sandbox, recipient_id: str, period: str) -> dict[str, Any]:
    """Return the ledger's row, read by plain SQL."""
    with psycopg.connect(stack.postgres.dsn("ledger"), row_factory=dict_row) as connection:
        (found,) = connection.execute(
            "SELECT * FROM mailonce_ledger WHERE recipient_id = %s AND period = %s", [recipient_id, period]
        ).fetchall()
        return found


def count(stack: Sandbox, condition: str) -> int:
    """Return how many rows of the ledger meet a condition."""
    with psycopg.connect(stack.postgres.dsn("ledger")) as connection:
        (number,) = connection.execute(f"SELECT count(*) FROM mailonce_ledger WHERE {condition}").fetchone() or (0,)
        return int(number)


def wait(what: str, done: Callable[[], object], timeout: float = 120) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, f"{what}: not within {timeout:g} s"
        time.sleep(0.2)
