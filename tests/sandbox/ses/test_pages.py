"""The admin API and the pages for people."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import (
    ConnectionClosedError,
)

from sandbox.ses import Behaviour, SesStandIn
from tests.sandbox.ses.tools import ANN, admin, http_call, message, refusal, tags


def test_the_admin_api(ses: SesStandIn, client: Any) -> None:
    assert admin(ses, "GET", "health") == {"status": "ok"}
    put = admin(ses, "PUT", "behaviours", {ANN: ["accept", "throttle"], "*": "accept"})
    assert put == {"behaviours": {ANN: ["accept", "throttle"], "*": "accept"}}
    one = client.send_email(**message(EmailTags=tags(mailonce_key="k1")))["MessageId"]
    assert admin(ses, "GET", "behaviours")["behaviours"][ANN] == ["throttle"]
    assert refusal(lambda: client.send_email(**message()))[1] == 429
    client.send_email(**message(EmailTags=tags(mailonce_key="k1")))
    client.send_email(**message("ben@example.com", EmailTags=tags(mailonce_key="k2")))
    assert [entry["status"] for entry in admin(ses, "GET", "requests")["requests"]] == [200, 429, 200, 200]
    assert len(admin(ses, "GET", "requests?recipient=ben@example.com")["requests"]) == 1
    assert len(admin(ses, "GET", "mails")["mails"]) == 3
    assert len(admin(ses, "GET", "mails?recipient=ann%40example.com")["mails"]) == 2
    assert admin(ses, "GET", f"mails/{one}")["subject"] == "Your statement"
    assert http_call(ses, "GET", "/_standin/mails/none")[0] == 404
    assert http_call(ses, "GET", "/_standin/nothing")[0] == 404
    summary = admin(ses, "GET", "summary")
    assert (summary["requests"], summary["accepted"], summary["distinct_recipients"]) == (4, 3, 2)
    assert (summary["keys"], summary["keys_with_more_than_one"]) == ({"k1": 2, "k2": 1}, ["k1"])
    assert summary["refused"] == {"TooManyRequestsException": 1}
    assert admin(ses, "DELETE", "behaviours") == {"behaviours": {}}
    assert admin(ses, "PUT", "fates", {ANN: "bounce"}) == {"fates": {ANN: "bounce"}}
    assert http_call(ses, "PUT", "/_standin/fates", {ANN: "glory"})[0] == 400
    assert admin(ses, "DELETE", "fates") == {"fates": {}}
    admin(ses, "DELETE", "mails")
    assert admin(ses, "GET", "summary")["requests"] == 0


def test_a_request_that_never_got_an_answer_says_so(ses: SesStandIn, client: Any) -> None:
    ses.behave(ANN, [Behaviour.DROP_BEFORE])
    with pytest.raises(ConnectionClosedError):
        client.send_email(**message())
    assert admin(ses, "GET", "requests")["requests"][0]["status"] == "no answer"
    assert admin(ses, "GET", "summary")["not_answered"] == 1


def test_wait_for_gives_up_in_time(ses: SesStandIn) -> None:
    with pytest.raises(TimeoutError, match="0 requests, 0 mails"):
        ses.wait_for(lambda: bool(ses.mails), timeout=0.05)


def test_nothing_in_a_mail_runs_on_the_pages(ses: SesStandIn, client: Any) -> None:
    script = "<script>alert(1)</script>"
    arguments = message(subject=script)
    arguments["Content"]["Simple"]["Body"] = {"Text": {"Data": f"</pre>{script}"}, "Html": {"Data": script}}
    arguments["Content"]["Simple"]["Headers"] = [{"Name": "X-Note", "Value": script}]
    arguments["FromEmailAddress"] = f"{script} <billing@example.org>"
    one = client.send_email(**arguments)["MessageId"]
    for path in ("/", f"/mail/{one}", "/requests", f"/?recipient={script}", f"/requests?recipient={script}"):
        status, page, headers = http_call(ses, "GET", path.replace("<", "%3C").replace(">", "%3E"))
        assert status == 200
        assert "<script" not in page
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "script-src" not in headers["Content-Security-Policy"]
    assert "&lt;script&gt;alert(1)" in http_call(ses, "GET", "/")[1]
    page = http_call(ses, "GET", f"/mail/{one}")[1]
    assert f'<iframe sandbox="" src="/mail/{one}/html"' in page
    assert "X-Note" in page
    _, html, headers = http_call(ses, "GET", f"/mail/{one}/html")
    assert html == script
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_the_mailbox_searches_and_pages(ses: SesStandIn, client: Any) -> None:
    for number in range(60):
        client.send_email(**message(f"c{number}@example.com", subject=f"Statement {number}"))
    first, second = (http_call(ses, "GET", f"/?page={page}")[1] for page in (1, 2))
    assert first.index("Statement 59<") < first.index("Statement 10<")
    assert "50 of 60, newest first" in first
    assert "Page 2 of 2" in second
    assert "Statement 9<" in second
    assert "Statement 59<" not in second
    found = http_call(ses, "GET", "/?recipient=C5%40example")[1]
    assert "1 of 1, newest first" in found
    assert "Statement 5<" in found
    assert http_call(ses, "GET", "/?page=999")[0] == http_call(ses, "GET", "/?page=-x")[0] == 200
    assert http_call(ses, "GET", "/mail/none")[0] == http_call(ses, "GET", "/none")[0] == 404


def test_the_page_of_requests_shows_refused_ones(ses: SesStandIn, client: Any) -> None:
    ses.behave(ANN, [Behaviour.THROTTLE])
    refusal(lambda: client.send_email(**message()))
    one = client.send_email(**message())["MessageId"]
    page = http_call(ses, "GET", "/requests?recipient=ann%40example.com")[1]
    assert "Maximum sending rate exceeded." in page
    assert f"/mail/{one}" in page
    assert 'href="/requests?recipient=ann%40example.com"' in http_call(ses, "GET", f"/mail/{one}")[1]
