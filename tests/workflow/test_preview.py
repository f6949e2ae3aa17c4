"""Rendered samples, and the page that shows them."""

from __future__ import annotations

import json
import logging
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mailonce.delivery import Conclusion
from mailonce.messages.rows import Row, read_row
from mailonce.messages.templates import Templates
from mailonce.states import State
from mailonce.workflow.plan import Allowance, Plan, PlanLine, compare
from mailonce.workflow.preview import AT_EACH_END, AT_RANDOM, Sampler, preview_all, write_preview
from mailonce.workflow.snapshot import PlannedRow
from tests.fake_ledger import MemoryLedger
from tests.fakes import make_claim

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*1234567 }}'


def makers(maker: Any, *rows: dict[str, Any]) -> list[Any]:
    return [partial(lambda raw: maker.delivery(read_row(raw)), raw) for raw in rows]


class TestOfATask:
    def test_counts_are_by_plan_and_the_ledger_is_only_read(self, maker: Any, make_row: Any) -> None:
        ledger = MemoryLedger()
        sent, changed = (
            maker.delivery(read_row(make_row("sent"))),
            maker.delivery(read_row(make_row("changed", units=1))),
        )
        for delivery in (sent, changed):
            claim = make_claim(delivery)
            ledger.claim(claim)
            ledger.conclude(delivery.key, claim.token, Conclusion(state=State.SENT, message_id="m"))
        before = list(ledger.moves)
        ledger.calls.clear()
        rows = (make_row("new"), make_row("sent"), make_row("changed"), make_row("bad", units=None))
        counts = preview_all(makers(maker, *rows), ledger)
        assert counts == {"new": 1, "already sent": 1, "content changed since it was sent": 1, "invalid": 1}
        assert ledger.calls == ["find"], "once for all"
        assert ledger.moves == before

    def test_what_is_invalid_is_named(self, maker: Any, make_row: Any, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            preview_all(makers(maker, make_row("C-9", units=None)), MemoryLedger())
        assert "row C-9, field template usage/body.txt.j2" in caplog.text


def line(number: int, plan: Plan = Plan.NEW) -> PlanLine:
    # Keys in an order of their own, as digests are.
    key = f"{number * 7919 % 100_003:016x}{number:048x}"
    row = Row(recipient_id=f"C-{number}", email="a@example.com", fields={})
    return PlanLine(recipient_id=row.recipient_id, plan=plan, planned=PlannedRow(key=key, fingerprint="f", row=row))


def ids(sampler: Sampler) -> list[str]:
    return [sample.planned.row.recipient_id for sample in sampler.chosen]


class TestSamples:
    @pytest.mark.parametrize("count", [0, 1, 99, 100])
    def test_few_are_all_chosen_in_order(self, count: int) -> None:
        sampler = Sampler()
        for number in range(count):
            sampler.heed(line(number))
        assert ids(sampler) == [f"C-{number}" for number in range(count)]

    def test_of_many_the_ends_and_some_at_random(self) -> None:
        sampler = Sampler()
        lines = [line(number) for number in range(5000)]
        for each in lines:
            sampler.heed(each)
        chosen = ids(sampler)
        assert len(set(chosen)) == len(chosen)
        smallest = sorted(lines, key=lambda each: each.planned.key if each.planned else "")[:AT_RANDOM]
        ends = {f"C-{number}" for number in (*range(AT_EACH_END), *range(5000 - AT_EACH_END, 5000))}
        assert set(chosen) == ends | {each.recipient_id for each in smallest}

    def test_one_of_each_plan_however_rare(self) -> None:
        sampler = Sampler()
        for number in range(1000):
            rare = {500: Plan.IN_DOUBT, 501: Plan.CONTENT_CHANGED, 502: Plan.IN_DOUBT}
            sampler.heed(line(number, rare.get(number, Plan.ALREADY_SENT)))
        assert {"C-500", "C-501"} <= set(ids(sampler))
        assert {sample.plan for sample in sampler.chosen} == {Plan.ALREADY_SENT, Plan.IN_DOUBT, Plan.CONTENT_CHANGED}

    def test_more_are_all_chosen_when_a_run_names_them(self) -> None:
        sampler = Sampler(all_up_to=500)
        for number in range(500):
            sampler.heed(line(number))
        assert len(ids(sampler)) == 500

    def test_who_is_not_mailed_has_nothing_to_render(self) -> None:
        sampler = Sampler()
        sampler.heed(PlanLine(recipient_id="bad", plan=Plan.INVALID, why="email: empty"))
        assert sampler.chosen == []


class Page(HTMLParser):
    """Collects the elements and the visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def previewed(snapshot: Any, maker: Any, ledger: Any = None, allowance: Allowance | None = None) -> Path:
    sampler = Sampler()
    summary = compare(snapshot, ledger or MemoryLedger(), allowance=allowance, heed=sampler.heed)
    assert write_preview(snapshot, summary, maker, sampler.chosen) == len(sampler.chosen)
    return Path(snapshot.uri.removeprefix("file://")) / "preview"


class TestFiles:
    def test_rendered_mails_lie_below_the_snapshot_named_by_key(
        self, write: Any, maker: Any, make_row: Any, tmp_path: Path
    ) -> None:
        row = make_row("../../escape")
        home = previewed(write(row), maker)
        delivery = maker.delivery(read_row(row))
        files = {file.name for file in home.iterdir()}
        assert files == {"index.html", f"{delivery.key}.json", f"{delivery.key}.txt"}
        assert not list(tmp_path.rglob("*escape*"))
        assert (home / f"{delivery.key}.txt").read_text() == "3 units"
        assert json.loads((home / f"{delivery.key}.json").read_text()) == {
            "key": delivery.key,
            "plan": "new",
            "recipient_id": "../../escape",
            "from": "billing@example.com",
            "to": "ann@example.com",
            "reply_to": [],
            "subject": "Your month",
            "headers": {"X-Units": "3"},
        }

    def test_templates_that_changed_meanwhile_stop_no_other_sample(
        self, write: Any, maker: Any, make_row: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        snapshot, sampler = write(make_row("C-1"), make_row("C-2", more=1)), Sampler()
        summary = compare(snapshot, MemoryLedger(), heed=sampler.heed)
        object.__setattr__(maker, "content", Templates.inline("usage", subject="s", text="{{ more }}"))
        assert write_preview(snapshot, summary, maker, sampler.chosen) == 1
        assert "row C-1" in caplog.text


class TestPage:
    @pytest.fixture
    def html_maker(self, maker: Any) -> Any:
        content = Templates.inline("usage", subject="For {{ name }}", text="{{ name }}", html="<p>{{ name }}</p>")
        object.__setattr__(maker, "content", content)
        return maker

    def test_it_shows_numbers_digest_and_mails(self, write: Any, html_maker: Any, make_row: Any) -> None:
        rows = [make_row("C-1", name="Ann"), make_row("C-2", name="Ben"), make_row("bad", name="x", email="")]
        snapshot = write(*rows, maker=html_maker)
        home = previewed(snapshot, html_maker, allowance=Allowance(left_today=1, daily_quota=10))
        page = Page((home / "index.html").read_text())
        assert "2new" in page.text.replace("\n", "")
        assert "1invalid" in page.text.replace("\n", "")
        assert "1 of the new over the quota (1 left today), which would fail." in page.text
        assert snapshot.uri.rpartition("/")[2] in page.text
        assert [frame["srcdoc"] for frame in page.all("iframe")] == ["<p>Ann</p>", "<p>Ben</p>"]
        links = {str(link["href"]) for link in page.all("a")}
        assert {(home / link).resolve().exists() for link in links if "plan.json" not in link} == {True}

    def test_a_hostile_name_stays_text(self, write: Any, html_maker: Any, make_row: Any) -> None:
        row = make_row(f"C-{HOSTILE}", name=HOSTILE)
        home = previewed(write(row, maker=html_maker), html_maker)
        page = Page((home / "index.html").read_text())
        assert not {"script", "img", "object", "embed", "form"} & {tag for tag, _ in page.elements}
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
        assert HOSTILE in page.text
        assert "8641969" not in page.text
        (frame,) = page.all("iframe")
        assert frame["sandbox"] == "", "nothing allowed"
        assert "<script>" not in str(frame["srcdoc"])
        (policy,) = (meta["content"] for meta in page.all("meta") if meta.get("http-equiv"))
        assert str(policy).startswith("default-src 'none';")
        assert "script" not in str(policy)

    def test_a_very_long_mail_is_a_link(
        self, write: Any, html_maker: Any, make_row: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mailonce.workflow.preview.MOST_INLINE", 50)
        home = previewed(write(make_row(name="x" * 100), maker=html_maker), html_maker)
        page = Page((home / "index.html").read_text())
        assert page.all("iframe") == []
        assert [str(link["href"])[-4:] for link in page.all("a")][-3:] == ["html", ".txt", "json"]

    def test_an_empty_month(self, write: Any, maker: Any) -> None:
        assert "Nobody to mail." in (previewed(write(), maker) / "index.html").read_text()
