"""The page "Mail ledger", as people use it: in Airflow's own interface, in a real browser."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from sandbox.airflow_api import AirflowApi
from sandbox.stack import MONTHLY, Sandbox
from tests.browser.checks import faults, tabbed_to
from tests.browser.mailed import ADDRESSES, FORMULA, HELD, ORDINARY, REFUSED, REJECTED, Mailed, row
from tests.browser.places import IN_AIRFLOW, delivery_of, framed, month_of, run_of

pytestmark = [pytest.mark.airflow, pytest.mark.browser]

Visit = Callable[..., Page]
Picture = Callable[..., None]


def deliveries(inside: FrameLocator | Page) -> list[str]:
    """The recipients that the table of deliveries names."""
    return [text.strip() for text in inside.locator("#deliveries tbody th").all_inner_texts()]


def moment(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}"


def test_who_got_it_when_and_as_which_message_takes_three_clicks(
    visit: Visit, stack: Sandbox, mailed: Mailed, picture: Picture
) -> None:
    customer = ORDINARY[0]
    (mail,) = [each for each in stack.ses.mails_to(ADDRESSES[customer]) if each.tags["mailonce_period"] == mailed.month]
    page = visit("viewer")
    page.goto("/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Mail ledger").click()
    page_inside = framed(page)
    expect(page_inside.get_by_role("heading", level=1)).to_have_text("Months")
    picture(page, "ledger-months", height=640)

    page_inside.get_by_label("Recipient id, address or key").fill(customer)
    page_inside.get_by_role("button", name="Find").click()
    found = page_inside.get_by_role("row").filter(has_text=mailed.month)
    expect(found).to_contain_text(mail.message_id)
    expect(found).to_contain_text(moment(row(stack, customer, mailed.month)["sent_at"]))
    found.get_by_role("link", name=customer).click()
    expect(page_inside.get_by_role("heading", level=1)).to_contain_text(f"{customer} monthly_usage, {mailed.month}")
    time_line = page_inside.locator("ol.time li")
    expect(time_line.filter(has_text=mail.message_id).first).to_be_visible()
    expect(time_line.first).to_contain_text(f"{MONTHLY} {mailed.run} deliver")
    picture(page, "ledger-delivery", height=700)

    page_inside.get_by_role("link", name="Show the mail").click()
    expect(page_inside.get_by_text("the mail as it was sent")).to_be_visible()
    expect(page_inside.frame_locator("iframe.mail").locator("body")).to_contain_text("Tidewater Cloud")


def test_an_address_is_found_and_stands_in_no_address_of_the_page(visit: Visit, mailed: Mailed) -> None:
    page = visit("viewer")
    page.goto("/mailonce/")
    page.get_by_label("Recipient id, address or key").fill(ADDRESSES["CUST-0002"])
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("link", name="CUST-0002")).to_have_count(2)
    assert "@" not in page.url
    assert "%40" not in page.url


def test_from_the_months_to_those_who_are_held(visit: Visit, mailed: Mailed, picture: Picture) -> None:
    page = visit()
    page.goto(IN_AIRFLOW)
    inside = framed(page)
    inside.get_by_role("link", name=mailed.month, exact=True).click()
    expect(inside.get_by_role("heading", level=1)).to_contain_text(mailed.month)
    assert deliveries(inside) == sorted([*ORDINARY, *REJECTED, *HELD])
    funnel = inside.locator("table.funnel")
    for line, figure in (("Planned", 12), ("Accepted", 6), ("Delivered", 4), ("Bounced", 1), ("Complained", 1),
                         ("Rejected", 2), ("Held", 4), ("Not yet", 0)):  # fmt: skip
        expect(funnel.get_by_role("row", name=re.compile(rf"^{line} {figure} "))).to_be_visible()
    picture(page, "ledger-month", height=1000)

    funnel.get_by_role("link", name="Held").click()
    expect(inside.get_by_role("combobox", name="Show")).to_have_value("held")
    assert deliveries(inside) == list(HELD)
    inside.get_by_label("Look for", exact=True).fill("CUST-007")
    inside.locator("form.filter button").click()
    expect(inside.locator("#deliveries tbody th")).to_have_text(["CUST-0072"])
    expect(inside.get_by_role("combobox", name="Show")).to_have_value("held")
    inside.get_by_role("link", name="CUST-0072").click()
    expect(inside.locator(".standing")).to_contain_text("Held: in doubt")
    picture(page, "ledger-held", height=920)


def test_who_did_not_get_it_as_csv(visit: Visit, stack: Sandbox, mailed: Mailed) -> None:
    page = visit("viewer")

    def lines(period: str) -> list[dict[str, str]]:
        page.goto(IN_AIRFLOW + month_of(mailed, period))
        with page.expect_download() as download:
            framed(page).get_by_role("link", name="as CSV").click()
        assert download.value.suggested_filename == f"not-delivered-monthly-usage-{period}.csv"
        with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    told = {line["recipient_id"]: line for line in lines(mailed.month) if line["state"] != "invalid"}
    assert sorted(told) == sorted([*HELD, *REJECTED, "CUST-0006"])
    assert "503" in told[HELD[0]]["why"]
    assert "does not say whether it took the mail" in told[HELD[0]]["why"]
    assert told[REJECTED[0]]["email"] == ADDRESSES[REJECTED[0]]
    refused = [line["why"] for line in lines(mailed.month) if line["state"] == "invalid"]
    assert len(refused) == len(REFUSED)
    (formula,) = lines(mailed.earlier)
    assert formula["recipient_id"] == f"'{FORMULA}"


@pytest.mark.parametrize(
    ("customer", "button", "says", "state"),
    [
        (HELD[0], "Release", "this customer gets the statement twice", "RELEASED"),
        (HELD[1], "It was sent", "It is never sent again", "SENT"),
        (HELD[2], "Cancel", "It may have gone out already", "CANCELLED"),
    ],
    ids=["release", "mark as sent", "cancel"],
)
def test_a_person_decides_about_a_held_mail(
    visit: Visit, stack: Sandbox, api: AirflowApi, mailed: Mailed, customer: str, button: str, says: str, state: str
) -> None:
    page = visit("support")
    page.goto(IN_AIRFLOW + delivery_of(stack, customer, mailed.month))
    inside = framed(page)
    inside.get_by_role("link", name=f"{button} …").click()
    expect(inside.get_by_role("heading", level=1)).to_have_text(f"{button}?")
    expect(inside.locator("main")).to_contain_text(says)
    confirm = inside.get_by_role("button", name=button)

    confirm.click()
    assert inside.get_by_label("Reason").evaluate("field => field.validity.valueMissing")
    inside.get_by_label("Reason").evaluate("field => field.required = false")
    confirm.click()
    expect(inside.get_by_role("alert")).to_contain_text("A reason is needed")
    assert row(stack, customer, mailed.month)["state"] == "IN_DOUBT"

    reason = "seen in the provider's log <script>document.title='pwned'</script>"
    inside.get_by_label("Reason").fill(reason)
    confirm.click()
    expect(inside.get_by_role("status").first).to_contain_text("Done.")
    expect(inside.locator("ol.time li").filter(has_text=reason)).to_contain_text("support")
    now = row(stack, customer, mailed.month)
    assert now["state"] == state
    assert (now["decided_by"], now["decision_reason"]) == ("support", reason)

    if state == "RELEASED":
        inside.get_by_role("button", name=f"Trigger {MONTHLY} for {customer}").click()
        expect(inside.locator("#again-outcome")).to_contain_text("Triggered: run ")
        started = re.search(r"run (\S+)\.", inside.locator("#again-outcome").inner_text())
        assert started
        assert api.run(MONTHLY, started[1])["conf"] | {"edition": ""} == {
            "period": mailed.month, "recipients": [customer], "edition": "",
        }  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_suits_screen_readers_phones_and_both_modes(
    visit: Visit, stack: Sandbox, mailed: Mailed, picture: Picture, scheme: str, width: int
) -> None:
    held, sent = delivery_of(stack, HELD[3], mailed.month), delivery_of(stack, ORDINARY[0], mailed.month)
    page = visit(width=width, height=844 if width == 390 else 900, color_scheme=scheme)
    found = {}
    for path in ("/mailonce/", month_of(mailed), f"{month_of(mailed)}?show=held", f"{month_of(mailed)}?q=nobody",
                 held, f"{held}/decide/release", sent, f"{sent}/mail", "/mailonce/search?q=CUST-0001",
                 "/mailonce/search?q=nobody", "/mailonce/nothing"):  # fmt: skip
        page.goto(path)
        found[path] = faults(page)
    assert {path: some for path, some in found.items() if some} == {}
    if (scheme, width) == ("light", 390):
        page.goto(month_of(mailed))
        picture(page, "ledger-month-phone")
    if (scheme, width) == ("dark", 1280):
        page.goto(IN_AIRFLOW + month_of(mailed))
        expect(framed(page).get_by_role("heading", level=1)).to_contain_text(mailed.month)
        picture(page, "ledger-month-dark", height=1000)


def test_a_keyboard_is_enough(visit: Visit, stack: Sandbox, mailed: Mailed) -> None:
    page = visit()
    page.goto(month_of(mailed))
    way = tabbed_to(page, "CUST-0001")
    assert way[:4] == ["Skip to the content", "Mail ledger", "find", "Find"]
    assert way.index("Who did not get it, as CSV") < way.index("Held") < way.index("show") < way.index("q")

    page.goto("/mailonce/")
    tabbed_to(page, "find")
    page.keyboard.type(HELD[3])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Found for {HELD[3]}")
    tabbed_to(page, HELD[3])
    page.keyboard.press("Enter")
    expect(page.locator(".standing")).to_be_visible()
    tabbed_to(page, "Cancel …")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel?")
    assert tabbed_to(page, "Cancel")[-2] == "reason"
    tabbed_to(page, "Leave it as it is")
    page.keyboard.press("Enter")
    expect(page.locator(".standing")).to_contain_text("Held: in doubt")


def test_a_run_and_a_task_lead_to_the_ledger(visit: Visit, api: AirflowApi, mailed: Mailed, picture: Picture) -> None:
    page = visit("viewer", width=1500)
    page.goto(f"{run_of(mailed.run)}/tasks/deliver/mapped")
    expect(page.get_by_text("CUST-0029").first).to_be_visible()
    picture(page, "run")
    page.goto(run_of(mailed.run))
    page.locator("a[href$='/plugin/mail-ledger-of-run']").click()
    expect(framed(page).get_by_role("heading", level=1)).to_contain_text(mailed.month)

    tasks = api.task_instances(MONTHLY, mailed.run)
    index = next(task.map_index for task in tasks if task.rendered_map_index == "CUST-0003")
    page.goto(f"{run_of(mailed.run)}/tasks/deliver/mapped/{index}/details")
    page.get_by_role("link", name="Mail ledger", exact=True).click()
    expect(framed(page).locator("#deliveries tbody th")).to_have_text(["CUST-0003"])
