"""Who sees what, and who may do what: for each route that there is, so that a new one is asked too."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from mailonce.page import runs
from mailonce.page.app import create_app
from mailonce.states import State
from tests.fakes import make_delivery
from tests.page.conftest import NASTY, Put, SignIn, form_of

KEY = make_delivery("C-1").key
PATH = {"campaign": "usage", "period": "2030-01", "key": KEY, "choice": "sent", "name": "page.css", "dag_id": "d",
        "run_id:path": "manual__1", "edition": "original", "digest": "0" * 20, "path:path": "report.html"}  # fmt: skip
READING = {"GET", "HEAD"}
ONLY_SEARCHES = {"/search", "/months/usage/2030-01"}
"""What is asked by POST only to keep addresses out of the access log."""


def routes() -> list[tuple[str, str]]:
    """Every method and address that the page answers, with something real in each place."""
    found = []
    for route in create_app().routes:
        assert isinstance(route, APIRoute), f"{route} is no route whose dependencies are checked"
        address = route.path
        for name, value in PATH.items():
            address = address.replace(f"{{{name}}}", value)
        assert "{" not in address, address
        found += [(method, address) for method in route.methods]
    return sorted(found)


ROUTES = routes()


def test_there_are_routes_of_both_kinds() -> None:
    assert {method for method, _ in ROUTES} == {"GET", "POST"}
    assert len(ROUTES) > 9


@pytest.mark.parametrize(("method", "address"), ROUTES)
def test_who_is_not_signed_in_gets_nothing_anywhere(anonymous: TestClient, put: Put, method: str, address: str) -> None:
    put("C-1", State.IN_DOUBT)
    answer = anonymous.request(method, address)
    assert answer.status_code == 401
    assert "C-1" not in answer.text
    assert "/auth/login?next=" in answer.text


@pytest.mark.parametrize("address", ["/docs", "/redoc", "/openapi.json"])
def test_the_application_tells_strangers_nothing_about_itself(anonymous: TestClient, address: str) -> None:
    assert anonymous.get(address).status_code == 404


@pytest.mark.parametrize(
    ("method", "address"), [route for route in ROUTES if route[0] not in READING and route[1] not in ONLY_SEARCHES]
)
def test_a_viewer_changes_nothing(sign_in: SignIn, put: Put, ledger: Any, method: str, address: str) -> None:
    put("C-1", State.IN_DOUBT)
    form = form_of(sign_in("ann"), address)
    viewer = sign_in("vera")
    answer = viewer.request(method, address, data=form | {"reason": "because"})
    assert answer.status_code == 403
    assert next(ledger.find([KEY])).state is State.IN_DOUBT


@pytest.mark.parametrize("address", sorted(ONLY_SEARCHES))
def test_a_search_changes_nothing(sign_in: SignIn, put: Put, ledger: Any, address: str) -> None:
    put("C-1", State.IN_DOUBT, email="ann@example.org")
    before, ledger.calls = next(ledger.find([KEY])), []
    found = sign_in("vera").post(address, data={"q": "ann@example.org"})
    assert f"/deliveries/{KEY}" in found.text
    assert "ann@example.org" not in str(found.url)
    assert set(ledger.calls) <= {"of_address", "browser.totals", "find"}
    assert next(ledger.find([KEY])) == before
    elsewhere = sign_in("vera").post(address, data={"q": "C-1"})
    assert (elsewhere.status_code, elsewhere.headers["location"].partition("#")[0]) == (303, f"{address}?q=C-1")


def test_the_search_forms_put_nothing_into_an_address(ann: TestClient, put: Put) -> None:
    put("C-1")
    page = ann.get("/months/usage/2030-01").text
    assert page.count("<form") == page.count('method="post"') == 2


def test_a_viewer_sees_no_buttons_and_no_form(sign_in: SignIn, put: Put) -> None:
    put("C-1", State.IN_DOUBT)
    page = sign_in("vera").get(f"/deliveries/{KEY}")
    assert page.status_code == 200
    assert "/decide/" not in page.text
    assert "can decide about it" in page.text
    assert sign_in("vera").get(f"/deliveries/{KEY}/decide/sent").status_code == 403
    assert "/decide/sent" in sign_in("ann").get(f"/deliveries/{KEY}").text


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow lets nobody read the Dag of the campaign ``secret``."""
    asked = SimpleAuthManager.is_authorized_dag

    def authorized(self: Any, *, details: Any = None, **options: Any) -> bool:
        return details.id != "secret_email" and asked(self, details=details, **options)

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", authorized)


@pytest.mark.usefixtures("hidden")
def test_what_airflow_hides_the_page_hides_too(ann: TestClient, put: Put) -> None:
    key = put("Z-9", State.IN_DOUBT, campaign="secret", email="zoe@example.org").key
    put("C-1")
    listed = ann.get("/").text
    assert "usage" in listed
    assert "secret" not in listed
    for address in ("/months/secret/2030-01", "/months/secret/2030-01/not-delivered.csv"):
        assert ann.get(address).status_code == 403
    for address in (f"/deliveries/{key}", f"/deliveries/{key}/mail", f"/deliveries/{key}/decide/sent"):
        assert ann.get(address).status_code == 404
    for asked in ("Z-9", "zoe@example.org", key):
        found = ann.get("/search", params={"q": asked}).text
        assert f"/deliveries/{key}" not in found
        assert "Nothing found" in found


def test_a_run_is_led_to_its_month(ann: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "s3://bucket/snapshots/usage/2030-01/corrected/0123456789"
    monkeypatch.setattr(runs, "run_snapshot", lambda dag_id, run_id: uri if run_id == "manual__1+00:00/x" else None)
    answer = ann.get("/runs/usage_email/manual__1%2B00%3A00%2Fx")
    place, _, asked = answer.headers["location"].partition("&run=manual__1_00_00_x.")
    assert (answer.status_code, place) == (307, "/months/usage/2030-01?edition=corrected&snapshot=0123456789")
    assert asked
    assert "planned no mails" in ann.get("/runs/usage_email/other").text
    assert NASTY not in ann.get(f"/runs/usage_email/{NASTY}").text


def test_a_run_is_asked_about_only_with_the_right_to_read_it(ann: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        SimpleAuthManager,
        "is_authorized_dag",
        lambda self, *, access_entity, **_: access_entity is not DagAccessEntity.XCOM,
    )
    monkeypatch.setattr(runs, "run_snapshot", lambda *_: pytest.fail("asked"))
    assert ann.get("/runs/usage_email/manual__1").status_code == 403


def test_the_headers_stand_on_every_answer(ann: TestClient, anonymous: TestClient, app: FastAPI) -> None:
    for answer in (ann.get("/"), ann.get("/nowhere"), ann.get("/static/theme.js")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
    assert ann.get("/").headers["cache-control"] == "no-store"
    assert ann.get("/static/%2e%2e%2fapp.py").status_code == 404


def test_airflow_s_own_check_is_what_is_asked(app: FastAPI, put: Put) -> None:
    """Without anybody's override: no cookie, or one that nobody signed, opens nothing."""
    client = TestClient(app, cookies={"_token": "forged"})
    put("C-1")
    assert client.get("/").status_code in {401, 403}
    assert client.get("/", headers={"Authorization": "Bearer forged"}).status_code in {401, 403}
