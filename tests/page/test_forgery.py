"""Requests that this page's own form did not make, for this very person, change nothing."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from itsdangerous import URLSafeTimedSerializer

from mailonce.page import forgery
from mailonce.states import State
from tests.page.conftest import Put, SignIn, form_of

REASON = {"reason": "found it at the provider"}


@pytest.fixture
def address(put: Put) -> str:
    return f"/deliveries/{put('C-1', State.IN_DOUBT).key}/decide/sent"


def state(ledger: Any, address: str) -> State:
    return next(ledger.find([address.split("/")[2]])).state


def test_the_form_itself_is_taken(ann: TestClient, ledger: Any, address: str) -> None:
    answer = ann.post(address, data=form_of(ann, address) | REASON, headers={"Origin": "http://airflow.example.com"})
    assert answer.status_code == 303
    assert state(ledger, address) is State.SENT


@pytest.mark.parametrize("token", [None, "", "forged", "WyJhbm4iXQ.aaaa.bbbb"])
def test_a_forged_or_missing_token_is_refused(ann: TestClient, ledger: Any, address: str, token: str | None) -> None:
    form = form_of(ann, address) | REASON
    del form["token"]
    answer = ann.post(address, data=form | ({} if token is None else {"token": token}))
    assert answer.status_code == 403
    assert "Nothing was changed" in answer.text
    assert state(ledger, address) is State.IN_DOUBT


def test_a_token_of_another_user_is_refused(sign_in: SignIn, ledger: Any, address: str) -> None:
    ann = sign_in("ann")
    form = form_of(ann, address)
    ben = sign_in("ben")
    ben.cookies.update(ann.cookies)
    assert ben.post(address, data=form | REASON).status_code == 403
    assert state(ledger, address) is State.IN_DOUBT


def test_a_token_of_another_browser_is_refused(sign_in: SignIn, ledger: Any, address: str) -> None:
    form = form_of(sign_in("ann"), address)
    other = sign_in("ann")
    form_of(other, address)
    assert other.post(address, data=form | REASON).status_code == 403
    other.cookies.clear()
    assert other.post(address, data=form | REASON).status_code == 403
    assert state(ledger, address) is State.IN_DOUBT


def test_a_token_of_another_decision_is_refused(ann: TestClient, ledger: Any, address: str) -> None:
    form = form_of(ann, address)
    assert ann.post(address.replace("sent", "cancel"), data=form | REASON).status_code == 403
    assert state(ledger, address) is State.IN_DOUBT


def test_an_old_token_is_refused(ann: TestClient, ledger: Any, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form = form_of(ann, address)
    monkeypatch.setattr(forgery, "LIFETIME", -1)
    answer = ann.post(address, data=form | REASON)
    assert answer.status_code == 403
    assert "half an hour ago" in answer.text
    assert state(ledger, address) is State.IN_DOUBT


def test_a_token_signed_with_another_key_is_refused(ann: TestClient, ledger: Any, address: str) -> None:
    form = form_of(ann, address)
    signer = URLSafeTimedSerializer("another", salt="mailonce page")
    form["token"] = signer.dumps(["ann", ann.cookies[forgery.COOKIE], address])
    assert ann.post(address, data=form | REASON).status_code == 403
    assert state(ledger, address) is State.IN_DOUBT


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://airflow.example.com"},
    ],
)
def test_a_request_from_elsewhere_is_refused(ann: TestClient, ledger: Any, address: str, headers: Any) -> None:
    answer = ann.post(address, data=form_of(ann, address) | REASON, headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.text
    assert state(ledger, address) is State.IN_DOUBT


def test_behind_a_proxy_the_address_that_airflow_is_known_by_counts(
    ann: TestClient, ledger: Any, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://outside.example.com/airflow")
    answer = ann.post(address, data=form_of(ann, address) | REASON, headers={"Origin": "https://outside.example.com"})
    assert answer.status_code == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(ann: TestClient, address: str) -> None:
    cookie = ann.get(address).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_nothing_is_decided_by_opening_an_address(ann: TestClient, ledger: Any, address: str) -> None:
    ann.get(address, params={**form_of(ann, address), **REASON})
    assert state(ledger, address) is State.IN_DOUBT
