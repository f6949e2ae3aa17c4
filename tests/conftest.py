"""What several folders of tests share. Servers start when the first test asks for one, and serve the whole session."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import botocore.session
import pytest

# Before anything imports Airflow: it makes its home, and reads its configuration, when it is imported.
_HOME = tempfile.mkdtemp(prefix="mailonce-tests-")
os.environ["AIRFLOW_HOME"] = _HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = f"{_HOME}/dags"

from hypothesis import settings  # noqa: E402

from sandbox.aws import LocalAws  # noqa: E402
from sandbox.postgres import EmbeddedPostgres  # noqa: E402
from sandbox.ses import SesStandIn  # noqa: E402
from tests.side_by_side import SideBySide, starts_airflow  # noqa: E402

# A busy machine is slow now and then; that is no fault of the code.
settings.register_profile("mailonce", deadline=None, max_examples=60)
settings.load_profile("mailonce")

Connect = Callable[..., None]
"""Makes an Airflow connection for the test: its id, and the fields of its JSON form."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts Airflow comes first: see :mod:`tests.side_by_side`."""
    items.sort(key=lambda item: not starts_airflow(item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SideBySide:
    return SideBySide(config, log)


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _services_are_described_once() -> Iterator[None]:
    """Each new session of boto3 reads the descriptions of its services anew: most of what making a client costs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", lru_cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="session")
def local_aws() -> Iterator[LocalAws]:
    with LocalAws() as started:
        yield started


@pytest.fixture
def ses() -> Iterator[SesStandIn]:
    with SesStandIn(hang_seconds=30, slow_seconds=0.1, late_seconds=0.1) as standin:
        yield standin


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    def make(conn_id: str, **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return make


@pytest.fixture
def ses_connection(ses: SesStandIn, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ``aws_default`` leads to the stand-in; a lost answer is waited for only briefly."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    connect(
        "aws_default",
        conn_type="aws",
        login="AKIDEXAMPLE",
        password="secret",
        extra={
            "region_name": "eu-central-1",
            "endpoint_url": ses.url,
            "config_kwargs": {"read_timeout": 1, "connect_timeout": 1},
        },
    )
    monkeypatch.setenv("AIRFLOW__MAILONCE__SENDER", "Billing <billing@example.com>")
