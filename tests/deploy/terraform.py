"""deploy/aws/terraform, read with values in place of its variables, as far as these files use the language."""

from __future__ import annotations

import re
from typing import Any

import hcl2

from sandbox.aws import REGION
from sandbox.stack import ROOT
from tests.deploy.cloudformation import ACCOUNT, PARAMETERS

FOLDER = ROOT / "deploy" / "aws" / "terraform"
_GIVEN = {
    "sender_identity": PARAMETERS["SenderIdentity"],
    "sender_addresses": PARAMETERS["SenderAddresses"].split(","),
}
_DATA = {
    "data.aws_caller_identity.current.account_id": ACCOUNT,
    "data.aws_partition.current.partition": "aws",
    "data.aws_region.current.name": REGION,
}
_NAME = {"aws_sesv2_configuration_set": "configuration_set_name", "aws_s3_bucket": "bucket"}
_ARN = {
    "aws_dynamodb_table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{}}",
    "aws_sns_topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{{}}",
    "aws_sqs_queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}",
    "aws_s3_bucket": "arn:aws:s3:::{}",
}
_LEFT_OUT = ("__is_block__", "count", "dynamic", "validation")
_RESOURCE = re.compile(r"(aws_\w+)\.(\w+)(?:\[0\])?(?:\.(\w+))?")
_OBJECT = re.compile(r"jsonencode\(\{(.*)\}\)", re.DOTALL)
_CHOICE = re.compile(r"(.+?) \? (.+) : (.+)", re.DOTALL)


class Terraform:
    """The folder's files, everything in them wanted. :param variables: besides those without a default."""

    def __init__(self, **variables: Any) -> None:
        files = [hcl2.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.tf"))]
        blocks = [(kind, one) for file in files for kind in ("resource", "data") for one in file.get(kind, ())]
        self._blocks: dict[str, dict[str, dict[str, Any]]] = {}
        for _, block in blocks:
            for kind, named in block.items():
                for name, content in named.items():
                    self._blocks.setdefault(_unquoted(kind), {})[_unquoted(name)] = content
        self._locals = {name: value for file in files for one in file.get("locals", ()) for name, value in one.items()}
        self._item: Any = None
        found = {
            _unquoted(name): content
            for file in files
            for one in file.get("variable", ())
            for name, content in one.items()
        }
        self.defaults = {name: self._value(content.get("default")) for name, content in found.items()}
        self._variables = {**self.defaults, **_GIVEN, **variables}
        assert self._variables.keys() == found.keys()

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """All resources of one type, by name."""
        return {name: self._value(content) for name, content in self._blocks[kind].items()}

    def only(self, kind: str) -> dict[str, Any]:
        (one,) = self.resources(kind).values()
        return one

    def local(self, name: str) -> Any:
        return self._value(self._locals[name])

    def statements(self, name: str) -> dict[str, dict[str, Any]]:
        """A policy document's statements as IAM writes them, every value in a list; by their ids."""
        document = self._value(self._blocks["aws_iam_policy_document"][name])
        return {one["sid"]: _statement(one) for one in document["statement"]}

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            found = {_unquoted(name): self._value(each) for name, each in value.items()
                     if name not in _LEFT_OUT}  # fmt: skip
            for dynamic in value.get("dynamic", ()):
                for name, block in dynamic.items():
                    found[_unquoted(name)] = found.get(_unquoted(name), []) + self._repeated(block)
            return found
        if isinstance(value, list):
            return [self._value(each) for each in value]
        if not isinstance(value, str):
            return value
        if value.startswith('"'):
            text = re.sub(r'\\(["\\])', r"\1", _unquoted(value))
            return re.sub(r"\$\{([^}]+)\}", lambda match: str(self._expression(match[1])), text)
        return self._expression(value[2:-1]) if value.startswith("${") else value

    def _repeated(self, block: dict[str, Any]) -> list[Any]:
        (content,) = block["content"]
        self._item = block["for_each"][2:-1]
        if choice := _CHOICE.fullmatch(self._item):  # of nothing, and a list of one
            self._item = next(side for side in choice.groups()[1:] if side != "[]").strip("[]")
        return [self._value(content)]

    def _expression(self, text: str) -> Any:
        if text in _DATA:
            return _DATA[text]
        head, _, rest = text.partition(".")
        if head == "var":
            return self._variables[rest]
        if head == "local":
            return self.local(rest)
        if text in ("statement.value", "rule.value"):
            return self._expression(self._item)
        if text.startswith("statement.value."):
            return self._expression(f"{self._item}.{text.rpartition('.')[2]}")
        if encoded := _OBJECT.fullmatch(text):
            pairs = (pair.split("=") for pair in encoded[1].replace("\n", ",").split(",") if "=" in pair)
            return {name.strip(): self._expression(value.strip()) for name, value in pairs}
        if text.isdigit():
            return int(text)
        if found := _RESOURCE.fullmatch(text):
            kind, name, attribute = found.groups()
            own = (
                self._value(self._blocks[kind][name][_NAME.get(kind, "name")])
                if kind in _ARN or kind in _NAME
                else text
            )
            return _ARN[kind].format(own) if attribute == "arn" and kind in _ARN else own
        return text  # nothing that is compared


def _statement(one: dict[str, Any]) -> dict[str, Any]:
    condition: dict[str, dict[str, Any]] = {}
    for each in one.get("condition", ()):
        condition.setdefault(each["test"], {})[each["variable"]] = each["values"]
    found = {
        "Sid": one["sid"],
        "Effect": one.get("effect", "Allow"),
        "Action": one["actions"],
        "Resource": one["resources"],
    }
    for principal in one.get("principals", ()):
        (who,) = principal["identifiers"]
        found["Principal"] = who if principal["type"] == "*" else {principal["type"]: who}
    return found | ({"Condition": condition} if condition else {})


def _unquoted(text: str) -> str:
    return text[1:-1] if text.startswith('"') else text
