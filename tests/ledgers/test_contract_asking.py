"""What every ledger must do when a mail in doubt is taken over by somebody who asks the provider about it once more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from mailonce.delivery import Conclusion, Takeover
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from mailonce.tokens import idempotency_key
from tests.fakes import make_claim, make_delivery
from tests.ledgers.conftest import MakeLedger
from tests.ledgers.tools import REJECTED, RELEASED, SENT, at_once, drive, gist, look, states_told


def test_a_mail_in_doubt_goes_by_its_successors_token_and_says_who_asks(ledger: Ledger) -> None:
    claim = drive(ledger, State.IN_DOUBT, "C-1")
    before = look(ledger, claim)
    takeover = Takeover(token=claim.token, by="run 2")
    entry = ledger.take_over(claim.delivery.key, takeover)
    assert entry
    assert (entry.state, entry.token, entry.claimed_at) == (State.IN_DOUBT, takeover.successor, before.claimed_at)
    assert (entry.deadline_at, entry.settled_at, entry.error) == (before.deadline_at, before.settled_at, before.error)
    assert states_told(entry)[-1] == ("IN_DOUBT", "run 2", takeover.note)
    assert idempotency_key(takeover.successor) == idempotency_key(claim.token)
    assert gist(look(ledger, claim)) == gist(entry)


def test_a_takeover_whose_answer_was_lost_recognises_itself(ledger: Ledger) -> None:
    claim = drive(ledger, State.IN_DOUBT, "C-1")
    takeover = Takeover(token=claim.token, by="run 2")
    first = ledger.take_over(claim.delivery.key, takeover)
    assert gist(ledger.take_over(claim.delivery.key, takeover)) == gist(first)


@pytest.mark.parametrize("late", [RELEASED, REJECTED, SENT])
def test_the_former_owner_changes_nothing_any_more(ledger: Ledger, late: Conclusion) -> None:
    claim = drive(ledger, State.IN_DOUBT, "C-1")
    takeover = Takeover(token=claim.token, by="run 2")
    ledger.take_over(claim.delivery.key, takeover)
    entry = ledger.conclude(claim.delivery.key, claim.token, late)
    assert entry
    assert (entry.state, entry.token) == (State.IN_DOUBT, takeover.successor)
    ended = ledger.conclude(claim.delivery.key, takeover.successor, SENT)
    assert ended
    assert (ended.state, ended.message_id) == (State.SENT, "m-1")


@pytest.mark.parametrize("state", [each for each in State if each is not State.IN_DOUBT])
def test_only_a_doubt_is_taken_over(ledger: Ledger, state: State) -> None:
    claim = drive(ledger, state, "C-1")
    before = look(ledger, claim)
    assert gist(ledger.take_over(claim.delivery.key, Takeover(token=claim.token, by="run 2"))) == gist(before)


def test_neither_a_strangers_claim_nor_none_is_taken_over(ledger: Ledger) -> None:
    claim = drive(ledger, State.IN_DOUBT, "C-1")
    stranger = Takeover(token=make_claim(make_delivery()).token, by="run 2")
    assert gist(ledger.take_over(claim.delivery.key, stranger)) == gist(look(ledger, claim))
    unknown = replace(stranger, successor="")
    assert ledger.take_over(make_delivery("nobody").key, unknown) is None


def test_of_many_who_want_to_ask_one_may(make_ledger: MakeLedger) -> None:
    ledgers = [make_ledger() for _ in range(4)]
    with ThreadPoolExecutor(len(ledgers)) as pool:
        for number in range(5):
            claim = drive(ledgers[0], State.IN_DOUBT, f"C-{number}")
            wishes = [Takeover(token=claim.token, by=f"run {each}") for each in range(len(ledgers))]
            key = claim.delivery.key
            works = [partial(each.take_over, key, wish) for each, wish in zip(ledgers, wishes, strict=True)]
            tokens = {entry.token for entry in at_once(pool, works) if entry}
            assert len(tokens) == 1
            assert tokens <= {wish.successor for wish in wishes}
