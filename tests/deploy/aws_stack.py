"""The template deployed by a CloudFormation on this machine.

ministack makes the resources, their names, outputs and policies of queues and topics. These it makes without some of their
properties, and it keeps no event destinations: the stack adds what is missing, as the template says it, with the
calls that CloudFormation makes in AWS.
"""

from __future__ import annotations

import json
from typing import Any

import boto3
from botocore.config import Config

from sandbox.aws import ACCESS_KEY, REGION, SECRET_KEY, LocalAws
from sandbox.ses import SesStandIn
from tests.deploy.cloudformation import TEMPLATE, Template


def client_of(ses: SesStandIn) -> Any:
    """A client of the stand-in for SES."""
    return boto3.client(
        "sesv2",
        endpoint_url=ses.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(proxies={}),
    )


class SnsEvents:
    """A publisher for the stand-in: as SES does, to the topic that the configuration set's destination names."""

    def __init__(self, aws: LocalAws, topic: str) -> None:
        self._client = aws.client("sns")
        self._topic = topic

    def publish(self, event: dict[str, Any]) -> None:
        self._client.publish(TopicArn=self._topic, Message=json.dumps(event) + "\n")


class Stack:
    """Made when it is made. :param parameters: of the template; ``NamePrefix`` tells stacks apart."""

    def __init__(self, aws: LocalAws, **parameters: str) -> None:
        self.aws = aws
        self.template = Template(parameters)
        self.name = self.template.parameters["NamePrefix"]
        given = [{"ParameterKey": key, "ParameterValue": text} for key, text in self.template.parameters.items()]
        client = aws.client("cloudformation")
        client.create_stack(
            StackName=self.name,
            TemplateBody=TEMPLATE.read_text(encoding="utf-8"),
            Parameters=given,
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        client.get_waiter("stack_create_complete").wait(StackName=self.name, WaiterConfig={"Delay": 0.1})
        (stack,) = client.describe_stacks(StackName=self.name)["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        self.made = {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in client.describe_stack_resources(StackName=self.name)["StackResources"]
        }
        self._complete()

    @property
    def settings(self) -> dict[str, str]:
        """The output ``Settings``, as an environment."""
        return dict(line.split("=", 1) for line in self.outputs["Settings"].splitlines())

    def environment(self, ses: SesStandIn) -> dict[str, str]:
        """The settings, with the connections leading to this machine."""
        extra = {"endpoint_url": self.aws.url, "service_config": {"sesv2": {"endpoint_url": ses.url}}}
        found = self.settings
        for name in [name for name in found if name.startswith("AIRFLOW_CONN_")]:
            connection = json.loads(found[name])
            connection |= {"login": ACCESS_KEY, "password": SECRET_KEY, "extra": {**connection["extra"], **extra}}
            found[name] = json.dumps(connection)
        return found

    def publish_from(self, ses: SesStandIn) -> None:
        """Make the configuration set and its destination in the stand-in for SES."""
        client = client_of(ses)
        wanted = dict(self.template.only("AWS::SES::ConfigurationSet"))
        client.create_configuration_set(ConfigurationSetName=wanted.pop("Name"), **wanted)
        one = self.template.only("AWS::SES::ConfigurationSetEventDestination")
        destination = dict(one["EventDestination"])
        destination["SnsDestination"] = {"TopicArn": destination["SnsDestination"]["TopicARN"]}
        client.create_configuration_set_event_destination(
            ConfigurationSetName=one["ConfigurationSetName"],
            EventDestinationName=destination.pop("Name"),
            EventDestination=destination,
        )

    def _complete(self) -> None:
        sqs, dynamodb = self.aws.client("sqs"), self.aws.client("dynamodb")
        for name, queue in self.template.resources("AWS::SQS::Queue").items():
            attributes = {"SqsManagedSseEnabled": json.dumps(queue["SqsManagedSseEnabled"])}
            if "RedrivePolicy" in queue:
                attributes["RedrivePolicy"] = json.dumps(queue["RedrivePolicy"])
            sqs.set_queue_attributes(QueueUrl=self.made[name], Attributes=attributes)
        for table in self.template.resources("AWS::DynamoDB::Table").values():
            name, backups = table["TableName"], table["PointInTimeRecoverySpecification"]
            expiry = table["TimeToLiveSpecification"]
            # Its table lacks the states of the indexes, which every real one has.
            dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
            dynamodb.delete_table(TableName=name)
            dynamodb.create_table(**{key: value for key, value in table.items() if not key.endswith("Specification")})
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=expiry)
            dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=backups)
