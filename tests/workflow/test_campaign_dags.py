from __future__ import annotations

import pytest

from mailonce.workflow import campaign_dags


def test_the_dag_of_a_campaign_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MAILONCE__CAMPAIGN_DAGS", "usage = bills , invoices=invoice_run")
    campaign_dags._named_dags.cache_clear()
    try:
        named = [campaign_dags.dag_of(name) for name in ("usage", "invoices", "other")]
        assert named == ["bills", "invoice_run", "other_email"]
    finally:
        campaign_dags._named_dags.cache_clear()
