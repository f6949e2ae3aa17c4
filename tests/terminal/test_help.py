"""Every command explains itself, with examples that are commands, and the exit codes that scripts rely on."""

from __future__ import annotations

import re
import shlex

import pytest

from mailonce import terminal

COMMANDS = (
    "status", "show", "resolve", "new", "preview", "export", "certificate", "verify", "suppression", "person", "purge", "doctor",
    "crashtest",
)  # fmt: skip


def helped(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as caught:
        terminal.main([*command, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_all_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(re.findall(r"^    ([a-z]+)\b", helped(capsys), re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_each_has_examples_and_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = helped(capsys, command)
    assert "\nexamples:\n" in told
    assert "\nexit codes: 0 " in told


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_examples_can_be_typed_as_they_are(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"^  mailonce (.*)$", helped(capsys, *([command] if command else [])), re.MULTILINE)
    assert examples
    for example in examples:
        typed = re.split(r"  +| > | \| | \|\| ", example)[0]
        terminal._parser().parse_args(shlex.split(typed))


@pytest.mark.parametrize("arguments", [[], ["status", "--limit", "many"], ["frobnicate"], ["export"]])
def test_what_is_missing_or_wrong_is_said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        terminal.main(arguments)
    assert caught.value.code == 2
    assert "usage: mailonce" in capsys.readouterr().err
