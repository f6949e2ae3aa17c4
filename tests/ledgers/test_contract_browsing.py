"""How every ledger is looked through: what is found, in which order, a page at a time, and nothing of it twice."""

from __future__ import annotations

import base64
import itertools
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailonce.browsing import MonthTotals, Page, Search
from mailonce.delivery import Claim, Conclusion, Entry, Timing
from mailonce.errors import InvalidInput
from mailonce.events import EventKind, Fate
from mailonce.ledgers.base import Ledger
from mailonce.states import State
from mailonce.suppression import Suppression
from tests.fakes import make_claim, make_delivery
from tests.ledgers.tools import (
    FORGOTTEN_AT_ONCE,
    IN_DOUBT,
    REJECTED,
    RELEASED,
    SENT,
    SETTLED_AT_ONCE,
    decision,
    gist,
    make_event,
)

FATES = {
    Fate.DELAYED: EventKind.DELIVERY_DELAY, Fate.DELIVERED: EventKind.DELIVERY, Fate.BOUNCED: EventKind.BOUNCE,
    Fate.DROPPED: EventKind.REJECT, Fate.COMPLAINED: EventKind.COMPLAINT,
}  # fmt: skip
ENDS: dict[State, Conclusion] = {
    State.SENT: SENT, State.RELEASED: RELEASED, State.REJECTED: REJECTED, State.IN_DOUBT: IN_DOUBT,
    State.CANCELLED: IN_DOUBT,
}  # fmt: skip
HERE = Search(campaign="usage", period="2030-01")


@dataclass(frozen=True)
class Row:
    """A row to be made. A fate belongs to a mail that was sent."""

    recipient_id: str
    state: State = State.SENT
    fate: Fate | None = None
    edition: str = "original"
    period: str = "2030-01"
    campaign: str = "usage"

    def put(self, ledger: Ledger, timing: Timing = SETTLED_AT_ONCE) -> Claim:
        delivery = make_delivery(
            self.recipient_id, edition=self.edition, period=self.period, campaign=self.campaign, email="a@example.org"
        )
        claim = make_claim(delivery, timing=timing)
        ledger.claim(claim)
        if self.state in ENDS:
            ledger.conclude(delivery.key, claim.token, ENDS[self.state])
        if self.state is State.CANCELLED:
            ledger.decide(delivery.key, decision(State.CANCELLED))
        if self.fate:
            ledger.observe(make_event(claim, FATES[self.fate]))
        return claim

    def fits(self, search: Search) -> bool:
        return (
            (self.campaign, self.period) == (search.campaign, search.period)
            and search.edition in ("", self.edition)
            and (not search.states or self.state in search.states)
            and (not search.fates or self.fate in search.fates)
            and self.recipient_id.startswith(search.recipient_id)
        )

    @property
    def place(self) -> tuple[str, str]:
        told = make_delivery(
            self.recipient_id, edition=self.edition, period=self.period, campaign=self.campaign, email="a@example.org"
        )
        return self.recipient_id, told.key


def pages(ledger: Ledger, search: Search, limit: int) -> Iterator[Page]:
    after = ""
    for number in itertools.count():
        assert number < 1000, "it has an end"
        page = ledger.browser.search(search, after=after, limit=limit)
        assert len(page.entries) <= limit
        yield page
        if not (after := page.after):
            return


def places(ledger: Ledger, search: Search, limit: int = 50) -> list[tuple[str, str]]:
    return [(entry.identity.recipient_id, entry.key) for page in pages(ledger, search, limit) for entry in page.entries]


def ids(ledger: Ledger, search: Search, limit: int = 50) -> list[str]:
    return [recipient_id for recipient_id, _ in places(ledger, search, limit)]


IDS = st.one_of(
    # Near neighbours, upper and lower case, what LIKE takes for more than itself, and what collations sort otherwise.
    st.text(alphabet="aAbZ_%\\- .é~'\"", min_size=1, max_size=4),
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4),
    st.sampled_from(["C-1", "C-10", "C-2", "\U0010ffff", "\U0010ffffa", "\ud7ff", "\ue000", "c%", "c_", "cx"]),
)
ROWS = st.builds(
    Row,
    recipient_id=IDS,
    state=st.sampled_from(State),
    edition=st.sampled_from(["original", "Corrected", "second"]),
    period=st.sampled_from(["2030-01", "2030-01", "2030-01", "2030-02"]),
).flatmap(
    lambda row: (
        st.sampled_from([None, *Fate]).map(lambda fate: Row(**{**vars(row), "fate": fate}))
        if row.state is State.SENT
        else st.just(row)
    )
)


@pytest.fixture
def examples(ledger: Ledger) -> Iterator[str]:
    """Names for campaigns, so that each example has rows of its own in the same table."""
    return iter(lambda: f"c{uuid.uuid4().hex}", "")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_the_pages_of_any_search_hold_exactly_what_fits_once_each_and_in_order(
    ledger: Ledger, examples: Iterator[str], data: st.DataObject
) -> None:
    campaign = next(examples)
    drawn = data.draw(st.lists(ROWS, max_size=12, unique_by=lambda row: (row.recipient_id, row.edition, row.period)))
    rows = [Row(**{**vars(row), "campaign": campaign}) for row in drawn]
    for row in rows:
        row.put(ledger)
    prefixes = ["", *(row.recipient_id[:length] for row in rows for length in (1, 2))]
    for _ in range(6):
        search = Search(
            campaign=campaign,
            period="2030-01",
            edition=data.draw(st.sampled_from(["", "", "original", "Corrected", "third"])),
            states=data.draw(st.frozensets(st.sampled_from(State), max_size=3)),
            fates=data.draw(st.frozensets(st.sampled_from(Fate), max_size=3)),
            recipient_id=data.draw(st.one_of(st.sampled_from(prefixes), IDS)),
        )
        limit = data.draw(st.integers(1, 5))
        assert places(ledger, search, limit) == sorted(row.place for row in rows if row.fits(search))


def test_a_page_says_whether_it_is_the_last(ledger: Ledger) -> None:
    for number in range(4):
        Row(f"C-{number}").put(ledger)
    assert [len(page.entries) for page in pages(ledger, HERE, 2)] == [2, 2]
    assert [len(page.entries) for page in pages(ledger, HERE, 3)] == [3, 1]
    assert ledger.browser.search(HERE).after == ""


def test_what_is_found_is_the_row_as_find_returns_it(ledger: Ledger) -> None:
    claim = Row("C-1", fate=Fate.BOUNCED).put(ledger)
    (expected,) = ledger.find([claim.delivery.key])
    (found,) = ledger.browser.search(HERE).entries
    (of_recipient,) = ledger.browser.of_recipient("C-1")
    assert gist(found) == gist(of_recipient) == gist(expected)


def test_one_recipient_may_have_many_rows_and_a_page_may_end_between_them(ledger: Ledger) -> None:
    for edition in "abcdefg":
        Row("C-1", edition=edition).put(ledger)
    found = places(ledger, HERE, 2)
    assert found == sorted(found)
    assert len(set(found)) == 7


def test_a_row_that_changes_its_state_between_two_pages_is_found_once(ledger: Ledger) -> None:
    claims = [Row(f"C-{number}", State.SENDING).put(ledger) for number in range(6)]
    seen: list[str] = []
    for page, claim in zip(pages(ledger, HERE, 2), (claims[0], claims[5], claims[3]), strict=True):
        seen += [entry.identity.recipient_id for entry in page.entries]
        ledger.conclude(claim.delivery.key, claim.token, SENT)
    assert seen == [f"C-{number}" for number in range(6)]


def test_a_prefix_means_itself(ledger: Ledger) -> None:
    for recipient_id in ("a%c", "abc", "a_c", "A%c", "a\\c", "b"):
        Row(recipient_id).put(ledger)
    assert ids(ledger, Search(campaign="usage", period="2030-01", recipient_id="a%")) == ["a%c"]
    assert ids(ledger, Search(campaign="usage", period="2030-01", recipient_id="a_")) == ["a_c"]
    assert ids(ledger, Search(campaign="usage", period="2030-01", recipient_id="a\\")) == ["a\\c"]
    assert ids(ledger, Search(campaign="usage", period="2030-01", recipient_id="a")) == ["a%c", "a\\c", "a_c", "abc"]


@pytest.mark.parametrize("text", ["\0", "C\0", "\ud800", "' OR true --", "*", "C-1#0"])
def test_texts_that_nobody_has_find_nothing(ledger: Ledger, text: str) -> None:
    Row("C-1").put(ledger)
    for part in ("campaign", "period", "edition", "recipient_id"):
        assert ledger.browser.search(Search(**{**vars(HERE), part: text})) == Page(entries=())
    assert list(ledger.browser.totals(text, "2030-01")) == []
    assert list(ledger.browser.totals("usage", text)) == []
    assert list(ledger.browser.of_recipient(text)) == []


def spoilt(after: str) -> Iterator[str]:
    """Yield what is no place, though some of it is nearly one."""
    recipient_id, key = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
    yield from ("x", "0", "!", "é", "\0", "' OR 1=1 --", after + "=", f"{after}A", after[:-1], f" {after}", "[" * 5000)
    for told in (
        [], [recipient_id], [recipient_id, key, ""], {"recipient_id": "C-1"}, 1, None, [1, key], [recipient_id, 1],
        [None, key], ["", key], ["x" * 257, key], ["\0", key], [recipient_id, key.upper()], [recipient_id, key[:-1]],
        [recipient_id, ""], [recipient_id, "' OR 1=1 --"], [recipient_id, f"{key}\n"],
    ):  # fmt: skip
        yield base64.urlsafe_b64encode(json.dumps(told, separators=(",", ":")).encode()).decode().rstrip("=")


def test_where_a_page_begins_is_believed_only_if_a_page_could_have_told_it(ledger: Ledger) -> None:
    for number in range(2):
        Row(f"C-{number}?ü").put(ledger)
    after = ledger.browser.search(HERE, limit=1).after
    assert re.fullmatch(r"[A-Za-z0-9_-]+", after), "it can stand in a URL"
    for wrong in spoilt(after):
        with pytest.raises(InvalidInput) as caught:
            ledger.browser.search(HERE, after=wrong)
        assert caught.value.field == "after"


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_has_rows(ledger: Ledger, limit: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        ledger.browser.search(HERE, limit=limit)
    assert caught.value.field == "limit"


def counted(totals: MonthTotals) -> tuple[str, str, str, dict[State, int], dict[Fate, int]]:
    return totals.campaign, totals.period, totals.edition, dict(totals.states), dict(totals.fates)


def test_months_are_counted_the_newest_first(ledger: Ledger) -> None:
    rows = [
        *(Row(f"C-{state.value}", state) for state in State),
        *(Row(f"C-{fate.value}", fate=fate) for fate in Fate),
        Row("C-2", fate=Fate.BOUNCED),
        Row("C-1", State.REJECTED, edition="corrected"),
        Row("C-1", period="2029-12"),
        Row("C-1", period="2030-02"),
        Row("C-1", period="2030-01", campaign="Invoices"),
    ]
    before = datetime.now(timezone.utc)
    for row in rows:
        row.put(ledger)
    months = ledger.browser.months()
    assert [(month.period, month.campaign, month.edition) for month in months] == [
        ("2030-02", "usage", "original"),
        ("2030-01", "Invoices", "original"),
        ("2030-01", "usage", "corrected"),
        ("2030-01", "usage", "original"),
        ("2029-12", "usage", "original"),
    ]
    for month in months:
        same = [
            row
            for row in rows
            if (row.campaign, row.period, row.edition) == (month.campaign, month.period, month.edition)
        ]
        assert dict(month.states) == Counter(row.state for row in same)
        assert dict(month.fates) == Counter(row.fate for row in same if row.fate)
        assert month.changed_at is None or abs(month.changed_at - before) < timedelta(minutes=5)
    assert [counted(each) for each in ledger.browser.totals("usage", "2030-01")] == [
        counted(each) for each in months[2:4]
    ]
    assert list(ledger.browser.totals("usage", "1999-12")) == []


def test_an_empty_ledger_has_nothing(ledger: Ledger) -> None:
    assert list(ledger.browser.months()) == []
    assert ledger.browser.search(HERE) == Page(entries=())
    assert list(ledger.browser.of_recipient("C-1")) == []


def test_all_of_one_recipient_the_newest_month_first(ledger: Ledger) -> None:
    for period in ("2030-01", "2031-02", "2029-12"):
        Row("C-1", period=period).put(ledger)
        Row("C-10", period=period).put(ledger)
    Row("C-1", edition="corrected").put(ledger)
    Row("C-1", State.REJECTED, campaign="invoices").put(ledger)

    def told(entry: Entry) -> tuple[str, str, str, State]:
        return entry.identity.period, entry.identity.campaign, entry.identity.edition, entry.state

    assert [told(entry) for entry in ledger.browser.of_recipient("C-1")] == [
        ("2031-02", "usage", "original", State.SENT),
        ("2030-01", "invoices", "original", State.REJECTED),
        ("2030-01", "usage", "corrected", State.SENT),
        ("2030-01", "usage", "original", State.SENT),
        ("2029-12", "usage", "original", State.SENT),
    ]
    assert list(ledger.browser.of_recipient("c-1")) == []


def test_expired_rows_are_left_out(ledger: Ledger) -> None:
    Row("C-1").put(ledger, FORGOTTEN_AT_ONCE)
    Row("C-2", State.REJECTED).put(ledger, FORGOTTEN_AT_ONCE)
    assert list(ledger.browser.months()) == []
    assert list(ledger.browser.totals("usage", "2030-01")) == []
    assert ledger.browser.search(HERE) == Page(entries=())
    assert list(ledger.browser.of_recipient("C-1")) == []
    Row("C-3").put(ledger)
    assert ids(ledger, HERE, 1) == ["C-3"]
    assert [dict(month.states) for month in ledger.browser.months()] == [{State.SENT: 1}]


def test_what_is_beside_the_deliveries_is_no_month(ledger: Ledger) -> None:
    now = datetime.now(timezone.utc)
    ledger.suppressions.add(Suppression(address="a@example.org", reason="bounce", since=now, by="event"))
    ledger.epoch.advance()
    ledger.rate.limit("account", 10)
    assert list(ledger.browser.months()) == []
    assert list(ledger.browser.of_recipient("a@example.org")) == []
