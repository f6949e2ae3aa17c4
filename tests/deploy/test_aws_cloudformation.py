"""deploy/aws/cloudformation.yaml: linted, compared with the code, and deployed by a CloudFormation on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mailonce import __version__
from mailonce.doctor import account, events
from mailonce.events import EventKind
from mailonce.ledgers.dynamodb.table import definition
from mailonce.workflow.events.queue import VISIBILITY_SECONDS
from mailonce.workflow.settings import Settings
from sandbox.aws import LocalAws
from tests.deploy.aws_stack import Stack
from tests.deploy.cloudformation import TEMPLATE, Template


def test_the_linter_has_nothing_to_say() -> None:
    linted = subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", TEMPLATE], capture_output=True, text=True, check=False
    )
    assert linted.stdout + linted.stderr == ""
    assert linted.returncode == 0


def test_the_table_is_the_one_that_the_ledger_makes_for_itself() -> None:
    table = Template().only("AWS::DynamoDB::Table")
    name = table["TableName"]
    assert name == Settings().ledger_table
    assert {key: table[key] for key in definition(name)} == definition(name)


def test_it_asks_for_exactly_the_events_that_the_ledger_reads() -> None:
    destination = Template().only("AWS::SES::ConfigurationSetEventDestination")["EventDestination"]
    assert set(destination["MatchingEventTypes"]) == {events._TYPES[kind] for kind in EventKind}


def test_a_message_is_hidden_as_long_as_the_code_hides_it() -> None:
    queue = Template().resources("AWS::SQS::Queue")["EventsQueue"]
    assert queue["VisibilityTimeout"] == VISIBILITY_SECONDS


def test_the_tag_tells_this_version() -> None:
    template = Template()
    assert template.version == __version__
    (tag,) = template.only("AWS::SES::ConfigurationSet")["Tags"]
    assert (tag["Key"], tag["Value"]) == (account.TEMPLATE_TAG, __version__)


@pytest.mark.parametrize(
    ("parameters", "absent", "settings"),
    [
        ({}, set(), {"AIRFLOW__MAILONCE__LEDGER_TABLE", "AIRFLOW__MAILONCE__SNAPSHOT_URI"}),
        (
            {"Ledger": "PostgreSQL", "SnapshotBucket": "false", "Alarms": "false"},
            {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::CloudWatch::Alarm"},
            set(),
        ),
    ],
)
@pytest.mark.dynamodb
def test_what_is_not_wanted_is_not_made(
    local_aws: LocalAws, parameters: dict[str, str], absent: set[str], settings: set[str]
) -> None:
    made = Stack(local_aws, NamePrefix=f"part-{len(absent)}", **parameters)
    client = local_aws.client("cloudformation")
    kinds = {one["ResourceType"] for one in client.describe_stack_resources(StackName=made.name)["StackResources"]}
    assert kinds == made.template.kinds() - absent
    optional = {"AIRFLOW__MAILONCE__LEDGER_TABLE", "AIRFLOW__MAILONCE__SNAPSHOT_URI"}
    assert optional & made.settings.keys() == settings
