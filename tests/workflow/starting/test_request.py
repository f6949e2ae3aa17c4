from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.errors import InvalidInput
from mailonce.workflow.starting.request import FIELDS, Request, request_in, request_of, request_of_event
from tests.dags.test_dag_integrity import DAGS, parse

OCTOBER = {"campaign": "monthly_usage", "period": "2026-10"}


def test_all_that_is_asked_for() -> None:
    asked = {**OCTOBER, "edition": "corrected-1", "recipients": ["C-2", "C-1"]}
    request = request_of(asked)
    assert request == Request(**{**OCTOBER, "edition": "corrected-1", "recipients": ("C-2", "C-1")})
    assert request.conf == {"period": "2026-10", "edition": "corrected-1", "recipients": ["C-2", "C-1"]}


def test_the_month_alone_is_enough_and_the_rest_is_left_to_the_dag() -> None:
    request = request_of({"period": "2026-10"})
    assert (request.campaign, request.conf) == ("monthly_usage", {"period": "2026-10"})


class TestRunId:
    def test_follows_from_the_request(self) -> None:
        assert request_of(OCTOBER).run_id == "usage-complete__2026-10__original"
        assert request_of({**OCTOBER, "edition": "original", "recipients": []}).run_id == request_of(OCTOBER).run_id

    def test_of_the_same_recipients_in_whatever_order_is_the_same(self) -> None:
        one, other = ({**OCTOBER, "recipients": ids} for ids in (["C-1", "C-2"], ["C-2", "C-1"]))
        assert request_of(one).run_id == request_of(other).run_id

    def test_tells_months_editions_and_recipients_apart(self) -> None:
        asked = [{}, {"period": "2026-11"}, {"edition": "two"}, {"recipients": ["C-1"]}, {"recipients": ["C-2"]}]
        assert len({request_of({**OCTOBER, **each}).run_id for each in asked}) == len(asked)

    @given(
        st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=4), st.from_regex(FIELDS["edition"]["pattern"])
    )
    def test_is_one_that_airflow_takes(self, recipients: list[str], edition: str) -> None:
        from airflow.models.dagrun import DagRun

        run_id = request_of({**OCTOBER, "recipients": recipients, "edition": edition}).run_id
        assert DagRun().validate_run_id("run_id", run_id) == run_id
        assert len(run_id) <= 250


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "request: 'period' is a required property"),
        ({**OCTOBER, "perod": "2026-11"}, "request: Additional properties"),
        ({**OCTOBER, "dry_run": True}, "request: Additional properties"),
        ({"period": "2026-13"}, "field period"),
        ({"period": "2026-10\n"}, "field period"),
        ({"period": "0000-10"}, "period: '0000-10' is not a month"),
        ({"period": 202610}, "field period"),
        ({"period": None}, "field period"),
        ({**OCTOBER, "campaign": "../x"}, "field campaign"),
        ({**OCTOBER, "campaign": "monthly_usage\n"}, "field campaign"),
        ({**OCTOBER, "campaign": ""}, "field campaign"),
        ({**OCTOBER, "edition": "a b"}, "field edition"),
        ({**OCTOBER, "edition": "two\n"}, "field edition"),
        ({**OCTOBER, "edition": ""}, "field edition"),
        ({**OCTOBER, "recipients": "C-1"}, "field recipients"),
        ({**OCTOBER, "recipients": ["C-1", "C-1"]}, "field recipients"),
        ({**OCTOBER, "recipients": [7]}, "field recipients.0"),
        ([OCTOBER], "request"),
        ("2026-10", "request"),
        (None, "request"),
    ],
)
def test_refused(asked: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        request_of(asked)
    assert str(refused.value).startswith(field)
    with pytest.raises(InvalidInput):
        request_in(json.dumps(asked))


@pytest.mark.parametrize("name", ["period", "edition", "recipients"])
@pytest.mark.parametrize(
    "value",
    [
        "2026-10",
        "2026-13",
        "",
        "original",
        "a b",
        "x" * 65,
        7,
        [],
        ["C-1"],
        ["C-1", "C-1"],
        [""],
        ["x" * 257],
        {},
    ],
    ids=repr,
)
def test_a_field_takes_what_the_dag_s_parameter_takes(name: str, value: Any) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    # Not null, a form's empty field: a message leaves the field out.
    parameter = parse(DAGS / "monthly_usage_email.py").PARAMETERS[name]
    try:
        parameter.resolve(value)
        takes = True
    except ParamValidationError:
        takes = False
    try:
        request_of({**OCTOBER, name: value})
    except InvalidInput:
        assert not takes
    else:
        assert takes


class TestEnvelopes:
    bare = json.dumps(OCTOBER)
    event_bridge = json.dumps({"version": "0", "detail-type": "usage complete", "source": "ours", "detail": OCTOBER})

    @pytest.mark.parametrize("body", [bare, event_bridge])
    def test_are_opened(self, body: str) -> None:
        sns = json.dumps({"Type": "Notification", "MessageId": "1", "TopicArn": "arn", "Message": body})
        assert request_in(body) == request_in(sns) == request_of(OCTOBER)

    def test_a_subscription_is_a_person_s_business(self) -> None:
        with pytest.raises(InvalidInput, match=r"SubscriptionConfirmation.*open the SubscribeURL"):
            request_in(json.dumps({"Type": "SubscriptionConfirmation", "Message": "You have chosen …"}))

    @pytest.mark.parametrize(
        "body", ["", "2026-10", "{", "[" * 100_000, '{"detail-type": "x"}', '{"Type": "Notification"}']
    )
    def test_what_holds_no_request_is_refused(self, body: str) -> None:
        with pytest.raises(InvalidInput):
            request_in(body)


def test_what_airflow_adds_to_an_asset_event_is_left_out() -> None:
    assert request_of_event({**OCTOBER, "from_rest_api": True}) == request_of(OCTOBER)
    with pytest.raises(InvalidInput, match="Additional properties"):
        request_of_event({**OCTOBER, "from_somewhere": True})
