"""What the comparisons share: runs side by side in random order, medians, and a line of the table."""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

ROOT = Path(__file__).resolve().parent.parent
Figure = TypeVar("Figure")
_PATH = os.pathsep.join(str(ROOT / folder) for folder in ("plugins", ".", "config"))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One line of the table.

    :param row: its number, as in ``make bench ROWS=…``. :param what: is measured, :param against: what.
    :param unit: of both figures. :param ours: :param peers: the figures, each a median.
    :param ratio: ours to the peer's. :param goal: of the ratio; :param at_most: it is an upper bound, not a lower one.
    :param how: it was measured. :param remark: what else is to be known.
    """

    row: int
    what: str
    against: str
    unit: str
    ours: float
    peers: float
    goal: float
    at_most: bool
    how: str
    remark: str = ""
    runs: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Ours to the peer's."""
        return self.ours / self.peers if self.peers else float("inf")

    @property
    def holds(self) -> bool:
        """Whether the goal is met."""
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured. ``quick`` is for the tests of the benchmarks: it shows that they run, and nothing else."""

    quick: bool = False

    def of(self, whole: int, quick: int) -> int:
        """Return the number that fits."""
        return quick if self.quick else whole


def side_by_side(ways: Mapping[str, Callable[[], Figure]], rounds: int) -> dict[str, list[Figure]]:
    """Run every way once a round, in another order each round, so that what slows the machine slows all alike."""
    found: dict[str, list[Figure]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name in random.sample(list(ways), len(ways)):
            found[name].append(ways[name]())
    return found


def median(figures: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(figures)


def in_own_process(module: str, order: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Any:
    """Run ``python -m module ORDER`` and return its answer; both are JSON, the answer its last line of output.

    :raises RuntimeError: it failed; with the end of what it wrote.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(order)],
        env={**os.environ, **(environment or {}), "PYTHONPATH": _PATH},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def processor_seconds(*roots: int) -> float:
    """Return the processor time of these processes and all their descendants, those that have ended included."""
    processes = {process.pid: process for root in roots for process in _tree(root)}
    total = 0.0
    for process in processes.values():
        try:
            total += sum(process.cpu_times()[:4])  # own and of children that were waited for, user and system
        except psutil.NoSuchProcess:
            continue
    return total


def _tree(root: int) -> list[psutil.Process]:
    process = psutil.Process(root)
    return [process, *process.children(recursive=True)]


def machine() -> str:
    """Return what this was measured on."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GB of memory, {platform.system()}, Python {platform.python_version()}"
