"""deploy/aws/terraform says the same as the CloudFormation template: resource by resource, policy by policy.

Both are read with the same values in place of their parameters, down to plain names and ARNs, and compared.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.cloudformation import Template
from tests.deploy.terraform import FOLDER, Terraform

SAME = {"WorkerRole": "worker", "SnapshotDays": "30", "AlertEmail": "ops@example.com"}
TABLE, QUEUE, TOPIC, BUCKET = "AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::S3::Bucket"


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(SAME)


@pytest.fixture(scope="module")
def terraform() -> Terraform:
    return Terraform(worker_role="worker", snapshot_days=30, alert_email="ops@example.com")


def test_both_have_the_same_parameters_with_the_same_defaults(template: Template, terraform: Terraform) -> None:
    theirs = {name.replace("_", ""): default for name, default in terraform.defaults.items()}
    ours = {name.lower(): default for name, default in Template().defaults.items()}
    assert theirs == ours


def test_the_table(template: Template, terraform: Terraform) -> None:
    ours, theirs = template.only(TABLE), terraform.only("aws_dynamodb_table")
    assert theirs["name"] == ours["TableName"]
    assert [{"AttributeName": theirs["hash_key"], "KeyType": "HASH"}] == ours["KeySchema"]
    assert {one["name"]: one["type"] for one in theirs["attribute"]} == {
        one["AttributeName"]: one["AttributeType"] for one in ours["AttributeDefinitions"]
    }
    assert [_index(one) for one in theirs["global_secondary_index"]] == ours["GlobalSecondaryIndexes"]
    assert theirs["billing_mode"] == ours["BillingMode"]
    assert theirs["deletion_protection_enabled"] == ours["DeletionProtectionEnabled"]
    assert theirs["point_in_time_recovery"] == [{"enabled": True}]
    (ttl,) = theirs["ttl"]
    assert (ttl["attribute_name"], ttl["enabled"]) == tuple(ours["TimeToLiveSpecification"].values())


def _index(one: dict[str, Any]) -> dict[str, Any]:
    keys = [{"AttributeName": one[f"{kind.lower()}_key"], "KeyType": kind} for kind in ("HASH", "RANGE")]
    return {"IndexName": one["name"], "KeySchema": keys, "Projection": {"ProjectionType": one["projection_type"]}}


def test_the_configuration_set_and_its_events(template: Template, terraform: Terraform) -> None:
    ours, theirs = template.only("AWS::SES::ConfigurationSet"), terraform.only("aws_sesv2_configuration_set")
    assert theirs["configuration_set_name"] == ours["Name"]
    assert theirs["suppression_options"] == [{"suppressed_reasons": ours["SuppressionOptions"]["SuppressedReasons"]}]
    assert theirs["sending_options"] == [{"sending_enabled": ours["SendingOptions"]["SendingEnabled"]}]
    assert theirs["reputation_options"] == [{"reputation_metrics_enabled": True}]
    assert ours["ReputationOptions"] == {"ReputationMetricsEnabled": True}
    place = template.only("AWS::SES::ConfigurationSetEventDestination")
    (same,) = terraform.only("aws_sesv2_configuration_set_event_destination")["event_destination"]
    assert same == {
        "enabled": place["EventDestination"]["Enabled"],
        "matching_event_types": place["EventDestination"]["MatchingEventTypes"],
        "sns_destination": [{"topic_arn": place["EventDestination"]["SnsDestination"]["TopicARN"]}],
    }


def test_the_queues_and_what_leads_into_them(template: Template, terraform: Terraform) -> None:
    ours = {
        one["QueueName"]: (
            one["MessageRetentionPeriod"], one["SqsManagedSseEnabled"], one.get("VisibilityTimeout"),
            one.get("RedrivePolicy"),
        )
        for one in template.resources(QUEUE).values()
    }  # fmt: skip
    theirs = {
        one["name"]: (
            one["message_retention_seconds"], one["sqs_managed_sse_enabled"], one.get("visibility_timeout_seconds"),
            one.get("redrive_policy"),
        )
        for one in terraform.resources("aws_sqs_queue").values()
    }  # fmt: skip
    assert theirs == ours
    topics = {one["TopicName"] for one in template.resources(TOPIC).values()}
    assert {one["name"] for one in terraform.resources("aws_sns_topic").values()} == topics
    assert {
        (one["topic_arn"], one["protocol"], one["endpoint"], one.get("raw_message_delivery", False))
        for one in terraform.resources("aws_sns_topic_subscription").values()
    } == {
        (one["TopicArn"], one["Protocol"], one["Endpoint"], one.get("RawMessageDelivery", False))
        for one in template.resources("AWS::SNS::Subscription").values()
    }


def test_the_alarms(template: Template, terraform: Terraform) -> None:
    ours = {one["AlarmName"]: one for one in template.resources("AWS::CloudWatch::Alarm").values()}
    for theirs in terraform.resources("aws_cloudwatch_metric_alarm").values():
        one = ours.pop(theirs["alarm_name"])
        (dimension,) = one.pop("Dimensions")
        assert theirs["dimensions"] == {dimension["Name"]: dimension["Value"]}
        names = {"AlarmName": "alarm_name", "MetricName": "metric_name", "EvaluationPeriods": "evaluation_periods",
                 "AlarmDescription": "alarm_description", "ComparisonOperator": "comparison_operator",
                 "TreatMissingData": "treat_missing_data", "AlarmActions": "alarm_actions"}  # fmt: skip
        assert {name: theirs[names.get(name, name.lower())] for name in one} == one
    assert ours == {}


def test_the_bucket(template: Template, terraform: Terraform) -> None:
    ours = template.only(BUCKET)
    assert terraform.only("aws_s3_bucket")["bucket"] == ours["BucketName"]
    blocked = terraform.only("aws_s3_bucket_public_access_block")
    for name, value in ours["PublicAccessBlockConfiguration"].items():
        assert blocked["".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]] is value
    (rule,) = terraform.only("aws_s3_bucket_server_side_encryption_configuration")["rule"]
    (encrypted,) = ours["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    (by,) = rule["apply_server_side_encryption_by_default"]
    assert by["sse_algorithm"] == encrypted["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
    (versioning,) = terraform.only("aws_s3_bucket_versioning")["versioning_configuration"]
    assert versioning["status"] == ours["VersioningConfiguration"]["Status"]
    (owner,) = terraform.only("aws_s3_bucket_ownership_controls")["rule"]
    assert [{"ObjectOwnership": owner["object_ownership"]}] == ours["OwnershipControls"]["Rules"]
    rubbish, snapshots = terraform.only("aws_s3_bucket_lifecycle_configuration")["rule"]
    assert ours["LifecycleConfiguration"]["Rules"] == [
        {
            "Id": rubbish["id"],
            "Status": rubbish["status"],
            "AbortIncompleteMultipartUpload": {
                "DaysAfterInitiation": rubbish["abort_incomplete_multipart_upload"][0]["days_after_initiation"]
            },
            "NoncurrentVersionExpiration": {
                "NoncurrentDays": rubbish["noncurrent_version_expiration"][0]["noncurrent_days"]
            },
        },
        {
            "Id": snapshots["id"],
            "Status": snapshots["status"],
            "Prefix": snapshots["filter"][0]["prefix"],
            "ExpirationInDays": str(snapshots["expiration"][0]["days"]),
        },
    ]


@pytest.mark.parametrize("name", ["Sender", "Reconciler", "Page", "Doctor"])
def test_what_each_role_may(template: Template, terraform: Terraform, name: str) -> None:
    assert terraform.statements(name.lower()) == _listed(template.policy(f"{name}Policy"))
    policy = terraform.resources("aws_iam_policy")[name.lower()]
    ours = template.resources("AWS::IAM::ManagedPolicy")[f"{name}Policy"]
    assert (policy["name"], policy["description"]) == (ours["ManagedPolicyName"], ours["Description"])


@pytest.mark.parametrize(
    ("kind", "name", "document"),
    [
        ("AWS::SNS::TopicPolicy", "EventsTopicPolicy", "events_topic"),
        ("AWS::SNS::TopicPolicy", "AlertsTopicPolicy", "alerts_topic"),
        ("AWS::SQS::QueuePolicy", "EventsQueuePolicy", "events_queue"),
        ("AWS::S3::BucketPolicy", "SnapshotsPolicy", "snapshots"),
    ],
)
def test_who_may_use_each_resource(
    template: Template, terraform: Terraform, kind: str, name: str, document: str
) -> None:
    ours = template.resources(kind)[name]["PolicyDocument"]["Statement"]
    assert terraform.statements(document) == _listed(ours)


def _listed(statements: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Statements by their ids, with lists where one value may stand for itself."""

    def many(value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    found = {}
    for one in statements:
        listed = {**one, "Action": many(one["Action"]), "Resource": many(one["Resource"])}
        if "Condition" in one:
            listed["Condition"] = {
                test: {key: many(values) for key, values in keys.items()} for test, keys in one["Condition"].items()
            }
        found[one["Sid"]] = listed
    return found


def test_everything_that_can_be_tagged_tells_the_version(template: Template, terraform: Terraform) -> None:
    assert terraform.local("tags") == {"mailonce:template": template.version}


def test_what_must_not_be_lost_is_kept(terraform: Terraform) -> None:
    kept = [("aws_dynamodb_table", "ledger"), ("aws_sqs_queue", "events"), ("aws_s3_bucket", "snapshots")]
    for kind, name in kept:
        assert terraform.resources(kind)[name]["lifecycle"] == [{"prevent_destroy": True}]


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_terraform_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    program = str(shutil.which("terraform"))
    assert subprocess.run([program, "fmt", "-check", "-recursive", FOLDER], check=False).returncode == 0
    copied = shutil.copytree(FOLDER, tmp_path / "terraform", ignore=shutil.ignore_patterns(".terraform*"))
    # Where the provider comes from is said by Terraform's own variables and files; without any it cannot be had here.
    made = subprocess.run([program, "init", "-input=false"], cwd=copied, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip("terraform cannot get its provider here")
    said = subprocess.run([program, "validate", "-no-color"], cwd=copied, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
