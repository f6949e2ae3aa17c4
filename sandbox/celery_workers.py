"""Airflow's CeleryExecutor beside a running stack: settings for all components, and worker processes of its own."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from celery import Celery
from kombu.exceptions import OperationalError
from typing_extensions import Self

from sandbox.processes import ChildProcess, stop_all

if TYPE_CHECKING:
    from types import TracebackType

    from sandbox.airflow_stack import AirflowStack
    from sandbox.broker import EmbeddedBroker
    from sandbox.postgres import EmbeddedPostgres


def celery_settings(broker: EmbeddedBroker, postgres: EmbeddedPostgres) -> dict[str, str]:
    """Return the environment variables that make Airflow's components hand their tasks to Celery workers."""
    results = postgres.dsn("airflow").replace("postgresql://", "db+postgresql+psycopg2://")
    return {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": broker.url,
        "AIRFLOW__CELERY__RESULT_BACKEND": results,
    }


class CeleryWorkers:
    """So many Celery workers for one Airflow. Entered all of them answer; left all have stopped, with their tasks.

    Each is in a session of its own, so that one can be killed with everything it runs, as when its machine is lost.
    They are named ``worker-1`` and so on. Raises ProcessFailedError, with the tail of the log concerned, when one
    does not start.

    :param airflow: the running stack; its environment has :func:`celery_settings`.
    :param number: of workers. :param concurrency: how many tasks each of them runs at once.
    """

    def __init__(
        self,
        airflow: AirflowStack,
        broker: EmbeddedBroker,
        number: int,
        *,
        concurrency: int = 2,
        start_timeout: float = 120.0,
    ) -> None:
        self.names = [f"worker-{each + 1}" for each in range(number)]
        self._broker = broker
        self._start_timeout = start_timeout

        def options(name: str) -> list[str]:
            pid_file = str(airflow.home / f"{name}.pid")
            return ["--celery-hostname", f"{name}@%h", "--concurrency", str(concurrency), "--pid", pid_file]

        self._workers = {
            name: ChildProcess(
                name,
                [sys.executable, "-m", "airflow", "celery", "worker", "--skip-serve-logs", *options(name)],
                airflow.home / f"{name}.log",
                environment=airflow.environment(),
                directory=airflow.home,
            )
            for name in self.names
        }

    def __enter__(self) -> Self:
        try:
            for worker in self._workers.values():
                worker.start()
            for name in self.names:
                self._wait_until_it_answers(name)
        except BaseException:
            stop_all(self._workers.values())
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop_all(self._workers.values(), timeout=5)

    def process(self, name: str) -> ChildProcess:
        """The worker's process, for its log, its pid and its members."""
        return self._workers[name]

    def kill(self, name: str) -> None:
        """SIGKILL the worker and everything it runs, at once. Nobody is told, neither broker nor scheduler."""
        self._workers[name].kill()

    def restart(self, name: str) -> None:
        """Start a worker that was killed, under the same name, and wait until it answers."""
        self._workers[name].start()
        self._wait_until_it_answers(name)

    def _wait_until_it_answers(self, name: str) -> None:
        with Celery(broker=self._broker.url, set_as_current=False) as client:

            def answers() -> bool:
                try:
                    return bool(client.control.ping([f"{name}@{socket.gethostname()}"], timeout=0.5))
                except OperationalError:
                    return False

            self._workers[name].wait_until(answers, self._start_timeout)
