"""`make serve`: the whole product kept running on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading

from sandbox.demo import DIRECTORY, misbehave
from sandbox.stack import MONTHLY, RECONCILE, Sandbox

AIRFLOW_PORT = 8080
MAILBOX_PORT = 8090


def main() -> int:
    """Serve until interrupted. :return: the exit code."""
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    print("Starting PostgreSQL, the SES stand-in, and Airflow …", flush=True)
    with Sandbox(DIRECTORY, airflow_port=AIRFLOW_PORT, mailbox_port=MAILBOX_PORT) as sandbox:
        api = sandbox.airflow.api()
        for dag in (MONTHLY, RECONCILE):
            api.wait_for_dag(dag)
        api.unpause(RECONCILE)
        misbehave(sandbox)
        schedule = (
            "The schedule is paused: unpausing the Dag mails last month at once."
            if api.request("GET", f"/api/v2/dags/{MONTHLY}")["is_paused"]
            else "Last month was mailed already: triggering it again sends nothing twice."
        )
        print(
            f"\n  Airflow   {sandbox.airflow.url}/dags/{MONTHLY}   (press Trigger for the form)"
            f"\n  mailbox   {sandbox.ses.url}/   (every mail that was sent)"
            f"\n\n{schedule} Some customers are treated badly, as in the demo. Ctrl-C stops everything.",
            flush=True,
        )
        stop.wait()
        print("\nStopping …", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
