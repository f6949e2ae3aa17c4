"""Who must not be mailed, asked of the ledger and of the SES account, over real HTTP to the stand-in."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from mailonce.errors import InvalidInput, NeverLeft
from mailonce.privacy.person import erase_person, find_person
from mailonce.privacy.pseudonyms import KEY_CHECK, Pseudonyms
from mailonce.suppression import Suppression
from mailonce.workflow import suppressed as suppressed_module
from mailonce.workflow.connections import ses_account_client
from mailonce.workflow.settings import Settings
from mailonce.workflow.suppressed import Suppressed
from sandbox.ses import SesStandIn
from tests.fake_ledger import MemoryLedger

LONG_AGO = datetime(2026, 10, 2, tzinfo=timezone.utc)


@pytest.fixture
def ledger() -> MemoryLedger:
    made = MemoryLedger()
    made.suppressions.add(
        Suppression(address="Ann@Example.com", reason="hard bounce", since=LONG_AGO, by="event Bounce")
    )  # fmt: skip
    return made


def test_the_ledger_knows_whatever_the_case(ledger: MemoryLedger) -> None:
    found = Suppressed(ledger, Settings())(["ann@example.com", "bob@example.com"])
    assert found == {"ann@example.com": "hard bounce (since 2026-10-02, event Bounce)"}


def test_who_was_let_back_is_mailed(ledger: MemoryLedger) -> None:
    ledger.suppressions.lift("ann@example.com", by="support", reason="the mailbox works again")
    assert Suppressed(ledger, Settings())(["ann@example.com"]) == {}


@pytest.mark.usefixtures("ses_connection")
class TestTheAccountsOwnList:
    def test_is_not_asked_unless_wanted(self, ledger: MemoryLedger, ses: SesStandIn) -> None:
        Suppressed(ledger, Settings())
        assert not ses.requests

    def test_is_read_page_by_page(self, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(suppressed_module, "PAGE", 2)
        client: Any = ses_account_client(Settings())
        for number in range(5):
            client.put_suppressed_destination(EmailAddress=f"Late{number}@example.com", Reason="COMPLAINT")
        suppressed = Suppressed(ledger, Settings(account_suppressions=True))
        found = suppressed(["late4@example.com", "bob@example.com", "ann@example.com", "cy@example.com"])
        assert set(found) == {"late4@example.com", "ann@example.com"}
        assert "complaint" in found["late4@example.com"]

    def test_is_asked_about_a_few_one_by_one(self, ledger: MemoryLedger, ses: SesStandIn) -> None:
        client: Any = ses_account_client(Settings())
        client.put_suppressed_destination(EmailAddress="late@example.com", Reason="BOUNCE")
        found = Suppressed(ledger, Settings(account_suppressions=True))(["late@example.com", "bob@example.com"])
        assert found == {"late@example.com": "on the SES account's suppression list (bounce)"}

    def test_that_cannot_be_read_lets_nobody_be_mailed(self, ledger: MemoryLedger, ses: SesStandIn) -> None:
        ses.stop()
        with pytest.raises(NeverLeft, match="ses:ListSuppressedDestinations"):
            Suppressed(ledger, Settings(account_suppressions=True))(["ann@example.com"] * 9)
        with pytest.raises(NeverLeft, match="ses:GetSuppressedDestination"):
            Suppressed(ledger, Settings(account_suppressions=True))(["ann@example.com"])


class TestWhoWasErased:
    KEY = "0123456789abcdef0123456789abcdef"

    @pytest.fixture
    def erased(self, ledger: MemoryLedger) -> MemoryLedger:
        keys = Pseudonyms(self.KEY.encode())
        erase_person(ledger, find_person(ledger, "ann@example.com", keys), keys, by="support", reason="asked to")
        return ledger

    def test_is_still_not_mailed(self, erased: MemoryLedger, connect: Any) -> None:
        connect("erasure_key", conn_type="generic", password=self.KEY)
        suppressed = Suppressed(erased, Settings(erasure_conn_id="erasure_key"))
        assert suppressed(["Ann@example.com", "bob@example.com"]) == {
            "ann@example.com": "hard bounce (since 2026-10-02, event Bounce)"
        }
        assert suppressed([]) == {}

    @pytest.mark.parametrize("key", ["", "f" * 32])
    def test_stops_everybody_where_nobody_could_tell_who_it_is(
        self, erased: MemoryLedger, connect: Any, key: str
    ) -> None:
        connect("erasure_key", conn_type="generic", password=key)
        settings = Settings(erasure_conn_id="erasure_key" if key else "")
        with pytest.raises(InvalidInput, match="erasure_conn_id"):
            Suppressed(erased, settings)(["bob@example.com"])

    def test_is_forgotten_once_somebody_says_that_the_key_is_gone(self, erased: MemoryLedger) -> None:
        erased.suppressions.lift(KEY_CHECK, by="support", reason="the key is gone")
        assert Suppressed(erased, Settings())(["ann@example.com"]) == {}
