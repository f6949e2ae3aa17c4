"""The real page over a ledger in memory. Only who is signed in is made up: what they may do, Airflow's own manager says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mailonce.delivery import Conclusion, Decision, Delivery, Entry, Timing
from mailonce.events import Event, EventKind, Fate
from mailonce.messages.rows import read_row
from mailonce.messages.statement import StatementMaker
from mailonce.messages.templates import Templates
from mailonce.page import access
from mailonce.page.app import create_app
from mailonce.states import State
from mailonce.workflow.settings import Settings
from mailonce.workflow.snapshot import Snapshot
from mailonce.workflow.snapshot_writer import write_snapshot
from tests.fake_ledger import MemoryLedger
from tests.fakes import FakeClock, make_claim, make_delivery

NASTY = "<script>alert(1)</script>"
SENDER = "Usage <usage@example.com>"
ROLES = {"ann": "user", "ben": "user", "vera": "viewer"}
SignIn = Callable[..., TestClient]
Put = Callable[..., Entry]
EVENTS = {Fate.DELIVERED: EventKind.DELIVERY, Fate.BOUNCED: EventKind.BOUNCE, Fate.COMPLAINED: EventKind.COMPLAINT}


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__SECRET_KEY", "a secret of these tests, long enough to sign with")
    create_auth_manager()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock) -> MemoryLedger:
    return MemoryLedger(clock.now)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    templates = tmp_path / "templates" / "usage"
    templates.mkdir(parents=True)
    (templates / "subject.txt.j2").write_text("Your month, {{ name }}")
    (templates / "body.html.j2").write_text("<h1>{{ name }}</h1><script>steal()</script>")
    (templates / "body.txt.j2").write_text("You used {{ units }} units, {{ name }}.")
    return Settings(
        sender=SENDER, snapshot_uri=f"file://{tmp_path}/snapshots", template_root=str(tmp_path / "templates")
    )


@pytest.fixture
def app(ledger: MemoryLedger, settings: Settings) -> FastAPI:
    made = create_app()
    made.dependency_overrides[access.the_ledger] = lambda: ledger
    made.dependency_overrides[access.settings] = lambda: settings
    return made


@pytest.fixture
def anonymous(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://airflow.example.com", follow_redirects=False)


@pytest.fixture
def sign_in(app: FastAPI) -> Iterator[SignIn]:
    def signed_in(name: str = "ann") -> TestClient:
        user = SimpleAuthManagerUser(username=name, role=ROLES[name])
        app.dependency_overrides[get_user] = lambda: user
        return TestClient(app, base_url="http://airflow.example.com", follow_redirects=False)

    yield signed_in
    app.dependency_overrides.clear()


@pytest.fixture
def ann(sign_in: SignIn) -> TestClient:
    """Somebody who may see and act."""
    return sign_in("ann")


@pytest.fixture
def put(ledger: MemoryLedger, clock: FakeClock) -> Put:
    """Bring a delivery into a state, by the moves that the protocol allows; the claim is settled unless told."""

    def bring(
        recipient_id: str = "C-1",
        state: State = State.SENT,
        *,
        fate: Fate | None = None,
        settled: bool = True,
        delivery: Delivery | None = None,
        error: str = "said so",
        **which: Any,
    ) -> Entry:
        one = delivery or make_delivery(recipient_id, **which)
        claim = make_claim(one, by="usage_email manual__1 deliver[0] try 1, host process 7")
        ledger.claim(claim)
        first = State.REJECTED if state is State.CANCELLED else state
        if first is State.SENT:
            ledger.conclude(one.key, claim.token, Conclusion(state=first, message_id=f"m-{recipient_id}"))
        elif first is not State.SENDING:
            ledger.conclude(one.key, claim.token, Conclusion(state=first, error=error))
        if state is State.CANCELLED:
            ledger.decide(one.key, Decision(state=state, by="support", reason="asked us not to"))
        if fate is not None:
            event = Event(
                kind=EVENTS[fate], key=one.key, message_id=f"m-{recipient_id}", at=clock.now(),
                address=one.message.to, detail=error,
            )  # fmt: skip
            ledger.observe(event)
        if settled:
            clock.advance(Timing().window + Timing().settle * 2)
        return next(ledger.find([one.key]))

    return bring


@pytest.fixture
def plan(settings: Settings) -> Callable[..., Snapshot]:
    """Write a snapshot, as the monthly Dag does."""

    def written(*rows: Mapping[str, Any], only: tuple[str, ...] = (), edition: str = "original") -> Snapshot:
        return write_snapshot(
            [row_of(**row) for row in rows], maker_of(settings, edition), uri=settings.snapshot_uri, only=only
        )

    return written


def row_of(recipient_id: str = "C-1", **columns: Any) -> dict[str, Any]:
    return {"recipient_id": recipient_id, "email": "ann@example.org", "units": 3, "name": "Ann", **columns}


def maker_of(settings: Settings, edition: str = "original") -> StatementMaker:
    content = Templates.of_campaign("usage", Path(settings.template_root))
    return StatementMaker(campaign="usage", period="2030-01", content=content, sender=SENDER, edition=edition)


def delivery_of(settings: Settings, **columns: Any) -> Delivery:
    return maker_of(settings).delivery(read_row(row_of(**columns)))


class _Fields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and given.get("type") == "hidden":
            self.fields[str(given["name"])] = given.get("value") or ""


def form_of(client: TestClient, address: str) -> dict[str, str]:
    """Open a form, and return its hidden fields; the client keeps the cookie."""
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    parser = _Fields()
    parser.feed(answer.text)
    return parser.fields


def words(html: str) -> str:
    """Return a page's text without its marks, on one line."""
    body = "<main" + html.partition("<main")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())
