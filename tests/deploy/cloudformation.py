"""deploy/aws/cloudformation.yaml, read as CloudFormation would: with parameters, conditions and references in place.

Every name in the template is fixed by its parameters, so that what references lead to is known beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cfnlint.decode import cfn_yaml

from sandbox.aws import REGION
from sandbox.stack import ROOT

TEMPLATE = ROOT / "deploy" / "aws" / "cloudformation.yaml"
ACCOUNT = "000000000000"
PARAMETERS = {"SenderIdentity": "example.com", "SenderAddresses": "statements@example.com,news@example.com"}
"""What has no default."""

_NOTHING = object()
_PSEUDO = {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::NoValue": _NOTHING}
_NAME = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SES::ConfigurationSet": "Name",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
}
_ARN = {
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{}}",
    "AWS::SNS::Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{{}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::IAM::ManagedPolicy": f"arn:aws:iam::{ACCOUNT}:policy/{{}}",
}
_REFERS_BY_ARN = ("AWS::SNS::Topic", "AWS::IAM::ManagedPolicy")


class Template:
    """The template with these parameters. :param parameters: besides :data:`PARAMETERS`."""

    def __init__(self, parameters: Mapping[str, str] | None = None) -> None:
        self._source: dict[str, Any] = cfn_yaml.load(str(TEMPLATE))
        given = {**PARAMETERS, **(parameters or {})}
        self.parameters = {
            name: given.pop(name, str(kind.get("Default", ""))) for name, kind in self._source["Parameters"].items()
        }
        assert not given, f"no such parameters: {given}"
        kinds = {name: kind["Type"] for name, kind in self._source["Parameters"].items()}
        self._values = {
            name: text.split(",") if kinds[name] == "CommaDelimitedList" else text
            for name, text in self.parameters.items()
        }

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters' defaults; None: it has to be given."""
        yes_or_no = {"true": True, "false": False}
        found = {name: kind.get("Default") for name, kind in self._source["Parameters"].items()}
        return {name: yes_or_no.get(default, default) for name, default in found.items()}

    @property
    def version(self) -> str:
        return str(self._source["Mappings"]["Template"]["Mailonce"]["Version"])

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of one type that would be made, by the template's names."""
        return {
            name: self._resolved(one["Properties"])
            for name, one in self._source["Resources"].items()
            if one["Type"] == kind and self._holds({"Condition": one["Condition"]} if "Condition" in one else True)
        }

    def kinds(self) -> set[str]:
        return {one["Type"] for one in self._source["Resources"].values()}

    def only(self, kind: str) -> dict[str, Any]:
        (one,) = self.resources(kind).values()
        return one

    def policy(self, name: str) -> list[dict[str, Any]]:
        """The statements of a managed policy."""
        statements: list[dict[str, Any]] = self.resources("AWS::IAM::ManagedPolicy")[name]["PolicyDocument"][
            "Statement"
        ]
        return statements

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, list):
            return [found for each in value if (found := self._resolved(each)) is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name in self._functions:
                return self._functions[name](self, argument)
        found = {str(name): self._resolved(each) for name, each in value.items()}
        return {name: each for name, each in found.items() if each is not _NOTHING}

    def _ref(self, name: str) -> Any:
        if name in _PSEUDO:
            return _PSEUDO[name]
        if name in self._values:
            return self._values[name]
        kind = self._source["Resources"][name]["Type"]
        return self._get_att([name, "Arn"]) if kind in _REFERS_BY_ARN else self._name_of(name)

    def _name_of(self, name: str) -> str:
        one = self._source["Resources"][name]
        return str(self._resolved(one["Properties"][_NAME[one["Type"]]]))

    def _get_att(self, path: list[str]) -> str:
        name, attribute = path
        if attribute == "QueueName":
            return self._name_of(name)
        assert attribute == "Arn"
        return _ARN[self._source["Resources"][name]["Type"]].format(self._name_of(name))

    def _sub(self, text: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            name, _, attribute = match[1].partition(".")
            return str(self._get_att([name, attribute]) if attribute else self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", replaced, text)

    def _holds(self, condition: Any) -> bool:
        if condition is True:
            return True
        ((name, argument),) = condition.items()
        if name == "Condition":
            return self._holds(self._source["Conditions"][argument])
        if name == "Fn::Equals":
            left, right = (str(self._resolved(side)) for side in argument)
            return left == right
        many = [self._holds(each) for each in argument]
        return {"Fn::Not": not many[0], "Fn::And": all(many), "Fn::Or": any(many)}[name]

    def _if(self, argument: list[Any]) -> Any:
        condition, then, otherwise = argument
        return self._resolved(then if self._holds({"Condition": condition}) else otherwise)

    def _find(self, path: list[str]) -> Any:
        table, row, column = path
        return self._source["Mappings"][table][row][column]

    _functions = {  # noqa: RUF012 - never changed
        "Ref": _ref,
        "Fn::GetAtt": _get_att,
        "Fn::Sub": _sub,
        "Fn::If": _if,
        "Fn::FindInMap": _find,
    }
