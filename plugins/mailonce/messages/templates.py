"""A mail's content from Jinja templates, rendered in the sandbox with nothing undefined and nothing empty.

A campaign's folder holds ``subject.txt.j2`` and ``body.html.j2`` or ``body.txt.j2`` or both, and, if wanted,
``headers.txt.j2`` with one ``Name: value`` a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import jinja2
from babel.numbers import format_currency, format_decimal, is_currency
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mailonce.errors import InvalidInput
from mailonce.messages.message import Message

MAXIMUM_RENDERED = 5_000_000
"""Longest part in characters. A mail of more than 10 MB is refused by SES by default, and cut by mail clients long before."""

_CAMPAIGN = re.compile(r"[A-Za-z0-9_-]{1,100}")
_BLANKS = re.compile(r"\s+")


class Templates:
    """The templates of one mail.

    :param name: what to call them in a complaint: the campaign.
    :param loader: where Jinja finds the files; templates may extend and include their neighbours.
    :raises mailonce.errors.InvalidInput: a file is missing, or not a valid template.
    """

    def __init__(self, name: str, loader: jinja2.BaseLoader) -> None:
        self.name = name
        self._environment = _environment(loader)
        if not self._source("subject.txt.j2"):
            raise self._wrong("subject.txt.j2", "the file is missing or empty")
        if not (self._source("body.html.j2") or self._source("body.txt.j2")):
            raise self._wrong("body.html.j2", "there is neither an HTML nor a plain body")
        self._subject = self._template("subject.txt.j2")
        self._html = self._template("body.html.j2")
        self._text = self._template("body.txt.j2")
        self._headers = dict(self._header_templates())

    @classmethod
    def of_campaign(cls, name: str, root: Path) -> Templates:
        """Return the templates in the folder ``root/name``."""
        if not _CAMPAIGN.fullmatch(name):
            raise InvalidInput(
                field="campaign",
                reason=f"{name!r} cannot be the name of a campaign",
                remedy="Use letters, digits, hyphens and underscores; it is also its folder's name",
            )
        return cls(name, jinja2.FileSystemLoader(root / name))

    @classmethod
    def inline(cls, name: str, *, subject: str, text: str = "", html: str = "", headers: str = "") -> Templates:
        """Return templates given as text."""
        files = {"subject.txt.j2": subject, "body.txt.j2": text, "body.html.j2": html, "headers.txt.j2": headers}
        return cls(name, jinja2.DictLoader(files))

    def message(self, fields: Mapping[str, Any], *, sender: str, to: str, reply_to: tuple[str, ...] = ()) -> Message:
        """Render the mail of one recipient.

        :param fields: what the templates may use.
        :raises mailonce.errors.InvalidInput: a template needs what ``fields`` lacks, or a value breaks a header.
        """
        return Message(
            sender=sender,
            to=to,
            reply_to=reply_to,
            # A line break that comes with a value is a blank to a reader, and must not end the header.
            subject=_BLANKS.sub(" ", self._render(self._subject, "subject.txt.j2", fields)).strip(),
            html=self._render(self._html, "body.html.j2", fields),
            text=self._render(self._text, "body.txt.j2", fields),
            headers={name: self._render(value, "headers.txt.j2", fields) for name, value in self._headers.items()},
        )

    def _source(self, file: str) -> str | None:
        loader = self._environment.loader
        try:
            text = loader.get_source(self._environment, file)[0] if loader else ""
            return text if text.strip() else None
        except jinja2.TemplateNotFound:
            return None
        except UnicodeDecodeError as error:
            raise self._wrong(file, f"it is not UTF-8 ({error.reason})") from error

    def _template(self, file: str) -> jinja2.Template | None:
        if self._source(file) is None:
            return None
        try:
            return self._environment.get_template(file)
        except jinja2.TemplateSyntaxError as error:
            raise self._wrong(file, f"line {error.lineno}: {error.message}") from error

    def _header_templates(self) -> Iterator[tuple[str, jinja2.Template]]:
        # Split into headers before rendering, so that no value can add one.
        seen: set[str] = set()
        for number, line in enumerate((self._source("headers.txt.j2") or "").splitlines(), start=1):
            name, colon, value = line.partition(":")
            if line.strip().startswith("{#") or not line.strip():
                continue
            if not colon:
                raise self._wrong("headers.txt.j2", f"line {number} is not of the form Name: value")
            if name.strip().lower() in seen:
                raise self._wrong("headers.txt.j2", f"line {number} gives {name.strip()} a second time")
            seen.add(name.strip().lower())
            try:
                yield name.strip(), self._environment.from_string(value.strip())
            except jinja2.TemplateSyntaxError as error:
                raise self._wrong("headers.txt.j2", f"line {number}: {error.message}") from error

    def _render(self, template: jinja2.Template | None, file: str, fields: Mapping[str, Any]) -> str:
        if template is None:
            return ""
        try:
            text = template.render(fields)
        except jinja2.UndefinedError as error:
            raise self._wrong(
                file, str(error.message), "Give every row this field, or let the template do without"
            ) from error
        except Exception as error:
            # The sandbox's refusals, and whatever an expression of the template raises on this row's values.
            raise self._wrong(
                file, f"{type(error).__name__}: {error}", "Mend the template, or this row's values"
            ) from error
        if len(text) > MAXIMUM_RENDERED:
            raise self._wrong(
                file, f"{len(text)} characters long, more than {MAXIMUM_RENDERED}", "Shorten this row's values"
            )
        return text

    def _wrong(self, file: str, reason: str, remedy: str = "Mend it") -> InvalidInput:
        return InvalidInput(field=f"template {self.name}/{file}", reason=reason, remedy=remedy)


def _environment(loader: jinja2.BaseLoader) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=loader,
        # In a folder that only this user may enter: a task a recipient would compile the same templates each time.
        bytecode_cache=_bytecode_cache(),
        # Everything in a file is escaped, an included one without a telling name too, but plain text and headers.
        autoescape=lambda name: name is not None and ".txt" not in name,
        undefined=jinja2.StrictUndefined,
        finalize=_something,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(money=money, quantity=quantity)
    # What only a correction is given: no template need ask first whether it is one.
    environment.globals.update(is_correction=False, original_sent_at=None)
    return environment


def _bytecode_cache() -> jinja2.BytecodeCache | None:
    try:
        return jinja2.FileSystemBytecodeCache()
    except (RuntimeError, OSError):
        return None  # no folder that is safely ours: compile each time


def _something(value: Any) -> Any:
    """Refuse to print a NULL of the database as "None"; a template may still ask whether a field is none."""
    if value is None:
        raise ValueError("a field that is printed here is empty (NULL)")
    return value


def money(amount: object, currency: str) -> str:
    """Filter: an amount in a currency as people write it, ``1234.5`` and ``EUR`` give ``€1,234.50``."""
    if not is_currency(str(currency)):
        raise ValueError(f"{currency!r} is not a currency of ISO 4217")
    return format_currency(_number(amount), currency, locale="en_US")


def quantity(number: object, digits: int = 0) -> str:
    """Filter: a number with separators and so many digits after the point."""
    places = "." + "0" * digits if digits else ""
    return format_decimal(_number(number), format=f"#,##0{places}", locale="en_US")


def _number(value: object) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is not a number") from error
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a number")
    return number
