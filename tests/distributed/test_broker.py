"""The broker of the sandbox: what it was given is there after a crash, and strangers are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from valkey import Valkey
from valkey.exceptions import AuthenticationError

from sandbox.broker import EmbeddedBroker


def test_a_message_survives_a_crash(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "a folder") as broker:
        with Valkey.from_url(broker.url) as client:
            client.rpush("queue", "a task")
            on_disk = client.execute_command("WAITAOF", 1, 0, 10_000)
        broker.kill()
        broker.start()
        with Valkey.from_url(broker.url) as client:
            assert client.lrange("queue", 0, -1) == [b"a task"]
    assert on_disk == [1, 0]


def test_nobody_gets_in_without_the_password(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker, Valkey(port=broker.port) as stranger:
        with pytest.raises(AuthenticationError):
            stranger.ping()
        assert (tmp_path / "valkey.conf").stat().st_mode & 0o077 == 0
