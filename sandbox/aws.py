"""DynamoDB, SQS, SNS and S3 on 127.0.0.1: ministack as a child process, its state in a temporary directory.

Chosen because its conditional writes are atomic: the ledger's claims are raced against it in the tests.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from typing_extensions import Self

from sandbox.processes import ChildProcess, free_port, http_ok

if TYPE_CHECKING:
    from types import TracebackType

REGION = "eu-central-1"
ACCESS_KEY = "local"
SECRET_KEY = "local"  # noqa: S105


class LocalAws:
    """The local AWS API. Entered it starts empty, left it stops and forgets. Raises ProcessFailedError."""

    def __init__(self, port: int | None = None, log: Path | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._state: tempfile.TemporaryDirectory[str] | None = None
        self._server: ChildProcess | None = None

    def __enter__(self) -> Self:
        self._state = tempfile.TemporaryDirectory(prefix="mailonce-aws-")
        state = Path(self._state.name)
        self._server = ChildProcess(
            "ministack",
            [sys.executable, "-m", "ministack"],
            self._log or state / "ministack.log",
            environment=self._environment(state),
            directory=state,
        )
        try:
            self._server.start()
            self._server.wait_until(http_ok(f"{self.url}/_ministack/health"), timeout=60)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def client(self, service: str) -> Any:
        """A boto3 client of this API, usable from many threads; ``service`` is boto3's name for it."""
        session: Any = boto3.session.Session()
        # A proxy in the environment must not see requests to our own machine.
        config = Config(max_pool_connections=64, proxies={}, s3={"addressing_style": "path"})
        return session.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=config,
        )

    def environment(self) -> dict[str, str]:
        """The AWS SDK's own variables which send another process's requests here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
        }

    def _environment(self, state: Path) -> dict[str, str]:
        # Whatever AWS or ministack settings the developer has stay out.
        needed = ("PATH", "HOME", "LANG", "PYTHONPATH", "LD_LIBRARY_PATH")
        kept = {name: value for name in needed if (value := os.environ.get(name))}
        return kept | {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "STATE_DIR": str(state / "state"),
            "S3_DATA_DIR": str(state / "s3"),
            "TMPDIR": str(state),
            # It tidies up containers at its start: there are none of ours, so it must not find an engine.
            "DOCKER_HOST": f"unix://{state}/no-docker",
            "LOG_LEVEL": "WARNING",
        }

    def _close(self) -> None:
        if self._server is not None:
            self._server.stop(timeout=5)
            self._server = None
        if self._state is not None:
            self._state.cleanup()
            self._state = None
