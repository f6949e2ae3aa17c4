"""The lock file, as data: which distribution in which version, where, and the hashes of its files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.txt"

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Pin:
    """One line of the lock file.

    :param where: the environment marker, if it is not installed everywhere. :param hashes: SHA-256 of each of its files.
    """

    name: str
    version: str
    where: str
    hashes: tuple[str, ...]


def pins(file: Path = LOCK) -> Iterator[Pin]:
    """Yield what a lock file holds, in its order.

    :raises ValueError: a line pins no version, or has no hash.
    """
    for line in re.sub(r"\\\n", " ", file.read_text(encoding="utf-8")).splitlines():
        wanted = Requirement(line.partition("--hash")[0].strip())
        hashes = tuple(sorted(_HASH.findall(line)))
        version = str(wanted.specifier).removeprefix("==")
        if not hashes or str(wanted.specifier) != f"=={version}":
            raise ValueError(f"{file.name}: {wanted.name} is not locked with a version and hashes. Run make lock.")
        yield Pin(wanted.name, version, str(wanted.marker or ""), hashes)
