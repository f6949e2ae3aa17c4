"""Stored e-mail templates with simple `{{name}}` and `{{customer.name}}` variables.

Blocks and helpers of the template language are refused, not silently left out.
"""

from __future__ import annotations

import json
import re
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any

from .errors import SesError, bad_request

VARIABLE = re.compile(r"\{\{\{\s*(?P<triple>[^{}]*?)\s*\}\}\}|\{\{\s*(?P<double>[^{}]*?)\s*\}\}")
SIMPLE_NAME = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")
PARTS = ("Subject", "Text", "Html")


class MissingVariableError(SesError):
    """The template data lack a variable that the template uses."""

    def __init__(self, name: str) -> None:
        super().__init__("BadRequestException", f"Attribute '{name}' is not present in the rendering data.")


def checked_content(content: object) -> dict[str, str]:
    """A template's parts, checked: texts, not all empty, and nothing but simple variables."""
    if not isinstance(content, dict):
        raise bad_request("TemplateContent must be an object.")
    parts = {part: content[part] for part in PARTS if content.get(part) is not None}
    if not parts:
        raise bad_request("The template must have a subject, a text part or an HTML part.")
    for part, text in parts.items():
        if not isinstance(text, str):
            raise bad_request(f"{part} of the template must be a text.")
        for match in VARIABLE.finditer(text):
            name = match["double"] if match["triple"] is None else match["triple"]
            if not SIMPLE_NAME.fullmatch(name):
                raise bad_request(
                    f"'{{{{{name}}}}}': the stand-in renders simple variables only, no blocks or helpers."
                )
    return parts


def read_data(text: object) -> dict[str, Any]:
    """TemplateData as an object. Left out means empty."""
    try:
        data = json.loads(text) if isinstance(text, str) else {} if text is None else None
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise bad_request("Template rendering data is invalid: it must be a JSON object.")
    return data


def render(content: dict[str, str], data: dict[str, Any]) -> dict[str, str]:
    """The parts with their variables filled in. As with the real service, nothing is escaped."""

    def value(match: re.Match[str]) -> str:
        name = match["double"] if match["triple"] is None else match["triple"]
        found: Any = data
        for step in name.split("."):
            if not isinstance(found, dict) or step not in found:
                raise MissingVariableError(name)
            found = found[step]
        if isinstance(found, bool) or found is None:
            return json.dumps(found)
        return found if isinstance(found, str) else json.dumps(found)

    return {part: VARIABLE.sub(value, text) for part, text in content.items()}


def rendered_message(parts: dict[str, str]) -> str:
    """The rendered parts as the MIME message that TestRenderEmailTemplate gives back."""
    message = EmailMessage(policy=SMTP)
    message["Date"] = formatdate()
    message["Subject"] = " ".join(parts.get("Subject", "").splitlines())
    message.set_content(parts.get("Text", ""))
    if "Html" in parts:
        message.add_alternative(parts["Html"], subtype="html")
    return message.as_string()
