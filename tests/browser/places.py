"""Where things are: the page's own addresses, and Airflow's."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import FrameLocator, Page

from sandbox.stack import MONTHLY, Sandbox
from tests.browser.mailed import Mailed, row

IN_AIRFLOW = "/plugin/mail-ledger"
"""Before an address of the page: shown inside Airflow's own interface."""


def framed(page: Page) -> FrameLocator:
    """The page inside Airflow's own."""
    return page.frame_locator("iframe[title='Mail ledger']")


def month_of(mailed: Mailed, period: str = "") -> str:
    return f"/mailonce/months/monthly_usage/{period or mailed.month}"


def delivery_of(stack: Sandbox, recipient_id: str, period: str) -> str:
    return f"/mailonce/deliveries/{row(stack, recipient_id, period)['key']}"


def run_of(run: str) -> str:
    return f"/dags/{MONTHLY}/runs/{quote(run, safe='')}"
