"""What an older Airflow lacks is said, or stood in for. `make compat` runs the oldest one; here its lacks are pretended."""

from __future__ import annotations

import ast
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow.sdk
import pytest
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from mailonce import compatibility
from mailonce.doctor import airflow_version
from mailonce.errors import LedgerUnavailable, Rejected, UnsupportedAirflow
from mailonce.findings import Severity
from mailonce.notifiers.alert import alert_of_failure
from mailonce.operators.links import MailLedgerLink
from mailonce.workflow import retries
from mailonce.workflow.retries import DeliveryRetryPolicy, decided_here

PACKAGE = Path(compatibility.__file__).parent
REFUSED = Rejected("no such mailbox", recipient_id="C-1")


@pytest.mark.parametrize("version", ["2.11.0", "3.0.0", "3.0.5"])
def test_below_the_range_it_says_so_in_one_sentence(version: str) -> None:
    with pytest.raises(
        UnsupportedAirflow, match=rf"^mailonce needs Apache Airflow 3\.0\.6 or newer, and this is {version}"
    ):
        compatibility.refuse_unsupported(version)


@pytest.mark.parametrize("version", ["3.0.6", "3.1.0", "3.2.2", "3.3.2", "3.10.0", "3.4.0.dev0"])
def test_within_the_range_it_says_nothing(version: str) -> None:
    compatibility.refuse_unsupported(version)


@pytest.mark.parametrize("name", sorted(compatibility._HOMES))
def test_on_this_airflow_everything_is_the_newest(name: str) -> None:
    place = compatibility._HOMES[name][0]
    module, in_module, other = place.partition(":")
    newest = getattr(import_module(module), other or name) if in_module else import_module(module)
    assert getattr(compatibility, name) is newest


def test_nobody_else_reaches_for_what_has_moved() -> None:
    """Or the package breaks on an older Airflow, and only there."""
    moved = set(compatibility._HOMES) - {"conf"}
    for file in PACKAGE.rglob("*.py"):
        if file.name == "compatibility.py":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        typing_only = {
            id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for inner in ast.walk(node)
        }  # fmt: skip
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.ImportFrom)
                and str(node.module).startswith("airflow")
                and id(node) not in typing_only
            ):
                names = {alias.name for alias in node.names}
                assert not names & moved, f"{file}: take {names & moved} from mailonce.compatibility"
                assert not ("conf" in names and str(node.module).startswith("airflow.sdk")), file


def test_the_stand_ins_decide_in_airflows_own_words() -> None:
    assert compatibility._Decision.fail("why").action == RetryAction.FAIL.value
    assert compatibility._Decision.retry(timedelta(seconds=1)).action == RetryAction.RETRY.value


class TestWhereAirflowAsksNoPolicy:
    @pytest.fixture(autouse=True)
    def _old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retries, "asks_retry_policies", lambda: False)
        monkeypatch.setattr(compatibility, "asks_retry_policies", lambda: False)
        instance = SimpleNamespace(try_number=1, max_tries=24)
        context: Any = {"ti": instance, "task": SimpleNamespace(retries=24)}
        monkeypatch.setattr(airflow.sdk, "get_current_context", lambda: context)
        self.instance = instance

    def test_tasks_have_plain_retries_with_back_off(self) -> None:
        arguments = DeliveryRetryPolicy().task_arguments
        assert "retry_policy" not in arguments
        assert (arguments["retries"], arguments["retry_exponential_backoff"]) == (24, True)
        assert arguments["retry_delay"] < arguments["max_retry_delay"]

    def test_what_trying_again_would_not_help_fails_at_once(self) -> None:
        def work() -> None:
            raise REFUSED

        with pytest.raises(AirflowFailException, match=r"^Rejected: trying again would not help") as caught:
            decided_here(work)()
        # And whoever is told of it is told what it really was.
        assert alert_of_failure({"exception": caught.value}).what == str(REFUSED)

    def test_what_may_come_right_is_tried_as_often_as_the_policy_says(self) -> None:
        def work() -> None:
            raise LedgerUnavailable("away")

        for self.instance.try_number in (1, 8):
            with pytest.raises(LedgerUnavailable):
                decided_here(work)()
        self.instance.try_number = 9
        with pytest.raises(AirflowFailException, match="after 8 retries"):
            decided_here(work)()

    def test_what_is_said_to_airflow_on_purpose_is_not_touched(self) -> None:
        def work() -> None:
            raise AirflowSkipException("nothing to do")

        with pytest.raises(AirflowSkipException):
            decided_here(work)()

    def test_the_doctor_names_it(self) -> None:
        (finding,) = airflow_version.check(None)  # type: ignore[arg-type]
        assert finding.severity is Severity.WARNING
        assert "retry policies: 3.3" in finding.found


def test_here_the_doctor_has_nothing_to_say() -> None:
    (finding,) = airflow_version.check(None)  # type: ignore[arg-type]
    assert (finding.severity, list(compatibility.shortcomings())) == (Severity.OK, [])


def test_here_airflow_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        """Do nothing."""

    assert decided_here(work) is work


def test_where_no_pages_are_shown_no_task_links_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailonce.operators.links.shows_plugin_pages", lambda: False)
    operator: Any = SimpleNamespace(campaign="usage", period="2030-01", edition="original", map_label="C-1")
    assert MailLedgerLink().get_link(operator, ti_key=None) == ""  # type: ignore[arg-type]


def test_what_is_lacking_is_named_with_its_version() -> None:
    with pytest.raises(
        UnsupportedAirflow, match=r"^The page needs Apache Airflow 3\.1, and this is .*Use the terminal"
    ):
        compatibility.need("The page", "3.1", present=False, instead="Use the terminal.")
    compatibility.need("The page", "3.1", present=True, instead="")
