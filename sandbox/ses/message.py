"""Reads and checks the body of a SendEmail request: what the real service refuses is refused here."""

from __future__ import annotations

import base64
import email
import email.policy
import re
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from .errors import SesError, bad_request
from .fields import base64_field, list_field, object_field, text_field
from .records import Mail, bare_address
from .templates import MissingVariableError, checked_content, read_data, render

if TYPE_CHECKING:
    from .resources import Resources

TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
HEADER_NAME = re.compile(r"[!-9;-~]{1,126}")
HEADER_VALUE = re.compile(r"[ -~]{1,870}")
LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
DOMAIN = re.compile(r"(?=.{1,255}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
MAX_HEADERS = 15
MAX_RECIPIENTS = 50
MAX_TAGS = 50


def read_send_email(document: dict[str, Any], resources: Resources, region: str) -> Mail:
    """The mail that the request asks for, still without id and time. Raises SesError if it is refused."""
    content = object_field(document, "Content")
    kinds = [kind for kind in ("Simple", "Raw", "Template") if content.get(kind) is not None]
    if len(kinds) != 1:
        raise bad_request("Content must have exactly one of Simple, Raw and Template.")
    destination = object_field(document, "Destination", required=False)
    mail = Mail(
        message_id="",
        accepted_at="",
        from_address=text_field(document, "FromEmailAddress"),
        to=_addresses(destination, "ToAddresses"),
        cc=_addresses(destination, "CcAddresses"),
        bcc=_addresses(destination, "BccAddresses"),
        reply_to=_addresses(document, "ReplyToAddresses"),
        tags=_tags(document),
        configuration_set=text_field(document, "ConfigurationSetName") or None,
        region=region,
    )
    part = object_field(content, kinds[0])
    {"Simple": _read_simple, "Raw": _read_raw, "Template": _read_template}[kinds[0]](mail, part, resources)
    _check_addresses(mail)
    if mail.configuration_set:
        resources.check_set_may_send(mail.configuration_set)
    if not resources.may_send_as(mail.from_address):
        raise SesError(
            "MessageRejected",
            "Email address is not verified. The following identities failed the check in region "
            f"{region.upper()}: {mail.from_address}",
        )
    return mail


def _read_simple(mail: Mail, part: dict[str, Any], resources: Resources) -> None:
    del resources
    body = object_field(part, "Body")
    mail.subject = _content(object_field(part, "Subject"), "Subject")
    if body.get("Text") is not None:
        mail.text = _content(object_field(body, "Text"), "Text")
    if body.get("Html") is not None:
        mail.html = _content(object_field(body, "Html"), "Html")
    if mail.text is None and mail.html is None:
        raise bad_request("The body must have a text part or an HTML part.")
    mail.headers = _headers(part)
    mail.attachments = _attachments(part)


def _read_template(mail: Mail, part: dict[str, Any], resources: Resources) -> None:
    name = text_field(part, "TemplateName") or text_field(part, "TemplateArn").rpartition("/")[2]
    if name:
        content = resources.template(name).content
    elif part.get("TemplateContent") is not None:
        content = checked_content(part["TemplateContent"])
    else:
        raise bad_request("Template must have a TemplateName, a TemplateArn or a TemplateContent.")
    mail.template_name = name or None
    mail.template_data = read_data(part.get("TemplateData"))
    mail.headers = _headers(part)
    mail.attachments = _attachments(part)
    try:
        rendered = render(content, mail.template_data)
    except MissingVariableError as error:
        # The real service accepts such a mail, and says later, in an event, that it did not send it.
        mail.rendering_error = error.message
        return
    mail.subject = rendered.get("Subject", "")
    mail.text, mail.html = rendered.get("Text"), rendered.get("Html")


def _read_raw(mail: Mail, part: dict[str, Any], resources: Resources) -> None:
    del resources
    source = base64_field(part, "Data")
    message = email.message_from_bytes(source, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    mail.raw = base64.b64encode(source).decode()
    try:
        mail.headers = [{"name": name, "value": str(value)} for name, value in message.items()]
        mail.subject = str(message.get("Subject", ""))
        mail.from_address = mail.from_address or str(message.get("From", ""))
        if not mail.recipients:
            mail.to, mail.cc = _header_addresses(message, "To"), _header_addresses(message, "Cc")
            mail.bcc = _header_addresses(message, "Bcc")
        mail.reply_to = mail.reply_to or _header_addresses(message, "Reply-To")
        text, html = message.get_body(("plain",)), message.get_body(("html",))
        mail.text = text.get_content() if text else None
        mail.html = html.get_content() if html else None
    except (LookupError, ValueError, AttributeError, IndexError) as error:
        raise bad_request(f"The raw message cannot be read: {error}") from None
    mail.configuration_set = mail.configuration_set or message.get("X-SES-CONFIGURATION-SET") or None
    for pair in str(message.get("X-SES-MESSAGE-TAGS", "")).split(","):
        name, equals, value = pair.strip().partition("=")
        if equals and TAG.fullmatch(name) and TAG.fullmatch(value):
            mail.tags.setdefault(name, value)
    for attachment in message.iter_attachments():
        content = attachment.get_payload(decode=True)
        mail.attachments.append(
            {
                "name": attachment.get_filename() or "",
                "type": attachment.get_content_type(),
                "size": len(content) if isinstance(content, bytes) else 0,
            }
        )


def _header_addresses(message: EmailMessage, name: str) -> list[str]:
    header = message.get(name)
    return [str(address) for address in header.addresses] if header is not None else []


def _check_addresses(mail: Mail) -> None:
    if not mail.from_address:
        raise bad_request("FromEmailAddress is missing.")
    if not mail.recipients:
        raise bad_request("There must be at least one destination.")
    if len(mail.recipients) > MAX_RECIPIENTS:
        raise bad_request(f"Recipient count exceeds {MAX_RECIPIENTS}.")
    for address in (mail.from_address, *mail.to, *mail.cc, *mail.bcc, *mail.reply_to):
        _check_address(address)


def _check_address(address: str) -> None:
    if any(ord(character) < 32 or ord(character) == 127 for character in address):
        raise bad_request("An address contains control characters.")
    local_part, at_sign, domain = bare_address(address).rpartition("@")
    if not at_sign:
        raise bad_request("Missing final '@domain'")
    if not local_part.isascii():
        raise bad_request("Local part of an address contains non-ASCII characters.")
    if not LOCAL_PART.fullmatch(local_part):
        raise bad_request("Local part of an address is empty, too long or contains whitespace.")
    if not DOMAIN.fullmatch(domain):
        raise bad_request("Domain of an address is malformed; a non-ASCII domain must be in Punycode.")


def _addresses(parent: dict[str, Any], name: str) -> list[str]:
    addresses = list_field(parent, name)
    if not all(isinstance(address, str) for address in addresses):
        raise bad_request(f"{name} must be a list of texts.")
    return addresses


def _content(part: dict[str, Any], name: str) -> str:
    data = part.get("Data")
    if not isinstance(data, str):
        raise bad_request(f"Data of {name} is missing.")
    try:
        # Without a charset the real service takes 7-bit ASCII, and other characters arrive as "?".
        charset = text_field(part, "Charset") or "ascii"
        return data.encode(charset, errors="replace").decode(charset)
    except (LookupError, ValueError):
        raise bad_request(f"Charset of {name} is unknown.") from None


def _tags(document: dict[str, Any]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for tag in list_field(document, "EmailTags"):
        name, value = (tag.get("Name"), tag.get("Value")) if isinstance(tag, dict) else (None, None)
        for text in (name, value):
            if not isinstance(text, str) or not TAG.fullmatch(text):
                raise bad_request("Names and values of tags must be 1 to 256 ASCII letters, digits, '_' and '-'.")
        if name in tags:
            raise bad_request(f"Tag {name} is given more than once.")
        tags[str(name)] = str(value)
    if len(tags) > MAX_TAGS:
        raise bad_request(f"There are more than {MAX_TAGS} tags.")
    return tags


def _headers(part: dict[str, Any]) -> list[dict[str, str]]:
    headers = list_field(part, "Headers")
    if len(headers) > MAX_HEADERS:
        raise bad_request(f"There are more than {MAX_HEADERS} headers.")
    checked = []
    for header in headers:
        name, value = (header.get("Name"), header.get("Value")) if isinstance(header, dict) else (None, None)
        if not isinstance(name, str) or not HEADER_NAME.fullmatch(name):
            raise bad_request("The name of a header is missing or malformed.")
        if not isinstance(value, str) or not HEADER_VALUE.fullmatch(value):
            raise bad_request(f"The value of header {name} must be 1 to 870 printable ASCII characters.")
        checked.append({"name": name, "value": value})
    return checked


def _attachments(part: dict[str, Any]) -> list[dict[str, Any]]:
    attachments = []
    for attachment in list_field(part, "Attachments"):
        if not isinstance(attachment, dict) or not text_field(attachment, "FileName"):
            raise bad_request("FileName of an attachment is missing.")
        attachments.append(
            {
                "name": attachment["FileName"],
                "type": text_field(attachment, "ContentType"),
                "size": len(base64_field(attachment, "RawContent")),
            }
        )
    return attachments
