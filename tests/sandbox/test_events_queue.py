"""The queue of the provider's events, made as docker-compose.yaml's local AWS makes it."""

from __future__ import annotations

import json
import runpy

import pytest

from sandbox import events_queue
from sandbox.aws import LocalAws

pytestmark = pytest.mark.dynamodb


def test_run_again_it_finds_the_queue_with_another_behind_it(
    local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in local_aws.environment().items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        runpy.run_path(str(events_queue.__file__), run_name="__main__")
    first, second = capsys.readouterr().out.split()
    assert first == second
    sqs = local_aws.client("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=first, AttributeNames=["All"])["Attributes"]
    behind = json.loads(attributes["RedrivePolicy"])
    assert behind["deadLetterTargetArn"].endswith(":ses-events-dead")
    assert int(behind["maxReceiveCount"]) == 20
    assert int(attributes["MessageRetentionPeriod"]) == 14 * 24 * 3600
