"""A hash over many lines of which each can be proved alone: the Merkle tree of RFC 9162, section 2.1.

Lines are added as they come, and no more than one hash a level of the tree is kept: 20 for a million lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One step of a proof, from a line towards the root. :param left: whether the neighbour stands on the left."""

    left: bool
    hash: str


class Tree:
    """The tree over the lines added so far.

    :param proved: the number of a line, counted from 0, whose proof is wanted; None: no proof.
    """

    def __init__(self, proved: int | None = None) -> None:
        self.size = 0
        self._proved = proved
        # Whole subtrees, the largest first: for each its number of lines, its hash, and whether the line is in it.
        self._peaks: list[tuple[int, bytes, bool]] = []
        self._steps: list[Step] = []

    def add(self, line: bytes) -> None:
        """Add the next line."""
        self._peaks.append((1, _hash(b"\x00", line), self.size == self._proved))
        self.size += 1
        while len(self._peaks) > 1 and self._peaks[-2][0] == self._peaks[-1][0]:
            _join(self._peaks, self._steps)

    def root(self) -> str:
        """Return the hash over all lines, in hexadecimal."""
        return self._closed()[0]

    def proof(self) -> Sequence[Step]:
        """Return the steps from the line to the root; more lines, another proof."""
        return self._closed()[1]

    def _closed(self) -> tuple[str, Sequence[Step]]:
        if not self._peaks:
            return hashlib.sha256().hexdigest(), ()
        peaks, steps = list(self._peaks), list(self._steps)
        while len(peaks) > 1:
            _join(peaks, steps)
        return peaks[0][1].hex(), steps


def proves(line: bytes, steps: Sequence[Step], root: str) -> bool:
    """Tell whether the steps lead from this line to this root."""
    reached = _hash(b"\x00", line)
    for step in steps:
        neighbour = bytes.fromhex(step.hash)
        reached = _hash(b"\x01", neighbour, reached) if step.left else _hash(b"\x01", reached, neighbour)
    return reached.hex() == root


def _join(peaks: list[tuple[int, bytes, bool]], steps: list[Step]) -> None:
    """Make one of the last two subtrees."""
    (many, left, in_left), (few, right, in_right) = peaks[-2:]
    if in_left or in_right:
        steps.append(Step(left=in_right, hash=(left if in_right else right).hex()))
    peaks[-2:] = [(many + few, _hash(b"\x01", left, right), in_left or in_right)]


def _hash(*parts: bytes) -> bytes:
    """A line's hash begins with 0, a pair's with 1, so that no pair can be passed off as a line."""
    return hashlib.sha256(b"".join(parts)).digest()
