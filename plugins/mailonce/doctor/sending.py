"""Does one send make one request? Looks for layers round it that would repeat it unasked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.session import Session
from botocore.utils import get_environ_proxies

from mailonce.doctor.installation import Installation
from mailonce.doctor.loopback import CountingServer, Trouble
from mailonce.errors import NotDelivered, RunBlocked
from mailonce.findings import Finding, Severity
from mailonce.messages.message import Message
from mailonce.providers.ses import SesProvider

if TYPE_CHECKING:
    from mypy_boto3_sesv2.client import SESV2Client

REQUESTS = "one request a mail"
PROXY = "proxy"
READ_TIMEOUT = "read time-out"
LEAST_READ_SECONDS = 5
"""Amazon SES answers in well under a second, but not always; whoever hangs up earlier makes doubt of sent mails."""

_PROBE = Message(
    sender="doctor@example.invalid", to="nobody@example.invalid", subject="Never leaves this machine", text="."
)


class _Departure:
    def signing(self) -> None:
        """Let it be signed."""

    def leaving(self) -> None:
        """Let it leave: it goes no farther than this machine."""


def requests(installation: Installation) -> Iterator[Finding]:
    """Send to this machine with a client like the one that sends, and count what arrives."""
    with CountingServer() as server:
        yield from _requests(installation.sending_client(server.url), server)
    installation.provider  # noqa: B018 - refuses a client that is configured to repeat a request


def _requests(client: SESV2Client, server: CountingServer) -> Iterator[Finding]:
    """Send, where only trouble can come of it, and count."""
    if client.meta.endpoint_url != server.url:
        raise AssertionError("the probe would leave this machine")
    provider = SesProvider(client)
    counts = {}
    for trouble in Trouble:
        server.trouble, server.requests = trouble, 0
        try:
            provider.send(_PROBE, tags={}, idempotency_key="", departure=_Departure())
        except RunBlocked:
            raise  # no credentials: so it is for every mail
        except NotDelivered:
            counts[trouble] = server.requests
    if repeated := {trouble: count for trouble, count in counts.items() if count > 1}:
        yield Finding(
            severity=Severity.ERROR,
            check=REQUESTS,
            found="; ".join(
                f"{count} requests for one mail when {trouble.value}" for trouble, count in repeated.items()
            )
            + ".",
            remedy="Something in this Python environment repeats requests below boto3 (a patch of urllib3 or botocore, "
            "an instrumentation): take it out, or every lost answer is a second mail.",
        )
    elif 0 in counts.values():
        yield Finding(severity=Severity.UNKNOWN, check=REQUESTS, found="the probe's request did not arrive.")
    else:
        cases = " and ".join(trouble.value for trouble in counts)
        yield Finding(severity=Severity.OK, check=REQUESTS, found=f"counted on this machine when {cases}.")


def overridden(installation: Installation) -> Iterator[Finding]:
    """Say who asks for repetitions in vain, so that nobody takes it for the cause of anything."""
    settings = installation.settings
    extra = _connection_extra(settings.aws_conn_id)
    profile = Session(profile=extra.get("profile_name")).get_scoped_config()
    wishes = {
        f"connection {settings.aws_conn_id}, config_kwargs.retries": (extra.get("config_kwargs") or {}).get("retries"),
        f"connection {settings.aws_conn_id}, retries": extra.get("retries"),
        f"connection {settings.aws_conn_id}, max_attempts": extra.get("max_attempts"),
        "AWS_MAX_ATTEMPTS": os.environ.get("AWS_MAX_ATTEMPTS"),
        "AWS_RETRY_MODE": os.environ.get("AWS_RETRY_MODE"),
        "the AWS configuration file, max_attempts": profile.get("max_attempts"),
        "the AWS configuration file, retry_mode": profile.get("retry_mode"),
    }
    for where, wish in wishes.items():
        if wish is not None:
            yield Finding(
                severity=Severity.OK,
                check=REQUESTS,
                found=f"{where} asks for {wish}: overridden for sending, and valid for questions only.",
            )


def _connection_extra(conn_id: str) -> Mapping[str, Any]:
    from mailonce.compatibility import AirflowNotFoundException, BaseHook

    try:
        extra: Mapping[str, Any] = BaseHook.get_connection(conn_id).extra_dejson
    except AirflowNotFoundException:
        return {}  # Airflow's hook then leaves all to boto3's own conventions
    return extra


def proxy(installation: Installation) -> Iterator[Finding]:
    """Look for a proxy on the way to SES, and for whether it could repeat a request."""
    client = installation.client("sesv2")
    endpoint = str(client.meta.endpoint_url)
    scheme = urlsplit(endpoint).scheme
    own = client.meta.config.proxies
    address = (get_environ_proxies(endpoint) if own is None else own).get(scheme)
    if not address:
        yield Finding(severity=Severity.OK, check=PROXY, found=f"none on the way to {endpoint}.")
        return
    host = urlsplit(address if "://" in address else f"//{address}").hostname  # without the password it may hold
    trusted = _own_certificates(installation)
    if scheme == "https" and not trusted:
        yield Finding(
            severity=Severity.OK,
            check=PROXY,
            found=f"requests go through {host}, in a TLS tunnel to Amazon's own certificate: it can read and repeat none.",
        )
        return
    why = f"{trusted} lets it open the TLS connection" if scheme == "https" else f"{endpoint} is not encrypted"
    yield Finding(
        severity=Severity.WARNING,
        check=PROXY,
        found=f"requests go through {host}, which can read them ({why}), and may repeat one whose answer it lost.",
        remedy="Send past the proxy: add the endpoint's host to NO_PROXY, or use a VPC endpoint. "
        "A second copy that it makes shows in the ledger as a measured duplicate.",
    )


def _own_certificates(installation: Installation) -> str:
    """Return what makes the client trust other certificates than the public ones; empty: nothing does."""
    extra = _connection_extra(installation.settings.aws_conn_id)
    verify = extra.get("verify")
    if verify not in (None, True):
        return f"verify = {verify} in the connection's extra"
    profile = Session(profile=extra.get("profile_name"))
    # Where botocore looks, and in this order: its own setting in `Session.create_client`, the other in its `endpoint`.
    bundle = profile.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return f"the certificate bundle {bundle}" if bundle else ""


def read_timeout(installation: Installation) -> Iterator[Finding]:
    """Look at how long an answer is waited for."""
    config: Any = installation.sending_client().meta.config
    seconds = float(config.read_timeout)
    if seconds >= LEAST_READ_SECONDS:
        yield Finding(severity=Severity.OK, check=READ_TIMEOUT, found=f"{seconds:g} s.")
        return
    yield Finding(
        severity=Severity.WARNING,
        check=READ_TIMEOUT,
        found=f"only {seconds:g} s: an answer that takes longer is lost, and its mail is in doubt though it was sent.",
        remedy=f"Take read_timeout out of the connection's config_kwargs, or set {LEAST_READ_SECONDS} or more.",
    )
