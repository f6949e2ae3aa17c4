"""The operator in a Dag file: its arguments, its template fields, mapped and serialised by Airflow."""

from __future__ import annotations

import inspect
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pendulum
import pytest
from airflow.sdk import DAG, task
from airflow.serialization.serialized_objects import DagSerialization

from mailonce import DeliveryRetryPolicy, IdempotentBrevoOperator, IdempotentSesOperator, IdempotentSmtpOperator
from mailonce.errors import InvalidInput
from mailonce.operators.base import IdempotentMailOperator
from mailonce.workflow.settings import PROVIDERS, Settings

START = pendulum.datetime(2026, 1, 1, tz="UTC")
ONE = {"recipient_id": "C-1", "email": "ann@example.com", "units": 3}


def operator(**arguments: Any) -> IdempotentSesOperator:
    given = {"campaign": "usage", "period": "2026-10", "subject": "s", "text": "t", **arguments}
    return IdempotentSesOperator(task_id="mail", **given)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "none of them given"),
        ({"recipient": ONE, "recipients": [ONE]}, "recipient and recipients of them given"),
        ({"recipient": ONE, "snapshot": "file:///nosuch"}, "recipient and snapshot of them given"),
        ({"snapshot": "file:///nosuch"}, "^chunk: is missing"),
        ({"snapshot": "file:///nosuch", "chunk": 0}, "^snapshot: there is none at file:///nosuch"),
        ({"recipients": "not json"}, "^recipient: is text that is not JSON"),
        ({"recipients": ONE}, "^recipients: is a dict. Give a list of rows"),
        ({"recipients": '{"recipient_id": "C-1"}'}, "^recipients: is a dict"),
        ({"recipient": ONE, "in_doubt": "guess"}, r"^setting \[mailonce\] in_doubt"),
        ({"recipient": ONE, "sender": "nobody"}, r"^setting \[mailonce\] sender"),
        ({"recipient": ONE, "key": "a..b"}, "^key_expression"),
        ({"recipient": ONE, "subject": "{{ open"}, "^template usage/subject.txt.j2"),
        ({"recipient": ONE, "subject": None}, "^template usage/subject.txt.j2: the file is missing"),
        ({"recipient": ONE, "ledger_conn_id": "nosuch"}, "^connection nosuch: it does not exist"),
        ({"recipient": ONE, "ledger_conn_id": "aws_web"}, "^connection aws_web: type 'http' is no ledger"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(
    ses_connection: None, connect: Any, arguments: Any, named: str
) -> None:
    connect("aws_web", conn_type="http", host="localhost")
    with pytest.raises(InvalidInput, match=named):
        operator(**arguments).execute({})


@pytest.mark.parametrize("recipients", [[7], ["C-1"], [None], [[ONE]]])
@pytest.mark.postgres
def test_a_recipient_that_is_no_row_is_named(
    ses_connection: None, connect: Any, postgres: Any, recipients: Any
) -> None:
    from tests.operators.test_ses_operator import connect_postgres

    connect_postgres(postgres, connect)
    with pytest.raises(InvalidInput, match=r"^row number 1, field recipient: is a "):
        operator(recipients=recipients).execute({})


@pytest.mark.parametrize("kind", [IdempotentSesOperator, IdempotentBrevoOperator, IdempotentSmtpOperator])
def test_every_override_and_template_field_is_an_argument(kind: type[IdempotentMailOperator]) -> None:
    arguments = {name for each in kind.__mro__ for name in inspect.signature(each.__init__).parameters}
    assert set(kind.overrides) <= arguments
    assert set(kind.template_fields) <= arguments
    assert set(kind.overrides) <= {setting.name for setting in fields(Settings)}
    assert kind.provider in PROVIDERS
    # Jinja over the row is this package's business: Airflow must not render it first, with other variables.
    assert not {"subject", "text", "html", "headers"} & set(kind.template_fields)


def test_template_fields_are_rendered() -> None:
    given = operator(
        period="{{ params.month }}", recipient={"recipient_id": "{{ params.who }}"}, preview="{{ params.dry }}",
        sender="{{ params.who }}@example.com", subject="{{ units }}",
    )  # fmt: skip
    given.render_template_fields({"params": {"month": "2026-10", "who": "C-1", "dry": False}})
    assert (given.period, given.recipient, given.preview) == ("2026-10", {"recipient_id": "C-1"}, "False")
    assert (given.sender, given.subject) == ("C-1@example.com", "{{ units }}")


def test_retries_are_those_of_the_policy_unless_somebody_says_otherwise() -> None:
    assert isinstance(operator().retry_policy, DeliveryRetryPolicy)
    assert operator().retries == DeliveryRetryPolicy().most
    assert operator(retries=2).retries == 2


def test_mapped_and_plain_it_can_be_serialised() -> None:
    with DAG("mails", schedule=None, start_date=START) as dag:

        @task
        def rows() -> list[dict[str, Any]]:
            return [ONE]

        common = {"campaign": "usage", "period": "{{ ds }}", "subject": "s", "text": "{{ units }}"}
        IdempotentSesOperator(task_id="plain", recipients=rows(), execution_timeout=timedelta(minutes=5), **common)
        IdempotentSesOperator.partial(
            task_id="mapped", retry_policy=DeliveryRetryPolicy(), retries=10, **common
        ).expand(recipient=rows())
        IdempotentSesOperator.partial(task_id="chunks", snapshot="{{ 1 }}", **common).expand(chunk=[0, 1, 2])
    encoded = DagSerialization.to_dict(dag)
    decoded = DagSerialization.from_dict(encoded)
    assert {"plain", "mapped", "chunks"} <= set(decoded.task_ids)
    assert [decoded.get_task(name).is_mapped for name in ("plain", "mapped", "chunks")] == [False, True, True]
    plain = decoded.get_task("plain")
    assert set(plain.template_fields) == set(IdempotentSesOperator.template_fields)
    assert plain.operator_extra_link_dict or plain.operator_extra_links
    assert plain.retries == DeliveryRetryPolicy().most


@pytest.mark.postgres
def test_the_map_shows_who_and_the_link_leads_to_the_mail(
    ses_connection: None, connect: Any, postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.operators.test_ses_operator import connect_postgres

    connect_postgres(postgres, connect)
    monkeypatch.setenv("AIRFLOW__MAILONCE__MESSAGE_URL", "https://mails.example.com/{message_id}")
    one = operator(recipient=ONE, edition="link")
    message_id = one.execute({})["message_id"]
    link, ledger = one.operator_extra_links
    assert link.get_link(one, ti_key=None) == f"https://mails.example.com/{message_id}"
    assert one.map_label == "C-1"
    batch = operator(recipients=[ONE, {**ONE, "recipient_id": "C-2"}, {**ONE, "recipient_id": "C-3"}], edition="link")
    batch.execute({})
    assert batch.map_label == "C-1 … C-3 (3)"
    assert link.get_link(batch, ti_key=None) == ""
    month = "/plugin/mail-ledger/mailonce/months/usage/2026-10?edition=link"
    assert ledger.get_link(one, ti_key=None) == f"{month}&q=C-1&by=recipient"
    assert ledger.get_link(batch, ti_key=None) == month
