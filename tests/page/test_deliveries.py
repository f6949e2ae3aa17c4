"""One delivery, the decisions about it, and its mail."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from mailonce.delivery import Conclusion, Receipt, Timing
from mailonce.events import Fate
from mailonce.page.headers import MAIL_POLICY
from mailonce.privacy.erasure import erasure_of
from mailonce.states import State
from tests.fakes import FakeClock, make_claim, make_delivery
from tests.page.conftest import Put, SignIn, delivery_of, form_of, row_of, words


def decide(client: TestClient, key: str, choice: str, reason: str = "found it") -> Any:
    address = f"/deliveries/{key}/decide/{choice}"
    return client.post(address, data=form_of(client, address) | {"reason": reason})


def test_the_facts_and_the_time_line(ann: TestClient, put: Put, ledger: Any) -> None:
    entry = put("C-1", fate=Fate.BOUNCED, error="550 no such user")
    page = words(ann.get(f"/deliveries/{entry.key}").text)
    for fact in ("m-C-1", "usage_email manual__1 deliver[0] try 1", "550 no such user", "Bounced", entry.key):
        assert fact in page
    line = page.partition("Time line")[2]
    assert line.index("Being sent") < line.index("m-C-1") < line.index("event Bounce")


def test_of_somebody_who_was_erased_the_address_is_not_shown(ann: TestClient, put: Put, ledger: Any) -> None:
    entry = put("C-1", fate=Fate.BOUNCED, error="550 no such user")
    pseudonym = "hmac-sha256:" + "0f" * 32
    erasure = erasure_of(entry, pseudonym, by="ann", reason="ticket 7")
    assert erasure
    assert ledger.privacy.erase(erasure)
    page = words(ann.get(f"/deliveries/{entry.key}").text)
    assert "Address erased on 20" in page
    assert "ERASED ann ticket 7" in page.partition("Time line")[2]
    assert entry.email not in page
    assert pseudonym not in page


def test_a_duplicate_is_flagged(ann: TestClient, put: Put, ledger: Any) -> None:
    entry = put("C-1")
    assert "Sent twice" not in ann.get(f"/deliveries/{entry.key}").text
    ledger.witness(Receipt(key=entry.key, message_id="m-second"))
    page = ann.get(f"/deliveries/{entry.key}").text
    assert "Sent twice" in page
    assert "m-second" in page


@pytest.mark.parametrize("key", ["nothing", "0" * 64, "%00"])
def test_a_key_without_a_row(ann: TestClient, key: str) -> None:
    assert ann.get(f"/deliveries/{key}").status_code == 404


@pytest.mark.parametrize(
    ("before", "offered"),
    [
        (State.IN_DOUBT, {"sent", "release", "cancel"}),
        (State.REJECTED, {"release", "cancel"}),
        (State.RELEASED, {"cancel"}),
        (State.CANCELLED, {"release"}),
        (State.SENT, set()),
        (State.SENDING, set()),
    ],
)
def test_only_decisions_that_make_sense_are_offered_and_each_works(
    ann: TestClient, put: Put, ledger: Any, before: State, offered: set[str]
) -> None:
    for choice in ("sent", "release", "cancel"):
        recipient = f"C-{choice}"
        key = put(recipient, before, settled=before is not State.SENDING).key
        page = ann.get(f"/deliveries/{key}").text
        assert (f"/decide/{choice}" in page) is (choice in offered)
        if choice in offered:
            answer = decide(ann, key, choice, "asked the customer")
            assert (answer.status_code, answer.headers["location"]) == (303, f"/deliveries/{key}?done=true")
            after = next(ledger.find([key]))
            assert after.state is {"sent": State.SENT, "release": State.RELEASED, "cancel": State.CANCELLED}[choice]
            assert (after.history[-1]["by"], after.history[-1]["note"]) == ("ann", "asked the customer")
            shown = words(ann.get(answer.headers["location"]).text)
            assert "Done. This delivery is now" in shown
        else:
            assert decide_directly(ann, key, choice).status_code in {409, 403}
            assert next(ledger.find([key])).state is before


def decide_directly(client: TestClient, key: str, choice: str) -> Any:
    """Send a form that the page did not offer, with a token of another delivery's."""
    address = f"/deliveries/{key}/decide/{choice}"
    return client.post(address, data=form_of(client, address) | {"reason": "let me"})


def test_the_effect_is_shown_before(ann: TestClient, put: Put, ledger: Any) -> None:
    key = put("C-1", State.IN_DOUBT).key
    before = next(ledger.find([key]))
    page = words(ann.get(f"/deliveries/{key}/decide/release").text)
    assert "Held: in doubt becomes" in page
    assert "this customer gets the statement twice" in page
    assert "Nothing is sent by this decision alone" in page
    assert next(ledger.find([key])) == before


def test_release_waits_until_the_claim_is_settled(ann: TestClient, put: Put, ledger: Any, clock: FakeClock) -> None:
    entry = put("C-1", State.IN_DOUBT, settled=False)
    page = ann.get(f"/deliveries/{entry.key}").text
    assert "/decide/release" not in page
    assert f"{entry.settled_at:%Y-%m-%d %H:%M:%S} UTC" in page
    assert 'name="reason"' not in ann.get(f"/deliveries/{entry.key}/decide/release").text
    clock.advance(Timing().window + Timing().settle + timedelta(seconds=1))
    assert decide(ann, entry.key, "release").status_code == 303


@pytest.mark.parametrize("reason", ["", "  \n ", "x" * 1001])
def test_a_reason_is_needed_and_bounded(ann: TestClient, put: Put, ledger: Any, reason: str) -> None:
    key = put("C-1", State.IN_DOUBT).key
    answer = decide(ann, key, "sent", reason)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert next(ledger.find([key])).state is State.IN_DOUBT


def test_a_reason_is_one_line_of_the_history(ann: TestClient, put: Put, ledger: Any) -> None:
    key = put("C-1", State.IN_DOUBT).key
    decide(ann, key, "sent", "seen\r\nin the\x1b[31m log")
    assert next(ledger.find([key])).history[-1]["note"] == "seen in the [31m log"


def test_a_newer_claim_is_left_alone(ann: TestClient, put: Put, ledger: Any, clock: FakeClock) -> None:
    """Between the form and its answer somebody else released it, it was sent again, and is in doubt once more."""
    key = put("C-1", State.IN_DOUBT).key
    address = f"/deliveries/{key}/decide/sent"
    form = form_of(ann, address)
    decide(ann, key, "release")
    put("C-1", State.IN_DOUBT)
    answer = ann.post(address, data=form | {"reason": "found it"})
    assert answer.status_code == 409
    assert "Nothing was changed" in answer.text
    assert next(ledger.find([key])).state is State.IN_DOUBT


def test_a_sender_that_vanished_is_taken_for_in_doubt(ann: TestClient, put: Put, ledger: Any) -> None:
    key = put("C-1", State.SENDING).key
    page = ann.get(f"/deliveries/{key}").text
    assert "past its deadline" in page
    assert decide(ann, key, "cancel").status_code == 303
    assert next(ledger.find([key])).state is State.CANCELLED


def test_what_is_released_says_how_it_goes_out(ann: TestClient, sign_in: SignIn, put: Put) -> None:
    key = put("C-1", State.REJECTED).key
    assert "Try again" in ann.get(f"/deliveries/{key}").text
    decide(ann, key, "release", "the address is mended")
    page = ann.get(f"/deliveries/{key}").text
    assert 'data-runs="/api/v2/dags/usage_email/dagRuns"' in page
    assert 'data-recipient="C-1"' in page
    assert "again.js" in page
    assert "data-runs" not in sign_in("vera").get(f"/deliveries/{key}").text


def test_the_mail_as_it_was_sent(ann: TestClient, put: Put, plan: Any, settings: Any) -> None:
    plan(row_of("C-1"), row_of("C-2", name="Bo"))
    entry = put(delivery=delivery_of(settings, recipient_id="C-2", name="Bo"))
    page = ann.get(f"/deliveries/{entry.key}/mail").text
    assert "as it was sent" in page
    assert "Your month, Bo" in page
    assert "You used 3 units, Bo." in page
    assert '<iframe class="mail" sandbox src=' in page
    assert "steal()" not in page
    frame = ann.get(f"/deliveries/{entry.key}/mail/html")
    assert "<h1>Bo</h1>" in frame.text
    assert frame.headers["content-security-policy"] == MAIL_POLICY
    assert "script" not in MAIL_POLICY


def test_of_several_snapshots_the_one_that_was_sent_is_taken(
    ann: TestClient, put: Put, plan: Any, settings: Any
) -> None:
    plan(row_of("C-1"))
    entry = put(delivery=delivery_of(settings))
    plan(row_of("C-1", units=99))
    page = ann.get(f"/deliveries/{entry.key}/mail").text
    assert "as it was sent" in page
    assert "You used 3 units" in page


def test_a_mail_that_changed_since_is_said_to_have(ann: TestClient, put: Put, plan: Any, settings: Any) -> None:
    plan(row_of("C-1"))
    entry = put(delivery=delivery_of(settings))
    (Path(settings.template_root) / "usage" / "body.txt.j2").write_text("Something else.")
    page = ann.get(f"/deliveries/{entry.key}/mail").text
    assert "as it was sent" not in page
    assert "have changed since" in page
    assert "Something else." in page


def test_without_a_snapshot_there_is_no_mail_to_show(ann: TestClient, put: Put) -> None:
    entry = put("C-1")
    answer = ann.get(f"/deliveries/{entry.key}/mail")
    assert answer.status_code == 200
    assert "cannot be rendered any more" in answer.text
    assert ann.get(f"/deliveries/{entry.key}/mail/html").status_code == 400


def test_a_key_is_found_wherever_in_a_large_snapshot_it_stands(
    ann: TestClient, put: Put, plan: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailonce.page.rendering._BLOCK", 97)
    plan(*(row_of(f"C-{number}", name=f"N{number}") for number in range(40)))
    for number in (0, 7, 39):
        entry = put(delivery=delivery_of(settings, recipient_id=f"C-{number}", name=f"N{number}"))
        assert f"Your month, N{number}" in ann.get(f"/deliveries/{entry.key}/mail").text


def test_a_decision_with_a_token_is_about_that_claim_only(ledger: Any, clock: FakeClock) -> None:
    from mailonce.decisions import DecisionRefused, resolve
    from mailonce.delivery import Decision

    claim = make_claim(make_delivery("C-1"))
    ledger.claim(claim)
    ledger.conclude(claim.delivery.key, claim.token, Conclusion(state=State.IN_DOUBT, error="?"))
    with pytest.raises(DecisionRefused, match="claimed anew"):
        resolve(ledger, claim.delivery.key, Decision(state=State.SENT, by="ann", reason="so", token="an older one"))
    assert resolve(ledger, claim.delivery.key, Decision(state=State.SENT, by="ann", reason="so", token=claim.token))
