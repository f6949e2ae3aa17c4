"""Names that are scripts, forms that were stolen, and somebody who may only look."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect

from sandbox.stack import Sandbox
from tests.browser.checks import complains, faults
from tests.browser.mailed import HELD, SCRIPT, Mailed, row
from tests.browser.places import IN_AIRFLOW, delivery_of, framed, month_of

pytestmark = [pytest.mark.airflow, pytest.mark.browser]

Visit = Callable[..., Page]

SEND = """async ([address, form]) => {
  const answer = await fetch(address, { method: "POST", body: new URLSearchParams(form) });
  return [answer.status, await answer.text()];
}"""


def test_a_viewer_sees_but_cannot_act_and_a_stolen_form_is_worth_nothing(
    visit: Visit, stack: Sandbox, mailed: Mailed
) -> None:
    address = delivery_of(stack, HELD[3], mailed.month)
    support = visit("support")
    support.goto(f"{address}/decide/cancel")
    form = {each: support.input_value(f"input[name={each}]") for each in ("token", "version")} | {"reason": "stolen"}
    (browsers,) = [cookie["value"] for cookie in support.context.cookies() if cookie.get("name") == "mailonce_page"]

    for thief in ("viewer", "admin"):
        page = visit(thief)
        page.goto(address)
        expect(page.locator(".standing")).to_contain_text("Held: in doubt")
        if thief == "viewer":
            expect(page.locator("main form, main button, main a[href*=decide]")).to_have_count(0)
            expect(page.locator("main")).to_contain_text("Somebody who may change the runs")
            answer = page.goto(f"{address}/decide/cancel")
            assert answer
            assert answer.status == 403
        page.context.add_cookies(
            [{"name": "mailonce_page", "value": browsers, "url": f"{stack.airflow.url}/mailonce/"}]
        )
        status, text = page.evaluate(SEND, [f"{address}/decide/cancel", form])
        assert status == 403
        assert "made for somebody else" in text
        assert row(stack, HELD[3], mailed.month)["state"] == "IN_DOUBT"


def test_a_script_for_a_name_never_runs(visit: Visit, stack: Sandbox, mailed: Mailed) -> None:
    address = delivery_of(stack, SCRIPT, mailed.earlier)
    page = visit()
    for path in (
        month_of(mailed, mailed.earlier), f"/mailonce/search?q={quote(SCRIPT)}", address, f"{address}/mail",
        f"{month_of(mailed, mailed.earlier)}?q={quote(SCRIPT)}&by=recipient",
    ):  # fmt: skip
        page.goto(path, wait_until="load")
        expect(page.locator("main")).to_contain_text(SCRIPT)
        assert page.title().endswith(" · Mail ledger")
        assert faults(page) == []
    page.goto(f"{address}/mail")
    expect(page.frame_locator("iframe.mail").locator("body")).to_contain_text(SCRIPT)
    page.goto(IN_AIRFLOW + address)
    expect(framed(page).get_by_role("heading", level=1)).to_contain_text(SCRIPT)
    assert page.title() != "pwned"


def test_what_escaping_had_missed_the_content_policy_would_stop(
    browser: Browser, signed_in: Callable[[str], Any], stack: Sandbox, mailed: Mailed
) -> None:
    address = delivery_of(stack, SCRIPT, mailed.earlier)

    def unescaped(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=html.unescape(answer.text()))

    told: list[ConsoleMessage] = []

    def tell(message: ConsoleMessage) -> None:
        told.append(message)

    with browser.new_context(base_url=stack.airflow.url, storage_state=signed_in("support")) as context:
        page = context.new_page()
        page.on("console", tell)
        page.route(f"**{address}", unescaped)
        page.goto(address)
        expect(page.locator("main script").first).to_be_attached()
        assert page.title() != "pwned"
        # What every other test would have failed of.
        assert [message.text for message in told if complains(message) and "Content Security Policy" in message.text]
