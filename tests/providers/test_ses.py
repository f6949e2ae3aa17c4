"""The SES provider against a real HTTP server: what each misbehaviour proves, and how often it went over the wire."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config

from mailonce.errors import (
    DailyQuotaExceeded,
    InDoubt,
    InvalidInput,
    NeverLeft,
    NotDelivered,
    Rejected,
    RunBlocked,
    Throttled,
)
from mailonce.messages.message import Message, StoredTemplate
from mailonce.providers.ses import CONNECT_SECONDS, READ_SECONDS, SesProvider, one_request
from sandbox.ses import Behaviour, SesStandIn
from tests.providers.mails import ANN, Told, message

TAGS = {"mailonce_key": "0f" * 32, "mailonce_campaign": "usage", "mailonce_period": "2026-10"}
PATIENT = Config(connect_timeout=10, read_timeout=10)
IMPATIENT = Config(connect_timeout=10, read_timeout=0.3)
EAGER = [
    Config(retries={"max_attempts": 10, "mode": "adaptive"}),
    Config(retries={"total_max_attempts": 5, "mode": "legacy"}),
    Config(retries={"mode": "standard"}),
]


SESSION = boto3.session.Session()  # one, because each reads the service's description anew


def client(url: str, config: Config | None = None, session: Any = SESSION) -> Any:
    return session.client(
        "sesv2",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=one_request(config or PATIENT, connections=16).merge(Config(proxies={})),
    )


def provider(url: str, config: Config | None = None, **options: Any) -> SesProvider:
    return SesProvider(client(url, config), **options)


def send(through: SesProvider, mail: Message | None = None, fence: Any = lambda: None, **told: Any) -> str:
    return through.send(mail or message(), tags=TAGS, idempotency_key="", departure=Told(signing=fence, **told))


@pytest.mark.parametrize(
    ("behaviour", "proved", "accepted"),
    [
        (Behaviour.THROTTLE, Throttled, 0),
        (Behaviour.DAILY_QUOTA, DailyQuotaExceeded, 0),
        (Behaviour.REJECT, Rejected, 0),
        (Behaviour.BAD_REQUEST, Rejected, 0),
        (Behaviour.PAUSED, RunBlocked, 0),
        (Behaviour.SUSPENDED, RunBlocked, 0),
        # Taken or not, it looks the same from here.
        (Behaviour.UNAVAILABLE_503, InDoubt, 0),
        (Behaviour.DROP_BEFORE, InDoubt, 0),
        (Behaviour.RESET_BEFORE, InDoubt, 0),
        (Behaviour.ACCEPT_THEN_500, InDoubt, 1),
        (Behaviour.ACCEPT_THEN_HANG, InDoubt, 1),
        (Behaviour.ACCEPT_THEN_RESET, InDoubt, 1),
        (Behaviour.ACCEPT_THEN_DROP, InDoubt, 1),
        (Behaviour.ACCEPT_THEN_TRUNCATE, InDoubt, 1),
        (Behaviour.ACCEPT_THEN_GARBLE, InDoubt, 1),
        (Behaviour.LATE_ACCEPT, InDoubt, 1),
        (Behaviour.ACCEPT, None, 1),
        (Behaviour.ACCEPT_SLOWLY, None, 1),
    ],
)
def test_each_misbehaviour_is_one_request(
    ses: SesStandIn, behaviour: Behaviour, proved: type[NotDelivered] | None, accepted: int
) -> None:
    ses.behave(ANN, behaviour)  # and it stays so: a repetition would not be answered better
    through = provider(ses.url, IMPATIENT if behaviour is Behaviour.ACCEPT_THEN_HANG else PATIENT)
    if proved is None:
        assert send(through) == ses.mails[0].message_id
    else:
        with pytest.raises(NotDelivered) as caught:
            send(through)
        assert type(caught.value) is proved
    ses.wait_for(lambda: len(ses.mails) == accepted)
    assert len(ses.requests) == 1


def test_every_misbehaviour_is_in_the_table() -> None:
    (mark,) = (mark for mark in test_each_misbehaviour_is_one_request.pytestmark if mark.name == "parametrize")
    assert {row[0] for row in mark.args[1]} == set(Behaviour)


@pytest.mark.parametrize("config", EAGER, ids=lambda config: str(config.retries))
@pytest.mark.parametrize("behaviour", [Behaviour.DROP_BEFORE, Behaviour.ACCEPT_THEN_500, Behaviour.THROTTLE])
def test_no_configuration_brings_repetitions_back(
    ses: SesStandIn, monkeypatch: pytest.MonkeyPatch, config: Config, behaviour: Behaviour
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    ses.behave(ANN, behaviour)
    with pytest.raises(NotDelivered):
        send(SesProvider(client(ses.url, config, boto3.session.Session())))
    assert len(ses.requests) == 1


@pytest.mark.parametrize("config", [None, *EAGER, Config(max_pool_connections=2)])
def test_one_request_is_one_request_and_keeps_the_rest(config: Config | None) -> None:
    made = one_request(config, connections=20)
    assert made.retries == {"total_max_attempts": 1, "mode": "standard"}
    assert (made.connect_timeout, made.read_timeout) == (CONNECT_SECONDS, READ_SECONDS)
    assert one_request(Config(read_timeout=7, user_agent_extra="ours")).read_timeout == 7
    assert made.max_pool_connections == (2 if config and config.max_pool_connections == 2 else 20)


@pytest.mark.parametrize("config", [None, Config(retries={"max_attempts": 1}), *EAGER])
def test_a_client_that_would_repeat_is_refused(config: Config | None) -> None:
    eager = boto3.client(
        "sesv2", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="s", config=config
    )
    with pytest.raises(InvalidInput, match="it would repeat a request by itself") as caught:
        SesProvider(eager)
    assert "one_request" in caught.value.remedy


@contextmanager
def full_backlog() -> Iterator[str]:
    """An address that answers no attempt to connect: nobody accepts, and the queue is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        for one in waiting:
            one.close()


@contextmanager
def nobody_listens() -> Iterator[str]:
    with socket.socket() as bound:  # bound, so that nobody else takes the port
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def no_such_host() -> Iterator[str]:
    yield "http://ses.invalid:80"


@pytest.mark.parametrize("unreachable", [full_backlog, nobody_listens, no_such_host])
def test_what_never_connected_never_left(unreachable: Any) -> None:
    with unreachable() as url, pytest.raises(NeverLeft, match="could not be reached"):
        send(provider(url, Config(connect_timeout=0.3, read_timeout=10)))


def test_a_truncated_answer_or_an_empty_one_is_in_doubt(ses: SesStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    through = provider(ses.url)
    monkeypatch.setattr(through, "_send_email", lambda **_: {"ResponseMetadata": {"HTTPStatusCode": 200}})
    with pytest.raises(InDoubt, match="without a message id"):
        send(through)


class TestFence:
    @pytest.mark.parametrize(
        ("raised", "seen"), [(NeverLeft("too late"), NeverLeft), (RuntimeError("a fault"), InDoubt)]
    )
    def test_what_it_raises_is_raised_and_nothing_leaves(
        self, ses: SesStandIn, raised: Exception, seen: type[Exception]
    ) -> None:
        def fence() -> None:
            raise raised

        with pytest.raises(seen):
            send(provider(ses.url), fence=fence)
        assert ses.requests == []

    def test_a_killed_task_is_not_caught(self, ses: SesStandIn) -> None:
        def fence() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            send(provider(ses.url), fence=fence)
        assert ses.requests == []

    def test_it_is_called_once_a_mail_before_the_request_leaves(self, ses: SesStandIn) -> None:
        seen: list[int] = []
        through = provider(ses.url)
        for _ in range(3):
            send(through, fence=lambda: seen.append(len(ses.requests)))
        assert seen == [0, 1, 2]

    def test_it_leaves_when_the_connection_stands_and_the_request_is_signed(self, ses: SesStandIn) -> None:
        order: list[str] = []
        seen: list[int] = []

        def leaving() -> None:
            order.append("leaving")
            seen.append(len(ses.requests))

        through = provider(ses.url)
        for _ in range(3):
            send(through, fence=lambda: order.append("signing"), leaving=leaving)
        assert order == ["signing", "leaving"] * 3
        assert seen == [0, 1, 2]

    def test_what_is_refused_in_the_last_moment_does_not_arrive(self, ses: SesStandIn) -> None:
        def leaving() -> None:
            raise NeverLeft("the journal cannot be written")

        through = provider(ses.url)
        with pytest.raises(NeverLeft, match="journal"):
            send(through, leaving=leaving)
        assert send(through)  # the connection that had begun is not used again
        assert len(ses.requests) == len(ses.mails) == 1

    def test_a_server_that_is_not_there_is_never_left_for(self) -> None:
        left: list[str] = []
        with pytest.raises(NeverLeft):
            send(provider("http://127.0.0.1:9"), leaving=lambda: left.append("left"))
        assert not left

    def test_each_thread_passes_its_own(self, ses: SesStandIn) -> None:
        through = provider(ses.url)
        together = threading.Barrier(8)
        passed: list[tuple[int, int]] = []

        def work(number: int) -> None:
            together.wait()
            owner = threading.get_ident()
            for _ in range(5):
                mail = message(f"c{number}@example.com")
                send(through, mail, fence=lambda: passed.append((owner, threading.get_ident())))
            with pytest.raises(NeverLeft, match=f"thread {number}"):
                send(through, message(f"late{number}@example.com"), fence=lambda: refuse(number))

        def refuse(number: int) -> None:
            raise NeverLeft(f"thread {number}")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert len(passed) == 40
        assert all(owner == caller for owner, caller in passed)
        assert len(ses.requests) == 40
        assert not any("late" in request.recipient for request in ses.requests)


class TestContent:
    def test_an_accepted_mail_carries_everything(self, ses: SesStandIn) -> None:
        unsubscribe = "<https://example.com/unsubscribe?id=C-1>"
        headers = {"List-Unsubscribe": unsubscribe, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
        mail = message(
            subject="Grüße: 12 €", text="Grüße", html="<p>Grüße</p>", reply_to=("help@example.com",), headers=headers
        )
        message_id = send(provider(ses.url, configuration_set="statements"), mail)
        (kept,) = ses.mails
        assert kept.message_id == message_id
        assert (kept.from_address, kept.to, kept.reply_to) == (mail.sender, [ANN], ["help@example.com"])
        assert (kept.cc, kept.bcc) == ([], [])
        assert (kept.subject, kept.text, kept.html) == (mail.subject, mail.text, mail.html)
        assert {header["name"]: header["value"] for header in kept.headers} == headers
        assert (kept.tags, kept.configuration_set) == (TAGS, "statements")

    @pytest.mark.parametrize(("text", "html"), [("only text", ""), ("", "<p>only html</p>")])
    def test_a_part_that_is_empty_is_left_out(self, ses: SesStandIn, text: str, html: str) -> None:
        send(provider(ses.url), message(text=text, html=html))
        (kept,) = ses.mails
        assert (kept.text, kept.html) == (text or None, html or None)
        assert kept.configuration_set is None

    def test_a_stored_template(self, ses: SesStandIn) -> None:
        made = client(ses.url)
        made.create_email_template(
            TemplateName="usage-v1", TemplateContent={"Subject": "{{name}}'s month", "Text": "{{units}} units"}
        )
        template = StoredTemplate(name="usage-v1", data={"name": "Ann", "units": 3})
        send(SesProvider(made), message(subject="", text="", stored_template=template, headers={"X-A": "1"}))
        (kept,) = ses.mails
        assert (kept.template_name, kept.template_data) == ("usage-v1", {"name": "Ann", "units": 3})
        assert (kept.subject, kept.text) == ("Ann's month", "3 units")
        assert kept.headers == [{"name": "X-A", "value": "1"}]
        assert kept.tags == TAGS


@pytest.mark.parametrize(
    ("change", "proved"),
    [
        ({"stored_template": StoredTemplate(name="nosuch", data={}), "subject": ""}, RunBlocked),
        ({"sender": "billing@unverified.example"}, RunBlocked),
        ({"to": "änn@example.com"}, Rejected),
    ],
)
def test_what_the_account_refuses(change: dict[str, Any], proved: type[NotDelivered]) -> None:
    with SesStandIn(verified_identities=["example.com"]) as ses, pytest.raises(NotDelivered) as caught:
        send(provider(ses.url), message(**change))
    assert type(caught.value) is proved


def test_a_missing_configuration_set_stops_the_run() -> None:
    with SesStandIn(configuration_sets=["statements"]) as ses, pytest.raises(RunBlocked, match="nosuch"):
        send(provider(ses.url, configuration_set="nosuch"))
