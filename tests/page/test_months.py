"""The months, one month's funnel, and its deliveries a page at a time."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from mailonce.browsing import PAGE
from mailonce.events import Fate
from mailonce.page import searching
from mailonce.states import State
from tests.page.conftest import NASTY, Put, row_of, words

MONTH = "/months/usage/2030-01"


def figures(html: str) -> dict[str, str]:
    """Read the funnel's table: each line's name and figure."""
    table = html.partition('class="funnel"')[2].partition("</table>")[0].partition("<tbody>")[2]
    rows = [words("<main>" + row).split("  ")[0].split() for row in table.split("<tr>")[1:]]
    return {
        " ".join(word for word in row if word[0].isalpha()): next(w for w in row if not w[0].isalpha()) for row in rows
    }


def test_without_any_mail_the_page_says_so(ann: TestClient) -> None:
    assert "No mail was planned or sent yet" in ann.get("/").text
    assert "Nothing was planned or sent for this month" in ann.get(MONTH).text
    assert "What are you looking for?" in ann.get("/search").text
    assert "Nothing found" in ann.get("/search", params={"q": "C-9"}).text


def test_a_month_that_was_only_planned_is_listed(ann: TestClient, plan: Any) -> None:
    plan(row_of("C-1"), row_of("C-2"))
    assert "2030-01 usage 2 0 0 0 0 0 0 2" in words(ann.get("/").text)
    page = ann.get(MONTH).text
    assert "Nobody was mailed yet" in page
    assert figures(page)["Not yet"] == "2"


def test_the_funnel(ann: TestClient, put: Put, plan: Any) -> None:
    plan(*(row_of(f"C-{number}") for number in range(9)), row_of("C-10", email="nobody"))
    put("C-0", fate=Fate.DELIVERED)
    put("C-1", fate=Fate.BOUNCED)
    put("C-2", fate=Fate.COMPLAINED)
    put("C-3", State.REJECTED)
    put("C-4", State.IN_DOUBT)
    put("C-5", State.RELEASED)
    assert "2030-01 usage 9 3 1 1 1 1 1 3" in words(ann.get("/").text)
    page = ann.get(MONTH).text
    assert figures(page) == {
        "Planned": "9", "Accepted": "3", "Delivered": "1", "Bounced": "1", "Complained": "1", "Rejected": "1",
        "Held": "1", "Free to be sent": "1", "Not yet": "3",
    }  # fmt: skip
    assert "1 row was refused or suppressed" in words(page)


def test_what_nobody_planned_makes_no_figure_negative(ann: TestClient, put: Put, plan: Any) -> None:
    plan(row_of("C-1"))
    for number in range(5):
        put(f"D-{number}")
    assert figures(ann.get(MONTH).text)["Not yet"] == "0"


def test_without_a_snapshot_planned_is_unknown_and_not_nought(ann: TestClient, put: Put) -> None:
    put("C-1")
    page = ann.get(MONTH).text
    assert figures(page)["Planned"] == figures(page)["Not yet"] == "\u2013"
    assert "No snapshot of this month can be read" in page


def test_a_run_for_some_does_not_hide_the_plan_for_all(ann: TestClient, plan: Any) -> None:
    plan(*(row_of(f"C-{number}") for number in range(7)))
    plan(*(row_of(f"C-{number}") for number in range(7)), only=("C-3",))
    page = ann.get(MONTH).text
    assert figures(page)["Planned"] == "7"
    assert "1 more run planned this month" in words(page)


def test_the_list_reads_no_rows_of_a_snapshot(ann: TestClient, plan: Any, tmp_path: Any) -> None:
    snapshot = plan(row_of("C-1"))
    (tmp_path / snapshot.uri.removeprefix(f"file://{tmp_path}/") / "rows.jsonl").unlink()
    assert "2030-01 usage 1" in words(ann.get("/").text)


def test_a_damaged_snapshot_is_left_out(ann: TestClient, plan: Any, put: Put, tmp_path: Any) -> None:
    snapshot = plan(row_of("C-1"))
    (tmp_path / snapshot.uri.removeprefix(f"file://{tmp_path}/") / "manifest.json").write_text("{")
    put("C-1")
    assert "\u2013" in words(ann.get("/").text)
    plan(row_of("C-1"))
    assert "2030-01 usage 1 1" in words(ann.get("/").text), "once it is whole it counts"


@pytest.mark.parametrize("address", ["/months/*/*", "/months/%2e%2e/2030-01", "/months/a%2Fb/x"])
def test_an_address_is_no_pattern_and_no_path(ann: TestClient, plan: Any, address: str) -> None:
    plan(row_of("C-1"))
    answer = ann.get(address)
    assert answer.status_code == 404 or figures(answer.text) == {}


def test_filters(ann: TestClient, put: Put) -> None:
    put("C-1", fate=Fate.DELIVERED)
    put("C-2", State.IN_DOUBT)
    put("C-3", State.REJECTED)

    def shown(**asked: str) -> set[str]:
        text = words(ann.get(MONTH, params=asked).text).partition("Deliveries")[2]
        return {name for name in ("C-1", "C-2", "C-3") if name in text}

    assert shown() == {"C-1", "C-2", "C-3"}
    assert shown(show="held") == {"C-2"}
    assert shown(show="delivered") == {"C-1"}
    assert shown(show="rejected", q="C-") == {"C-3"}
    assert ann.get(MONTH, params={"show": "nothing"}).status_code == 404


def test_search_by_prefix_address_key_and_message_id(ann: TestClient, put: Put) -> None:
    entry = put("C-1", email="ann@example.org")
    put("C-2")
    other = put("C-1", period="2030-02", email="ann@example.org")

    def found(q: str, by: str = "") -> str:
        return ann.get(MONTH, params={"q": q, "by": by}).text

    for q, by in [("C-1", ""), ("ann@example.org", ""), (entry.key, ""), ("m-C-1", "message"), ("C-", "recipient")]:
        assert f"/deliveries/{entry.key}" in found(q, by), q
        assert f"/deliveries/{other.key}" not in found(q, by), q
    assert "/deliveries/" not in found("-1")
    assert "/deliveries/" not in found("m-C-9", "message")
    assert "/deliveries/" not in found("\x00", "key")


def test_a_message_id_is_not_looked_for_for_ever(ann: TestClient, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("C-1")
    monkeypatch.setattr(searching, "PATIENCE", -1.0)
    assert "given up" in ann.get(MONTH, params={"q": "m-9", "by": "message"}).text


def test_a_customer_s_mails_of_all_months(ann: TestClient, put: Put) -> None:
    keys = {put("C-1", period=period, email="ann@example.org").key for period in ("2030-01", "2030-02")}
    for q in ("C-1", "ann@example.org"):
        found = ann.get("/search", params={"q": q}).text
        assert all(key in found for key in keys)
    assert keys.copy().pop() in ann.get("/search", params={"q": keys.copy().pop()}).text
    assert "within a month" in ann.get("/search", params={"q": "m", "by": "message"}).text


def test_pages_show_everybody_once(ann: TestClient, put: Put) -> None:
    for number in range(PAGE * 2 + 3):
        put(f"C-{number:03}")
    seen: list[str] = []
    address = MONTH
    for _ in range(3):
        page = ann.get(address).text
        seen += [part.partition("<")[0] for part in page.split('<th scope="row"><a href="/deliveries/')[1:]]
        following = page.partition('rel="next" href="')[2].partition('"')[0]
        address = following.replace("&amp;", "&").partition("#")[0]
    assert len(seen) == len(set(seen)) == PAGE * 2 + 3
    assert not following
    assert "This is the last page" in page


def test_a_made_up_page_is_refused_plainly(ann: TestClient, put: Put) -> None:
    put("C-1")
    answer = ann.get(MONTH, params={"after": "made up"})
    assert answer.status_code == 400
    assert "Begin with the first page" in answer.text


def test_editions_are_told_apart(ann: TestClient, put: Put) -> None:
    put("C-1")
    put("C-1", edition="corrected")
    page = words(ann.get(MONTH).text)
    assert "edition original" in page
    assert "edition corrected" in page
    one = ann.get(MONTH, params={"edition": "corrected"}).text
    assert one.count('class="funnel"') == 1


def test_nothing_that_a_customer_is_called_becomes_markup(ann: TestClient, put: Put, settings: Any) -> None:
    entry = put(f"C{NASTY}", State.IN_DOUBT, email=f"{NASTY}@example.org", error=NASTY)
    for address in (
        "/", MONTH, f"/deliveries/{entry.key}", f"/deliveries/{entry.key}/decide/release", f"/deliveries/{entry.key}/mail",
        f"/search?q={NASTY}", f"{MONTH}?q={NASTY}&by={NASTY}", f"{MONTH}?q={NASTY}", f"{MONTH}?show={NASTY}",
f"/months/{NASTY}/x", f"{MONTH}?edition={NASTY}", f"/months/usage/{NASTY}",
    ):  # fmt: skip
        assert NASTY not in ann.get(address).text, address
        assert "alert(1)</script" not in ann.get(address).text, address


def test_a_ledger_that_is_away_is_said_plainly(ann: TestClient, ledger: Any) -> None:
    ledger.fail_next = "before"
    answer = ann.get("/")
    assert answer.status_code == 503
    assert "The ledger does not answer" in answer.text
