"""Which calls of AWS does the code make, on what, and does a policy allow them?

Every request is seen where it is signed: boto3's own, those of mailonce.direct_calls, and those of S3's file system.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, unquote, urlsplit

from aiobotocore.signers import AioRequestSigner
from botocore.exceptions import ClientError
from botocore.signers import RequestSigner

from sandbox.aws import REGION
from tests.deploy.cloudformation import ACCOUNT

_ACTIONS = {
    # Where the permission has another name than the operation (Service Authorization Reference).
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
}


_KINDS = {"identities": "identity", "configuration-sets": "configuration-set", "templates": "template"}
_LOOPBACK = "doctor@example.invalid"
"""Who sends when the doctor counts requests: to a server of its own, and not to SES."""


@dataclass(frozen=True)
class Call:
    """One call, as IAM sees it. :param context: its condition keys."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()

    def allowed_by(self, statements: list[dict[str, Any]]) -> bool:
        return any(self._matches(statement) for statement in statements)

    def _matches(self, statement: Mapping[str, Any]) -> bool:
        context = dict(self.context)
        return (
            self.action in _many(statement["Action"])
            and any(fnmatchcase(self.resource, pattern) for pattern in _many(statement["Resource"]))
            and all(
                key in context and any(fnmatchcase(context[key], pattern) for pattern in _many(values))
                for test in statement.get("Condition", {}).values()
                for key, values in test.items()
            )
        )


@contextmanager
def recorded(may: list[dict[str, Any]] | None = None) -> Iterator[set[Call]]:
    """Gather the calls that this process makes meanwhile.

    :param may: the statements of its policies: what they do not allow is refused, as AWS would; None: all is allowed.
    """
    calls: set[Call] = set()
    blocking, waiting = RequestSigner.sign, AioRequestSigner.sign

    def see(signer: Any, operation: str, request: Any) -> None:
        for call in _calls(signer._signing_name, operation, request):
            calls.add(call)
            if may is not None and not call.allowed_by(may):
                code = "AccessDeniedException" if call.action.startswith(("dynamodb:", "ses:")) else "AccessDenied"
                error = {"Code": code, "Message": f"not authorized to perform {call.action} on {call.resource}"}
                raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": 403}}, operation)

    def sign(self: Any, operation_name: str, request: Any, *rest: Any, **more: Any) -> Any:
        see(self, operation_name, request)
        return blocking(self, operation_name, request, *rest, **more)

    async def sign_later(self: Any, operation_name: str, request: Any, *rest: Any, **more: Any) -> Any:
        see(self, operation_name, request)
        return await waiting(self, operation_name, request, *rest, **more)

    with patch.object(RequestSigner, "sign", sign), patch.object(AioRequestSigner, "sign", sign_later):
        yield calls


def written(calls: set[Call]) -> str:
    return json.dumps([asdict(call) for call in calls])


def read(text: str) -> set[Call]:
    return {Call(one["action"], one["resource"], tuple(map(tuple, one["context"]))) for one in json.loads(text)}


def _calls(service: str, operation: str, request: Any) -> Iterator[Call]:
    if service == "sts":  # who somebody is may be asked without a permission
        return
    action = _ACTIONS.get(f"{service}:{operation}", f"{service}:{operation}")
    yield from (Call(action, resource, context) for resource, context in _RESOURCES[service](request))


def _dynamodb(request: Any) -> Iterator[tuple[str, tuple[()]]]:
    body = json.loads(request.data)
    index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
    for name in body.get("RequestItems") or [body["TableName"]]:
        yield f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}{index}", ()


def _sqs(request: Any) -> Iterator[tuple[str, tuple[()]]]:
    yield f"arn:aws:sqs:{REGION}:{ACCOUNT}:{json.loads(request.data)['QueueUrl'].rpartition('/')[2]}", ()


def _sns(request: Any) -> Iterator[tuple[str, tuple[()]]]:
    yield _form(request).get("TopicArn") or _form(request)["TargetArn"], ()


def _iam(request: Any) -> Iterator[tuple[str, tuple[()]]]:
    form = _form(request)
    yield form.get("PolicySourceArn") or f"arn:aws:iam::{ACCOUNT}:role/{form['RoleName']}", ()


def _ses(request: Any) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    home = f"arn:aws:ses:{REGION}:{ACCOUNT}"
    path = [unquote(part) for part in urlsplit(request.url).path.split("/")[3:]]
    if path[0] == "outbound-emails":
        body = json.loads(request.data)
        sender = body["FromEmailAddress"].rpartition("<")[2].rstrip(">")
        if sender == _LOOPBACK:
            return
        context = (("ses:FromAddress", sender),)
        yield f"{home}:identity/{sender.rpartition('@')[2]}", context
        if name := body.get("ConfigurationSetName"):
            yield f"{home}:configuration-set/{name}", context
        if template := body["Content"].get("Template"):
            yield f"{home}:template/{template['TemplateName']}", context
    elif path[0] in ("account", "suppression"):
        yield "*", ()
    else:
        yield f"{home}:{_KINDS[path[0]]}/{path[1]}", ()


def _s3(request: Any) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    place = urlsplit(request.url)
    bucket, _, key = unquote(place.path).lstrip("/").partition("/")
    # boto3 adds the query to the address only after the request is signed.
    query = {**{name: value[0] for name, value in parse_qs(place.query).items()}, **(request.params or {})}
    if key:
        yield f"arn:aws:s3:::{bucket}/{key}", ()
    else:
        yield f"arn:aws:s3:::{bucket}", (("s3:prefix", query["prefix"]),) if "prefix" in query else ()


def _form(request: Any) -> dict[str, str]:
    if isinstance(request.data, dict):
        return dict(request.data)
    text = request.data.decode() if isinstance(request.data, bytes) else request.data
    return {name: value[0] for name, value in parse_qs(text).items()}


def _many(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


_RESOURCES: Mapping[str, Any] = {
    "dynamodb": _dynamodb,
    "sqs": _sqs,
    "sns": _sns,
    "iam": _iam,
    "ses": _ses,
    "s3": _s3,
}
