"""What is looked at where Brevo or a relay carries the mails, and what then is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mailonce import IdempotentBrevoOperator, IdempotentSesOperator, IdempotentSmtpOperator
from mailonce.doctor import carriers
from mailonce.doctor.examination import examine
from mailonce.errors import InvalidInput, NeverLeft, RunBlocked
from mailonce.findings import Severity
from mailonce.workflow.senders import as_the_dag_sends, providers_of
from mailonce.workflow.settings import Settings
from sandbox.brevo import BrevoStandIn
from sandbox.ses import SesStandIn
from sandbox.smtp import SmtpStandIn
from tests.doctor.conftest import Install, bad, only
from tests.doctor.sample_dag import START

PLAIN = {"disable_ssl": True, "disable_tls": True}


def dag_with(*kinds: Any, mapped: bool = False, **arguments: Any) -> Any:
    from airflow.sdk import DAG

    with DAG("mails", schedule=None, start_date=START) as dag:
        for kind in kinds:
            facts = {
                "task_id": kind.provider,
                "campaign": "usage",
                "period": "p",
                "subject": "s",
                "text": "t",
                **arguments,
            }
            if mapped:
                kind.partial(**facts).expand(chunk=[0])
            else:
                kind(recipient={"recipient_id": "C-1"}, **facts)
    return dag


@pytest.fixture
def connect_brevo(connect: Any) -> Callable[..., None]:
    return lambda brevo, **changes: connect(
        "brevo_default", **{"conn_type": "http", "host": brevo.url, "password": brevo.api_key, **changes}
    )


def test_brevo_is_asked_for_its_account(install: Install, connect_brevo: Any) -> None:
    with BrevoStandIn() as brevo:
        connect_brevo(brevo)
        installation = install(provider="brevo")
        finding = only(carriers.brevo(installation), carriers.BREVO)
        assert (finding.severity, finding.found) == (Severity.OK, "the key is right; left: 300 mails (free).")
        brevo.credits = 0
        assert only(carriers.brevo(installation), carriers.BREVO).severity is Severity.WARNING
        connect_brevo(brevo, password="wrong")
        with pytest.raises(RunBlocked, match="refuses the API key"):
            list(carriers.brevo(install(provider="brevo")))
        assert not brevo.requests
    with pytest.raises(NeverLeft):
        list(carriers.brevo(install(provider="brevo")))


def test_a_relay_is_tried_without_a_mail(install: Install, connect: Any) -> None:
    with SmtpStandIn(refused_sender="no@example.com") as relay:
        connect("smtp_default", conn_type="smtp", host="127.0.0.1", port=relay.port, extra=PLAIN)
        severities = [finding.severity for finding in carriers.relay(install(provider="smtp"))]
        assert severities == [Severity.WARNING, Severity.OK]
        with pytest.raises(RunBlocked, match="refuses the sender"):
            list(carriers.relay(install(provider="smtp", sender="no@example.com")))
        assert not relay.transactions


@pytest.mark.parametrize("kind", [IdempotentBrevoOperator, IdempotentSmtpOperator])
def test_where_ses_carries_nothing_nobody_asks_it(install: Install, connect: Any, ses: SesStandIn, kind: Any) -> None:
    ses.stop()
    with BrevoStandIn() as brevo, SmtpStandIn() as relay:
        connect("brevo_default", conn_type="http", host=brevo.url, password=brevo.api_key)
        connect("smtp_default", conn_type="smtp", host="127.0.0.1", port=relay.port, extra=PLAIN)
        examination = examine(install(dags=[dag_with(kind)]))
    assert not examination.failures
    assert [text for severity, text in bad(examination.findings) if "encrypted" not in text] == []


def test_who_carries_the_mails_is_said_by_the_operators() -> None:
    settings = Settings(provider="smtp")
    assert providers_of([], settings) == {"smtp"}
    both = dag_with(IdempotentSesOperator, IdempotentBrevoOperator)
    assert providers_of([both], settings) == {"ses", "brevo"}
    assert as_the_dag_sends(settings, both) == settings
    assert as_the_dag_sends(settings, None) == settings
    one = dag_with(IdempotentBrevoOperator, mapped=True, brevo_conn_id="other")
    assert as_the_dag_sends(settings, one) == Settings(provider="brevo", brevo_conn_id="other")
    unsaid = dag_with(IdempotentBrevoOperator, brevo_conn_id="{{ params.who }}")
    assert as_the_dag_sends(settings, unsaid) == Settings(provider="brevo")


def test_a_provider_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"setting \[mailonce\] provider: 'pigeon' is no provider"):
        Settings(provider="pigeon")
    assert Settings(provider="smtp").account == "smtp smtp_default"
    assert Settings(provider="brevo").account == "brevo brevo_default"
    assert Settings(provider="brevo", events_queue_url="https://sqs").doubt.patience is None
