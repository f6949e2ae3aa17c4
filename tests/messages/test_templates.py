from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.errors import InvalidInput
from mailonce.messages.message import Message
from mailonce.messages.templates import Templates, money, quantity

WHO = {"sender": "Billing <billing@example.com>", "to": "ann@example.com"}


def render(subject: str = "Your month", text: str = "", html: str = "", headers: str = "", **fields: Any) -> Message:
    templates = Templates.inline("usage", subject=subject, text=text or "plain", html=html, headers=headers)
    return templates.message(fields, **WHO)


def folder(tmp_path: Path, **files: str | bytes) -> Path:
    home = tmp_path / "usage"
    home.mkdir(exist_ok=True)
    defaults: dict[str, str | bytes] = {"subject_txt": "Your month", "body_txt": "plain"}
    for name, content in {**defaults, **files}.items():
        data = content if isinstance(content, bytes) else content.encode()
        (home / f"{name.replace('_', '.')}.j2").write_bytes(data)
    return tmp_path


class TestRendering:
    def test_every_part_is_filled_in(self) -> None:
        mail = render(
            "{{ name }}'s month", "{{ units }} units", "<b>{{ units }}</b>", "X-Units: {{ units }}", name="Ann", units=3
        )
        assert (mail.subject, mail.text, mail.html, mail.headers) == (
            "Ann's month",
            "3 units",
            "<b>3</b>",
            {"X-Units": "3"},
        )

    def test_html_is_escaped_and_plain_parts_are_not(self) -> None:
        name = "<b>O'Hara & Söhne</b>"
        mail = render("{{ name }}", "{{ name }}", "{{ name }}", "X-Plan: {{ plan }}", name=name, plan="<a&b>")
        assert (mail.subject, mail.text, mail.headers["X-Plan"]) == (name, name, "<a&b>")
        assert mail.html == "&lt;b&gt;O&#39;Hara &amp; Söhne&lt;/b&gt;"

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_no_value_brings_a_tag_into_html(self, value: str) -> None:
        assert "<" not in render(html="{{ value }}|", value=value).html

    @pytest.mark.parametrize("part", ["footer.j2", "footer.html.j2", "footer"])
    def test_an_included_file_is_escaped_whatever_its_name(self, tmp_path: Path, part: str) -> None:
        root = folder(tmp_path, body_html="{% include '" + part + "' %}")
        (root / "usage" / part).write_text("{{ name }}")
        mail = Templates.of_campaign("usage", root).message({"name": "<script>"}, **WHO)
        assert mail.html == "&lt;script&gt;"

    def test_an_included_plain_file_is_not_escaped(self, tmp_path: Path) -> None:
        root = folder(tmp_path, body_txt="{% include 'footer.txt.j2' %}", footer_txt="{{ name }}")
        assert Templates.of_campaign("usage", root).message({"name": "A & B"}, **WHO).text == "A & B"

    def test_a_template_may_extend_its_neighbour(self, tmp_path: Path) -> None:
        root = folder(
            tmp_path,
            layout_html="<p>{% block body %}{% endblock %}</p>",
            body_html="{% extends 'layout.html.j2' %}{% block body %}{{ units }}{% endblock %}",
        )
        assert Templates.of_campaign("usage", root).message({"units": 3}, **WHO).html == "<p>3</p>"

    def test_a_value_is_never_a_template(self) -> None:
        assert render(text="{{ name }}", name="{{ 7 * 7 }}").text == "{{ 7 * 7 }}"


class TestValuesThatBreakOut:
    @pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028", "\t", "  "])
    def test_a_line_break_in_the_subject_is_a_blank(self, break_: str) -> None:
        assert render("{{ name }}", name=f"Ann{break_}Bcc: eve@example.com").subject == "Ann Bcc: eve@example.com"

    @pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028", "\x00"])
    def test_a_line_break_in_a_header_is_refused(self, break_: str) -> None:
        with pytest.raises(InvalidInput, match="header X-Name: holds a line break"):
            render(headers="X-Name: {{ name }}", name=f"Ann{break_}Bcc: eve@example.com")

    def test_a_null_character_in_the_subject_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match="subject: holds a line break or another control"):
            render("{{ name }}", name="Ann\x00")

    def test_no_value_adds_a_header(self) -> None:
        mail = render(headers="X-One: {{ name | urlencode }}\nX-Two: 2", name="a\nX-Three: 3")
        assert mail.headers == {"X-One": "a%0AX-Three%3A%203", "X-Two": "2"}


class TestSandbox:
    @pytest.mark.parametrize(
        "expression",
        [
            "name.__class__",
            "name.__class__.__mro__[1].__subclasses__()",
            "name['__class__']",
            "name|attr('__class__')",
            "''.__class__.__base__",
            "self.__init__.__globals__",
            "lipsum.__globals__['os'].popen('id').read()",
            "cycler.__init__.__globals__",
            "'{0.__class__.__init__.__globals__}'.format(name)",
            "rows.append(1)",
            "range(10 ** 9) | list | length",
            "undefined_name",
            "name.missing",
            "rows[9]",
            "1 / 0",
            "nothing",
            "name | money('EUR')",
        ],
    )
    @pytest.mark.parametrize("part", ["subject", "text", "html", "headers"])
    def test_what_a_template_may_not_or_cannot_do(self, part: str, expression: str) -> None:
        file = {"subject": "subject.txt", "text": "body.txt", "html": "body.html", "headers": "headers.txt"}[part]
        source = f"{'X-Name: ' if part == 'headers' else ''}{{{{ {expression} }}}}|"
        rows: list[int] = []
        with pytest.raises(InvalidInput) as caught:
            render(**{part: source}, name="Ann", rows=rows, nothing=None)
        assert caught.value.field == f"template usage/{file}.j2"
        assert rows == []

    @pytest.mark.parametrize(
        "path", ["../secret.txt", "../../etc/passwd", "/etc/passwd", "./../secret.txt", "..\\secret.txt"]
    )
    @pytest.mark.parametrize(
        "how", ["{% include '@' %}", "{% extends '@' %}", "{% import '@' as x %}", "{% include name %}"]
    )
    def test_no_file_outside_the_folder_is_read(self, tmp_path: Path, how: str, path: str) -> None:
        (tmp_path / "secret.txt").write_text("secret")
        root = folder(tmp_path, body_txt=how.replace("@", path.replace("\\", "\\\\")))
        with pytest.raises(InvalidInput, match=r"template usage/body.txt.j2"):
            Templates.of_campaign("usage", root).message({"name": path}, **WHO)

    def test_a_null_may_be_asked_for_but_not_printed(self) -> None:
        assert render(text="{% if plan is none %}no plan{% endif %}", plan=None).text == "no plan"
        with pytest.raises(InvalidInput, match=r"empty \(NULL\)"):
            render(text="{{ plan }}", plan=None)

    def test_an_enormous_part_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match=r"body.txt.j2: 5000001 characters long"):
            render(text="{{ name }}", name="x" * 5_000_001)


class TestFiles:
    @pytest.mark.parametrize("campaign", ["", "..", "a/b", "../usage", "usage\n", "a b", "/usage", "x" * 101, "ünsage"])
    def test_names_that_are_no_campaign(self, tmp_path: Path, campaign: str) -> None:
        with pytest.raises(InvalidInput, match="cannot be the name of a campaign"):
            Templates.of_campaign(campaign, folder(tmp_path))

    @pytest.mark.parametrize(
        ("files", "field", "reason"),
        [
            ({"subject_txt": ""}, "subject.txt.j2", "missing or empty"),
            ({"subject_txt": " \n"}, "subject.txt.j2", "missing or empty"),
            ({"body_txt": ""}, "body.html.j2", "neither an HTML nor a plain body"),
            ({"body_txt": "{{ units"}, "body.txt.j2", "line 1: "),
            ({"body_html": "\n\n{% if units %}"}, "body.html.j2", "line 3: Unexpected end of template"),
            (
                {"body_html": "<p>\n{{ units | nosuchfilter }}"},
                "body.html.j2",
                "line 2: No filter named 'nosuchfilter'",
            ),
            ({"subject_txt": "{% nosuchtag %}"}, "subject.txt.j2", "line 1: Encountered unknown tag"),
            ({"body_txt": "Grüße".encode("latin-1")}, "body.txt.j2", "not UTF-8"),
            ({"subject_txt": b"\xff\xfe"}, "subject.txt.j2", "not UTF-8"),
            ({"headers_txt": b"X-A: \xff"}, "headers.txt.j2", "not UTF-8"),
            ({"headers_txt": "\n\nX-A: 1\nno colon"}, "headers.txt.j2", "line 4 is not of the form"),
            ({"headers_txt": "X-A: 1\nX-B: {{ units"}, "headers.txt.j2", "line 2: "),
            ({"headers_txt": "X-A: 1\nx-a: 2"}, "headers.txt.j2", "line 2 gives x-a a second time"),
        ],
    )
    def test_a_wrong_file_is_named(self, tmp_path: Path, files: dict[str, Any], field: str, reason: str) -> None:
        root = folder(tmp_path, **files)
        with pytest.raises(InvalidInput, match=reason) as caught:
            Templates.of_campaign("usage", root)
        assert caught.value.field == f"template usage/{field}"

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match=r"template nosuch/subject.txt.j2: the file is missing"):
            Templates.of_campaign("nosuch", tmp_path)

    def test_lines_of_the_header_template(self) -> None:
        mail = render(headers="\n{# a comment: skipped #}\n\nX-A:  one: two \n X-B :{{ b }}", b=2)
        assert mail.headers == {"X-A": "one: two", "X-B": "2"}

    def test_one_body_is_enough(self) -> None:
        only_html = Templates.inline("usage", subject="s", html="<p>").message({}, **WHO)
        assert (only_html.text, only_html.html) == ("", "<p>")


class TestFilters:
    @pytest.mark.parametrize(
        ("amount", "currency", "shown"),
        [
            (Decimal("1234.5"), "EUR", "€1,234.50"),
            (1234.5, "USD", "$1,234.50"),
            ("0", "EUR", "€0.00"),
            (Decimal("-3.10"), "GBP", "-£3.10"),
            (1234, "JPY", "¥1,234"),
            (Decimal("1.234"), "KWD", "KWD1.234"),
            (Decimal("123456789012345678.91"), "EUR", "€123,456,789,012,345,678.91"),
        ],
    )
    def test_money(self, amount: Any, currency: str, shown: str) -> None:
        assert money(amount, currency) == shown

    @pytest.mark.parametrize(
        ("number", "digits", "shown"),
        [(1234567, 0, "1,234,567"), (Decimal("1.005"), 2, "1.00"), (0.5, 1, "0.5"), (-7, 0, "-7"), ("12", 3, "12.000")],
    )
    def test_quantity(self, number: Any, digits: int, shown: str) -> None:
        assert quantity(number, digits) == shown

    @pytest.mark.parametrize("value", [None, "", "abc", "1,2", True, [], "NaN", float("inf"), Decimal("-Infinity")])
    def test_what_is_no_number_is_not_printed_as_one(self, value: Any) -> None:
        for filter_ in ("money('EUR')", "quantity", "quantity(2)"):
            with pytest.raises(InvalidInput, match=r"template usage/body.html.j2: ValueError: .* is not a number"):
                render(html="{{ value | " + filter_ + " }}", value=value)

    @pytest.mark.parametrize("currency", [None, "", "euro", "<b>", "ZZZ", 978])
    def test_what_is_no_currency_is_refused(self, currency: Any) -> None:
        with pytest.raises(InvalidInput, match="is not a currency of ISO 4217"):
            render(text="{{ 3 | money(currency) }}", currency=currency)

    def test_a_missing_amount_is_named(self) -> None:
        with pytest.raises(InvalidInput, match=r"body.txt.j2: 'total' is undefined. Give every row this field"):
            render(text="{{ total | money('EUR') }}")
