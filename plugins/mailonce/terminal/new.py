"""``mailonce new``: the Dags, the query and the templates, written into somebody's Airflow project."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mailonce.errors import InvalidInput
from mailonce.terminal import arguments
from mailonce.terminal.arguments import CAMPAIGN
from mailonce.terminal.output import DONE, Screen

_EPILOG = """examples:
  mailonce new                                   the sample campaign, into Airflow's Dags folder and include/ beside it
  mailonce new traffic_report                    a campaign of your own: the sample's Dag, query and templates, renamed
  mailonce new --dags dags --include dags/include  where only the Dags folder is synchronized, as on Amazon MWAA

It changes no file that is there. The Dags are paused until you unpause them, as Airflow has it by default.

exit codes: 0 written; 2 refused, and no file that was there has changed
"""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SCHEDULE = re.compile(r"^    schedule=CronTriggerTimetable\(.*\),$", re.MULTILINE)
_BESIDE = 'INCLUDE = Path(__file__).resolve().parent.parent / "include"'


def add_to(commands: Any) -> None:
    """Declare the command and its arguments."""
    new = arguments.declare(commands, "new", help="write Dags, query and templates to start from", epilog=_EPILOG)
    new.add_argument("campaign", nargs="?", default=CAMPAIGN, help="its name, as in every key; default: %(default)s")
    new.add_argument("--dags", metavar="DIR", help="default: Airflow's Dags folder")
    new.add_argument(
        "--include", metavar="DIR", help="for query and templates; default: include beside the Dags folder"
    )
    new.set_defaults(run=_new)


def _new(options: argparse.Namespace, screen: Screen) -> int:
    campaign: str = options.campaign
    if not _NAME.fullmatch(campaign):
        raise InvalidInput(
            field="CAMPAIGN",
            reason=f"{campaign!r} is no name of a campaign",
            remedy="Use lower case letters, digits and underscores, a letter first: it names files, a Dag and keys",
        )
    dags = Path(options.dags) if options.dags else _dags_folder()
    include = Path(options.include) if options.include else dags.parent / "include"
    files = dict(_files(campaign, dags, include))
    _write(files)
    if options.json:
        screen.json({"campaign": campaign, "dag": f"{campaign}_email", "files": [str(file) for file in files]})
        return DONE
    for file in files:
        screen.say(f"  {file}")
    screen.say(
        f"{len(files)} files written. Next: adapt query and templates to your data, set the connections and the sender, "
        "then look before anything is sent:\n"
        f"  mailonce doctor\n  mailonce preview --campaign {campaign} --templates {include / 'templates'} --output look"
    )
    return DONE


def _files(campaign: str, dags: Path, include: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield what is to be written where. Of a second campaign only what is its own: the other Dags serve all campaigns."""
    samples = _samples()
    for source in sorted((samples / "dags").glob("*.py")):
        if campaign == CAMPAIGN or source.stem.startswith(CAMPAIGN):
            text = _renamed(source.read_text(encoding="utf-8"), campaign)
            text = text.replace(_BESIDE, _include_line(dags, include))
            if campaign != CAMPAIGN:
                # With one, Airflow would mail everybody the month before as soon as its author unpauses it for a first look.
                text = _SCHEDULE.sub(
                    "    schedule=None,  # until the first month is out, and then as in docs/authors.md", text
                )
            yield dags / _renamed(source.name, campaign), text.encode()
    for source in sorted((samples / "include").rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            yield include / _renamed(source.relative_to(samples / "include").as_posix(), campaign), source.read_bytes()


def _samples() -> Path:
    """Return where the samples are: inside the package as it is installed, otherwise in the project's own folders."""
    package = Path(__file__).resolve().parents[1]
    for home in (package / "samples", package.parents[1]):
        if (home / "include" / "sql" / f"{CAMPAIGN}.sql").is_file():
            return home
    raise InvalidInput(
        field="samples",
        reason=f"neither {package / 'samples'} nor {package.parents[1]} has them: the plugins folder alone was copied",
        remedy="Install the wheel, or copy dags/ and include/ from the project",
    )


def _renamed(text: str, campaign: str) -> str:
    return text.replace(CAMPAIGN, campaign)


def _include_line(dags: Path, include: Path) -> str:
    way = Path(os.path.relpath(include.resolve(), dags.resolve())).as_posix()
    if way == "../include":
        return _BESIDE
    return f'INCLUDE = (Path(__file__).resolve().parent / "{way}").resolve()'


def _write(files: dict[Path, bytes]) -> None:
    if there := [str(file) for file in files if file.exists()]:
        raise InvalidInput(
            field=there[0] if len(there) == 1 else f"{len(there)} files",
            reason=f"{'it is' if len(there) == 1 else 'they are'} there already, and nothing was written"
            + ("" if len(there) == 1 else f": {', '.join(there)}"),
            remedy="Name another campaign, or other folders with --dags and --include",
        )
    try:
        for file, content in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    except OSError as error:
        raise InvalidInput(
            field="--dags, --include", reason=str(error), remedy="Name folders that can be written, and empty ones"
        ) from error


def _dags_folder() -> Path:
    from mailonce.compatibility import conf

    return Path(conf.get("core", "dags_folder"))
