"""One real Airflow for the whole folder, in which a month was mailed, and a headless Chromium to look at it."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, expect, sync_playwright

from sandbox.airflow_api import AirflowApi
from sandbox.airflow_stack import User
from sandbox.stack import MONTHLY, Sandbox
from tests.browser.checks import complains
from tests.browser.mailed import Mailed, mail, prepare

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
USERS = [User("admin", "admin-pw"), User("support", "support-pw", "user"), User("viewer", "viewer-pw", "viewer")]
LARGEST_PICTURE = 250_000
SLOW = 20_000
"""Milliseconds: a machine with two cores runs the whole of Airflow beside the browser."""

expect.set_options(timeout=SLOW)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="FOLDER", help="write the documents' pictures there")


@pytest.fixture(scope="package")
def chromium() -> str:
    """Where the system's Chromium is: playwright's own would have to be downloaded."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        reason = f"no Chromium is installed: none of {', '.join(CHROMIUM)} is in the PATH"
        # A 0 wins over CI: .ci/run says so where Chromium cannot be had.
        if os.environ.get("MAILONCE_REQUIRE_BROWSER", os.environ.get("CI", "")) not in ("", "0", "false"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="package")
def stack(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The whole product, with few customers; the schedule's run of the month has just begun."""
    settings = {
        # What is in doubt is held at once, and may be released seconds later: nobody waits for an event or a late answer.
        "AIRFLOW__MAILONCE__EVENTS_PATIENCE": "0",
        "AIRFLOW__MAILONCE__CLAIM_WINDOW": "10",
        "AIRFLOW__MAILONCE__SETTLE_AFTER": "0",
    }
    with Sandbox(tmp_path_factory.mktemp("sandbox"), settings=settings, users=USERS) as started:
        prepare(started)
        yield started


@pytest.fixture(scope="package")
def api(stack: Sandbox) -> Iterator[AirflowApi]:
    with stack.airflow.api("admin") as client:
        client.wait_for_dag(MONTHLY)
        client.unpause(MONTHLY)
        yield client


@pytest.fixture(scope="package")
def mailed(stack: Sandbox, api: AirflowApi) -> Mailed:
    return mail(stack, api)


@pytest.fixture(scope="package")
def browser(chromium: str, stack: Sandbox) -> Iterator[Browser]:
    # After the stack, and so closed before it: a server that is asked to stop waits for those who still talk to it.
    # Its sandbox refuses to run as root, as in a container.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="package")
def signed_in(browser: Browser, stack: Sandbox) -> Callable[[str], Any]:
    """Signs a user in by Airflow's own form, once; returns the cookies."""

    @functools.cache
    def cookies_of(name: str) -> Any:
        user = next(user for user in USERS if user.name == name)
        with browser.new_context(base_url=stack.airflow.url) as context:
            page = context.new_page()
            page.goto("/auth/login")
            page.fill("input[name=username]", user.name)
            page.fill("input[name=password]", user.password)
            page.click("button[type=submit]")
            page.wait_for_url(lambda url: "/auth/login" not in url, wait_until="commit")
            return context.storage_state()

    return cookies_of


@pytest.fixture
def visit(browser: Browser, stack: Sandbox, signed_in: Callable[[str], Any]) -> Iterator[Callable[..., Page]]:
    """Opens a window for a user, ``visit("support", color_scheme="dark")``; whatever ran there or was blocked is a fault."""
    faults: list[str] = []

    def told(message: ConsoleMessage) -> None:
        if complains(message):
            faults.append(f"{message.location['url']}: {message.text}")

    def asked(dialog: Dialog) -> None:
        faults.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    with ExitStack() as contexts:

        def window(name: str = "support", *, width: int = 1280, height: int = 900, **options: Any) -> Page:
            context = contexts.enter_context(
                browser.new_context(
                    base_url=stack.airflow.url,
                    storage_state=signed_in(name),
                    viewport={"width": width, "height": height},
                    **options,
                )
            )
            context.set_default_timeout(SLOW)
            page = context.new_page()
            page.on("console", told)
            page.on("dialog", asked)
            page.on(
                "pageerror", lambda error: faults.append(str(error)) if "/mailonce" in (error.stack or "") else None
            )
            return page

        yield window
    assert faults == []


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keeps a picture of a window for the documents, if that was asked for: ``picture(page, "form", height=600)``."""
    # Unknown where this file was not yet read when pytest read its arguments; nobody asked then.
    asked = request.config.getoption("screenshots", default=None)
    folder = Path(asked).absolute() if asked else None

    def take(page: Page, name: str, *, height: int = 0) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            if height and (size := page.viewport_size):
                page.set_viewport_size({"width": size["width"], "height": height})
            taken = page.screenshot(path=folder / f"{name}.png", animations="disabled", caret="hide")
            assert len(taken) < LARGEST_PICTURE, f"{name} has {len(taken)} bytes"

    return take
