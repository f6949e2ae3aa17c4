"""The audit never passes for more than it was: what was not looked up is not audited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from release import audit
from release.audit import AUDITED, NOT_AUDITED, VULNERABLE, allowed, judge

CLEAN = {"name": "babel", "version": "2.17.0", "vulns": []}
SKIPPED = {"name": "tzdata", "skip_reason": "Dependency not found: tzdata (2025.2)"}


def hit(*, fixed: tuple[str, ...]) -> dict[str, Any]:
    found = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": list(fixed), "description": ""}
    return {"name": "jinja2", "version": "1.0", "vulns": [found]}


def code(*dependencies: dict[str, Any], **known: str) -> int:
    return judge(
        {"dependencies": list(dependencies)}, allowed={name.replace("_", "-"): why for name, why in known.items()}
    ).code


def test_nothing_known_is_audited() -> None:
    assert code(CLEAN) == AUDITED


def test_what_can_be_mended_fails() -> None:
    assert code(CLEAN, hit(fixed=("1.1",))) == VULNERABLE
    assert code(SKIPPED, hit(fixed=("1.1",))) == VULNERABLE


def test_what_nobody_has_mended_is_named() -> None:
    outcome = judge({"dependencies": [hit(fixed=())]}, allowed={})
    assert outcome.code == AUDITED
    assert "not mended in any version yet: jinja2 1.0: PYSEC-1" in outcome.lines[0]


def test_what_was_judged_before_is_let_through_by_any_of_its_names() -> None:
    assert code(hit(fixed=("1.1",)), CVE_1="we never render strangers' templates") == AUDITED


@pytest.mark.parametrize("dependencies", [[CLEAN, SKIPPED], [SKIPPED], []])
def test_what_was_not_looked_up_is_not_audited(dependencies: list[dict[str, Any]]) -> None:
    outcome = judge({"dependencies": dependencies}, allowed={})
    assert outcome.code == NOT_AUDITED
    assert outcome.lines[-1].startswith("not audited: ")


def test_without_an_answer_it_fails_unless_it_need_not_be_reachable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "_ask", lambda: (None, "the service is away"))
    assert audit.main([]) == NOT_AUDITED
    assert audit.main(["--where-reachable"]) == 0
    assert capsys.readouterr().err == "not audited: the service is away.\n" * 2


def test_a_vulnerability_fails_wherever_it_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_ask", lambda: ({"dependencies": [hit(fixed=("1.1",))]}, ""))
    assert audit.main(["--where-reachable"]) == VULNERABLE


def test_each_exception_has_its_reason(tmp_path: Path) -> None:
    assert isinstance(allowed(), dict)
    file = tmp_path / "allowed.txt"
    file.write_text("# why\nCVE-1 templates are ours\n\n")
    assert allowed(file) == {"CVE-1": "templates are ours"}
    file.write_text("CVE-2\n")
    with pytest.raises(ValueError, match="CVE-2 has no reason"):
        allowed(file)
