"""Airflow's own form for starting the month by hand, with good and bad values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from sandbox.airflow_api import AirflowApi
from sandbox.stack import MONTHLY
from tests.browser.mailed import the_months

pytestmark = [pytest.mark.airflow, pytest.mark.browser]

Visit = Callable[..., Page]


def runs(api: AirflowApi) -> set[str]:
    return {str(run["dag_run_id"]) for run in api.runs(MONTHLY)}


@pytest.fixture
def page(visit: Visit, api: AirflowApi) -> Page:
    opened = visit("admin", width=1500, height=1100)
    opened.goto(f"/dags/{MONTHLY}")
    opened.get_by_test_id("trigger-dag-button").first.click()
    expect(opened.locator("#element_period")).to_be_visible()
    return opened


@pytest.fixture
def form(page: Page) -> Locator:
    return page.get_by_role("dialog")


def submit(page: Page) -> None:
    # By keyboard: Airflow tells of the refusal before in a box that lies over the button, and stays while the mouse is there.
    page.get_by_test_id("trigger-dag-submit").press("Enter")


def started(page: Page, api: AirflowApi, before: set[str]) -> str:
    expect(page.get_by_test_id("trigger-dag-submit")).to_be_hidden()
    (run,) = [run["dag_run_id"] for run in api.runs(MONTHLY) if run["dag_run_id"] not in before]
    return str(run)


def test_what_is_no_month_is_refused_and_starts_nothing(page: Page, form: Locator, api: AirflowApi) -> None:
    before = runs(api)
    for month in ("2026-13", "2026-1", "October"):
        form.locator("#element_period").fill(month)
        submit(page)
        expect(form.get_by_text(f"Invalid input for param period: '{month}' does not match")).to_be_visible()
    assert runs(api) == before


def test_good_values_start_a_run_with_just_those(
    page: Page, form: Locator, api: AirflowApi, picture: Callable[..., None]
) -> None:
    before, (month, _) = runs(api), the_months()
    form.locator("#element_period").fill(month)
    form.locator("#element_recipients").fill("CUST-0001\nCUST-0002")
    form.locator("label:has(input[name=element_dry_run])").click()
    picture(page, "form")
    submit(page)
    run = started(page, api, before)
    assert api.run(MONTHLY, run)["conf"] == {
        "period": month, "recipients": ["CUST-0001", "CUST-0002"], "dry_run": True, "recipients_per_task": None,
        "edition": "original",
    }  # fmt: skip
    # A dry run of two, and nothing else.
    assert api.wait_for_run(MONTHLY, run) == "success"
    states = {task.task_id: task.state for task in api.task_instances(MONTHLY, run)}
    assert states == {"preflight": "success", "snapshot": "success", "deliver": "skipped", "report": "success"}


def test_nobody_of_that_id_ends_in_a_clear_message(page: Page, form: Locator, api: AirflowApi) -> None:
    before, (month, _) = runs(api), the_months()
    form.locator("#element_period").fill(month)
    form.locator("#element_recipients").fill("CUST-9998\nCUST-9999")
    submit(page)
    run = started(page, api, before)
    assert api.wait_for_run(MONTHLY, run) == "failed"
    page.goto(f"/dags/{MONTHLY}/runs/{run}/tasks/report")
    expect(page.get_by_text("CUST-9999").first).to_be_visible()
