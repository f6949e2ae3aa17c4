"""Calls of an AWS client without what boto3 does around each of them: with it, most of the processor time of a mail.

A call of boto3 checks every argument against the service's description, evaluates endpoint rules, tells some twenty
events, composes a user agent and asks whether to repeat (measured with botocore 1.44: 0.95 ms of processor time for one
``SendEmail``, against 0.37 ms here). Here the client's own signer and its own connection pool do one request, and its
own parser reads a refusal. So credentials, region, proxies, time-outs, TLS settings and every error are the client's,
and so are the events ``before-sign`` and ``before-send``. Where to is learned from the first call, which is boto3's own:
the endpoint rules of a service may lead elsewhere than the client tells (FIPS endpoints in GovCloud, for one).

What is left out: botocore's repetitions (there is **one** request, whatever the client's configuration says), its check
of arguments (the service refuses bad ones by itself), and whatever wraps a client's methods (tracing, stubs).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import botocore
from botocore.awsrequest import AWSRequest
from botocore.endpoint import convert_to_response_dict
from botocore.parsers import create_parser

USER_AGENT = f"mailonce Boto3/{boto3.__version__} Botocore/{botocore.__version__}"
"""For a client's configuration: without one botocore composes it anew for every request, of the same thirty parts."""


def direct_call(client: Any, operation: str) -> Callable[..., Any]:
    """Return what takes the place of one of a client's methods: same arguments, same answer, same errors.

    :param client: a boto3 client. One that is not made as botocore makes them keeps its own method.
    :param operation: by its name in the API, as in ``SendEmail``. Its arguments must go over the wire as JSON just as
        they are: no bytes, no timestamps, nothing in the path or in headers.
    """
    try:
        return _DirectCall(client, operation)
    except AttributeError:
        method: Callable[..., Any] = getattr(client, _method_name(client, operation))
        return method


class _DirectCall:
    """One operation of one client; may be called from many threads."""

    def __init__(self, client: Any, operation: str) -> None:
        service = client.meta.service_model
        self._client = client
        self._operation = operation
        self._model = model = service.operation_model(operation)
        # No public way leads to these two. They are as old as boto3, and without them its own method is used.
        self._sign = client._request_signer.sign  # noqa: SLF001
        self._send = client._endpoint.http_session.send  # noqa: SLF001
        self._method = model.http["method"]
        self._own_method = getattr(client, _method_name(client, operation))
        self._url = ""
        self._protocol = service.resolved_protocol
        self._before_send = f"before-send.{service.service_id.hyphenize()}.{operation}"
        self._headers = {"User-Agent": client.meta.config.user_agent, **_headers(service, operation)}
        self._context = {
            "client_region": client.meta.region_name,
            "client_config": client.meta.config,
            "auth_type": model.resolved_auth_type,
        }
        client.meta.events.register_first(self._before_send, self._learn)

    def __call__(self, **arguments: Any) -> Any:
        if not self._url:
            return self._own_method(**arguments)
        body = json.dumps(arguments).encode()
        request: Any = AWSRequest(method=self._method, url=self._url, headers=self._headers, data=body)
        request.context = dict(self._context)
        self._sign(self._operation, request)
        prepared = request.prepare()
        _, answer = self._client.meta.events.emit_until_response(self._before_send, request=prepared)
        answer = answer or self._send(prepared)
        if answer.status_code < 300:
            try:
                return {**json.loads(answer.content), "ResponseMetadata": _metadata(answer)}
            except (ValueError, TypeError):
                pass  # cut off, or no JSON at all: botocore knows what to make of it
        return self._parsed(answer)

    def _learn(self, request: Any, **_: Any) -> None:
        self._url = request.url

    def _parsed(self, answer: Any) -> Any:
        response = convert_to_response_dict(answer, self._model)
        parser = create_parser(self._protocol)
        parsed = parser.parse(response, self._model.output_shape)
        if answer.status_code < 300:
            return parsed
        code = parsed.get("Error", {}).get("Code")
        if shape := self._client.meta.service_model.shape_for_error_code(code):
            parsed.update(parser.parse(response, shape))
        raise self._client.exceptions.from_code(code)(parsed, self._operation)


def _headers(service: Any, operation: str) -> dict[str, str]:
    if service.resolved_protocol == "json":
        return {
            "X-Amz-Target": f"{service.metadata['targetPrefix']}.{operation}",
            "Content-Type": f"application/x-amz-json-{service.metadata['jsonVersion']}",
        }
    return {"Content-Type": "application/json"}


def _metadata(answer: Any) -> dict[str, Any]:
    # The headers are found in whatever case they are asked for.
    return {"HTTPStatusCode": answer.status_code, "HTTPHeaders": answer.headers, "RetryAttempts": 0}


def _method_name(client: Any, operation: str) -> str:
    names: dict[str, str] = client.meta.method_to_api_mapping
    return next(method for method, name in names.items() if name == operation)
