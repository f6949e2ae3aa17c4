"""How the commands declare themselves: the same options and the same form of help for all."""

from __future__ import annotations

import argparse
from typing import Any

CAMPAIGN = "monthly_usage"
LIMIT = 50


def declare(commands: Any, name: str, *, help: str, epilog: str) -> argparse.ArgumentParser:  # noqa: A002 (argparse's word)
    """Declare a command that can answer to programs.

    :param help: one line. :param epilog: examples and exit codes.
    """
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=f"{help[0].upper()}{help[1:]}.", epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="for programs")
    return command


def add_campaign(command: argparse.ArgumentParser, *, default: str | None = CAMPAIGN) -> None:
    """Let a command ask about another campaign. :param default: None: all of them."""
    told = "%(default)s" if default else "all of them"
    command.add_argument("--campaign", default=default, help=f"default: {told}")


def add_limit(command: argparse.ArgumentParser, what: str) -> None:
    """Let a command name more, or fewer. :param what: whom or what it names."""
    command.add_argument(
        "--limit", type=_count, default=LIMIT, metavar="N", help=f"name so many {what} at most; default: %(default)s"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number
