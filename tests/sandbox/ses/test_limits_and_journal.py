"""Limits, the age of signatures, and the journal that outlives a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ConnectionClosedError,
)

from sandbox.ses import Behaviour, SesStandIn
from tests.sandbox.ses.tools import ANN, ROOT, client_of, http_call, message, refusal, tags


def test_the_rate_limit_throttles() -> None:
    with SesStandIn(rate=0.001, burst=2) as ses:
        client = client_of(ses.url)
        client.send_email(**message())
        client.send_email(**message())
        refused = refusal(lambda: client.send_email(**message()))
        assert refused == ("TooManyRequestsException", 429, "Maximum sending rate exceeded.")


def test_the_daily_quota_counts_accepted_mails_over_restarts(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    with SesStandIn(max_24_hour_send=2, journal=file) as ses:
        client = client_of(ses.url)
        ses.behave(ANN, [Behaviour.THROTTLE])
        refusal(lambda: client.send_email(**message()))
        client.send_email(**message())
    with SesStandIn(max_24_hour_send=2, journal=file) as ses:
        client = client_of(ses.url)
        assert client.get_account()["SendQuota"]["SentLast24Hours"] == 1
        client.send_email(**message())
        refused = refusal(lambda: client.send_email(**message()))
        assert refused == ("TooManyRequestsException", 429, "Daily message quota exceeded.")


def test_the_age_of_a_signature_is_checked() -> None:
    with SesStandIn(signature_max_age=300) as ses:
        client = client_of(ses.url)
        client.send_email(**message())
        old = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 310))

        def make_old(request: Any, **_: Any) -> None:
            request.headers["X-Amz-Date"] = old

        client.meta.events.register("before-send.sesv2", make_old)
        for call in (lambda: client.send_email(**message()), client.get_account):
            code, status, text = refusal(call)
            assert (code, status) == ("InvalidSignatureException", 403)
            assert text.startswith(f"Signature expired: {old} is now earlier than")
        status, _, headers = http_call(ses, "POST", "/v2/email/outbound-emails", message())
        assert (status, headers["x-amzn-ErrorType"]) == (403, "MissingAuthenticationTokenException")
        assert [request.status for request in ses.requests] == [200, 403, 403]
        assert len(ses.mails) == 1


def test_the_journal_survives_a_restart_and_a_line_that_was_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "journal.jsonl"
    with SesStandIn(journal=file, late_seconds=0.01) as ses:
        client = client_of(ses.url)
        ses.behave(ANN, ["throttle", "late_accept", "accept"])
        refusal(lambda: client.send_email(**message()))
        with pytest.raises(ConnectionClosedError):
            client.send_email(**message())
        ses.wait_for(lambda: len(ses.mails) == 1)
        client.send_email(**message(EmailTags=tags(mailonce_key="k")))
        before = ses.requests, ses.mails
    assert all(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    with file.open("ab") as stream:
        stream.write(b'{"event":"request","number":4,"arr')
    with SesStandIn(journal=file) as ses:
        assert (ses.requests, ses.mails) == before
        client_of(ses.url).send_email(**message())
        assert ses.requests[-1].number == 4
        ses.clear()
    with SesStandIn(journal=file) as ses:
        assert (ses.requests, ses.mails) == ([], [])


def test_a_file_that_is_no_journal_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("buy milk\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"notes.txt, line 1: not a line of this journal"):
        SesStandIn(journal=file)
    assert file.read_text(encoding="utf-8") == "buy milk\n"


def start_process(journal: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "sandbox.ses", "--port", "0", "--journal", str(journal)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found
    return process, found.group()


def test_a_killed_process_has_lost_nothing_and_a_stopped_one_ends_cleanly(tmp_path: Path) -> None:
    process, url = start_process(tmp_path / "journal.jsonl")
    client = client_of(url)
    ids = {client.send_email(**message(f"c{number}@example.com"))["MessageId"] for number in range(20)}
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=5)
    process, url = start_process(tmp_path / "journal.jsonl")
    with SesStandIn(journal=tmp_path / "journal.jsonl") as ses:
        assert {mail.message_id for mail in ses.mails} == ids
    client_of(url).send_email(**message())
    os.kill(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=5)
    assert process.returncode == 0
    assert "21 mails accepted" in said
