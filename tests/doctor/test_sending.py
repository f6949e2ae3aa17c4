"""Layers that would repeat a send: counted on a real socket, and looked for in the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import boto3
import certifi
import pytest
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

from mailonce.doctor import sending
from mailonce.doctor.examination import CHECKS, examine
from mailonce.doctor.loopback import CountingServer, Trouble
from mailonce.errors import InvalidInput
from mailonce.findings import Severity
from mailonce.workflow import connections
from sandbox.ses import SesStandIn
from tests.doctor.conftest import Install, bad, only, quickest

ONE = {name: CHECKS[name] for name in ("requests", "overridden retries", "proxy", "read time-out")}


def test_one_send_is_one_request_and_none_goes_to_ses(install: Install, ses: SesStandIn) -> None:
    findings = examine(install(), ONE).findings
    assert bad(findings) == []
    assert (
        "counted on this machine when the answer is 503 and the connection is closed"
        in only(findings, sending.REQUESTS).found
    )
    assert quickest(lambda: examine(install(), ONE)) < 1
    assert ses.requests == []


@pytest.mark.parametrize("trouble", list(Trouble))
def test_a_layer_below_boto3_s_settings_that_repeats_is_seen(
    install: Install, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    """As an instrumentation would do that patches the connection's session, and means well."""
    send = URLLib3Session.send

    def once_more(self: URLLib3Session, request: Any) -> Any:
        request.body = b"".join(request.body)  # it is given out once, and would be empty the second time
        try:
            answer = send(self, request)
        except ConnectionClosedError:
            answer = None
        if answer is not None and answer.status_code < 500:
            return answer
        return send(self, request)

    monkeypatch.setattr(URLLib3Session, "send", once_more)
    finding = only(examine(install(), ONE).findings, sending.REQUESTS)
    assert finding.severity is Severity.ERROR
    assert f"2 requests for one mail when {trouble.value}" in finding.found
    assert finding.remedy


def test_a_client_that_is_configured_to_repeat_is_an_error(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "aws_client", lambda *_, **__: boto3.client("sesv2", region_name="eu-central-1"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    examination = examine(install(), ONE)
    assert "it would repeat a request by itself" in bad(examination.findings)[0][1]
    assert isinstance(examination.failures[0], InvalidInput)


def test_the_probe_s_client_is_the_sender_s_but_for_where_it_leads(install: Install) -> None:
    installation = install(
        extra={"config_kwargs": {"read_timeout": 7, "retries": {"max_attempts": 9}, "tcp_keepalive": True}}
    )
    sender: Any = installation.provider._client
    probe = installation.sending_client("http://127.0.0.1:9")
    elsewhere = {"proxies", "use_fips_endpoint", "use_dualstack_endpoint"}

    def options(client: Any) -> dict[str, Any]:
        told = client.meta.config._user_provided_options.items()
        return {name: value for name, value in told if name not in elsewhere}

    assert options(probe) == options(sender)
    assert probe.meta.config.retries["total_max_attempts"] == 1
    assert sender.meta.config.retries["total_max_attempts"] == 1


def test_the_probe_leaves_for_no_other_address(install: Install) -> None:
    with CountingServer() as server, pytest.raises(AssertionError, match="would leave this machine"):
        list(sending._requests(install().sending_client(), server))


def test_without_credentials_nobody_s_mail_could_be_sent(
    install: Install, connect: Any, ses: SesStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = install()
    connect("aws_default", conn_type="aws", extra={"region_name": "eu-central-1", "endpoint_url": ses.url})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nosuch")
    ((severity, text),) = bad(examine(installation, ONE).findings)
    assert severity == "error"
    assert "no usable AWS credentials" in text


def test_without_a_region_no_client_can_be_made(install: Install, connect: Any) -> None:
    installation = install()
    connect("aws_default", conn_type="aws", login="a", password="s")
    ((severity, text),) = bad(examine(installation, ONE).findings)
    assert severity == "error"
    assert "no AWS client can be made (NoRegionError" in text


@pytest.mark.parametrize(
    ("extra", "where"),
    [
        ({"config_kwargs": {"retries": {"max_attempts": 5}}}, "config_kwargs.retries asks for {'max_attempts': 5}"),
        ({"retries": {"total_max_attempts": 4}}, "aws_default, retries asks for"),
        ({"max_attempts": 10}, "aws_default, max_attempts asks for 10"),
    ],
)
def test_a_connection_that_asks_for_repetitions_in_vain_is_named(install: Install, extra: Any, where: str) -> None:
    findings = examine(install(extra=extra), ONE).findings
    assert bad(findings) == []
    assert any(where in finding.found and "overridden" in finding.found for finding in findings)


@pytest.mark.parametrize("name", ["AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"])
def test_an_environment_that_asks_for_repetitions_in_vain_is_named(
    install: Install, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, {"AWS_MAX_ATTEMPTS": "7", "AWS_RETRY_MODE": "adaptive"}[name])
    findings = examine(install(), ONE).findings
    assert bad(findings) == []
    assert any(finding.found.startswith(f"{name} asks for") for finding in findings)


def test_a_configuration_file_that_asks_for_repetitions_in_vain_is_named(install: Install, tmp_path: Path) -> None:
    (tmp_path / "aws-config").write_text("[default]\nmax_attempts = 9\nretry_mode = legacy\n")
    findings = examine(install(), ONE).findings
    assert bad(findings) == []
    text = " ".join(map(str, findings))
    assert "configuration file, max_attempts asks for 9" in text
    assert "configuration file, retry_mode asks for legacy" in text


class TestProxy:
    SES: ClassVar = {"sesv2": "https://email.eu-central-1.amazonaws.com"}

    def found(self, installation: Any) -> Any:
        return only(sending.proxy(installation), sending.PROXY)

    def test_none(self, install: Install) -> None:
        assert self.found(install(services=self.SES)).severity is Severity.OK

    def test_a_tunnel_to_amazon_s_own_certificate_can_repeat_nothing(
        self, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example:3128")
        finding = self.found(install(services=self.SES))
        assert finding.severity is Severity.OK
        assert "through proxy.example, in a TLS tunnel" in finding.found
        assert "secret" not in str(finding)

    @pytest.mark.parametrize("bundle", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "verify", "no verify"])
    def test_one_whose_certificate_is_trusted_may_repeat(
        self, install: Install, monkeypatch: pytest.MonkeyPatch, bundle: str
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
        pem = certifi.where()
        extra = {"verify": pem} if bundle == "verify" else {"verify": False} if bundle == "no verify" else {}
        if bundle.isupper():
            monkeypatch.setenv(bundle, pem)
        finding = self.found(install(services=self.SES, extra=extra))
        assert finding.severity is Severity.WARNING
        assert "through proxy.example, which can read them" in finding.found
        assert "NO_PROXY" in finding.remedy

    def test_one_before_an_endpoint_without_encryption_may_repeat(
        self, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
        monkeypatch.delenv("NO_PROXY")
        finding = self.found(install())
        assert finding.severity is Severity.WARNING
        assert "is not encrypted" in finding.found

    def test_the_connection_s_own_counts_as_well(self, install: Install) -> None:
        extra = {"config_kwargs": {"proxies": {"https": "http://proxy.example:3128"}}, "verify": certifi.where()}
        assert self.found(install(services=self.SES, extra=extra)).severity is Severity.WARNING


@pytest.mark.parametrize(("seconds", "severity"), [(1, Severity.WARNING), (5, Severity.OK), (60, Severity.OK)])
def test_a_read_timeout_that_makes_doubt_of_sent_mails(install: Install, seconds: int, severity: Severity) -> None:
    findings = examine(install(extra={"config_kwargs": {"read_timeout": seconds}}), ONE).findings
    assert only(findings, "read time-out").severity is severity


def test_a_missing_connection_is_left_to_boto3_s_own_conventions(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = install()
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert bad(examine(installation, ONE).findings) == []
