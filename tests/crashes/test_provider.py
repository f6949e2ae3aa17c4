"""The counting provider, asked by the package's own provider through a real socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mailonce.crashes.points import Treatment
from mailonce.crashes.provider import SEND_EMAIL, CountingProvider
from mailonce.crashes.worker import ses_client
from mailonce.errors import InDoubt, Rejected, Throttled
from mailonce.providers.ses import SesProvider
from tests.fakes import make_delivery

DELIVERY = make_delivery()


class Unhindered:
    def signing(self) -> None:
        pass

    def leaving(self) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[CountingProvider]:
    with CountingProvider() as started:
        yield started


def send(provider: CountingProvider) -> str:
    through = SesProvider(ses_client(provider.url))
    return through.send(DELIVERY.message, tags=DELIVERY.tags, idempotency_key="", departure=Unhindered())


def test_it_accepts_and_counts_by_key(provider: CountingProvider) -> None:
    sent = [send(provider), send(provider)]
    assert provider.mails(DELIVERY.key) == tuple(sent)
    assert len(set(sent)) == 2
    assert provider.mails("another") == ()
    assert provider.arrival(DELIVERY.key).done()


@pytest.mark.parametrize(("treatment", "error"), [(Treatment.THROTTLE, Throttled), (Treatment.REJECT, Rejected)])
def test_it_refuses_the_first_request_as_told(
    provider: CountingProvider, treatment: Treatment, error: type[Exception]
) -> None:
    provider.treat(DELIVERY.key, treatment)
    with pytest.raises(error):
        send(provider)
    assert not provider.mails(DELIVERY.key)
    send(provider)
    assert len(provider.mails(DELIVERY.key)) == 1


@pytest.mark.parametrize("treatment", [Treatment.ACCEPT_SILENTLY, Treatment.IGNORE])
def test_what_is_not_answered_is_in_doubt(provider: CountingProvider, treatment: Treatment) -> None:
    provider.treat(DELIVERY.key, treatment)
    provider.arrival(DELIVERY.key).add_done_callback(lambda _: provider.close())
    with pytest.raises(InDoubt):
        send(provider)
    assert len(provider.mails(DELIVERY.key)) == treatment.accepts


def test_a_request_that_was_cut_off_is_none(provider: CountingProvider) -> None:
    host, port = provider.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"POST {SEND_EMAIL} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
    send(provider)
    assert len(provider.mails(DELIVERY.key)) == 1
