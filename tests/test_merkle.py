from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.merkle import Step, Tree, proves

LINES = st.lists(st.binary(max_size=8), max_size=40)


def tree_hash(lines: list[bytes]) -> bytes:
    """The definition of RFC 9162, section 2.1.1, all in memory."""
    if not lines:
        return hashlib.sha256().digest()
    if len(lines) == 1:
        return hashlib.sha256(b"\x00" + lines[0]).digest()
    split = 1
    while split * 2 < len(lines):
        split *= 2
    return hashlib.sha256(b"\x01" + tree_hash(lines[:split]) + tree_hash(lines[split:])).digest()


def grown(lines: list[bytes], proved: int | None = None) -> Tree:
    tree = Tree(proved)
    for line in lines:
        tree.add(line)
    return tree


@given(LINES)
def test_what_is_grown_line_by_line_is_the_tree_of_the_standard(lines: list[bytes]) -> None:
    tree = grown(lines)
    assert tree.root() == tree_hash(lines).hex()
    assert tree.size == len(lines)


@given(LINES.filter(bool), st.data())
def test_every_line_is_proved_and_no_other(lines: list[bytes], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(lines) - 1))
    tree = grown(lines, number)
    assert proves(lines[number], tree.proof(), tree.root())
    assert not proves(lines[number] + b"x", tree.proof(), tree.root())
    assert not proves(lines[number], tree.proof(), "00" * 32)
    assert len(tree.proof()) <= len(lines).bit_length()


def test_a_pair_cannot_be_passed_off_as_a_line() -> None:
    left, right = (hashlib.sha256(b"\x00" + line).digest() for line in (b"a", b"b"))
    assert not proves(left + right, (), grown([b"a", b"b"]).root())


def test_a_proof_with_a_step_turned_round_proves_nothing() -> None:
    tree = grown([b"a", b"b", b"c"], 0)
    turned = [Step(left=not step.left, hash=step.hash) for step in tree.proof()]
    assert not proves(b"a", turned, tree.root())


@pytest.mark.parametrize("lines", [1000, 100_000])
def test_what_is_kept_grows_with_the_levels_only(lines: int) -> None:
    tree = grown([b"x"] * lines)
    assert len(tree._peaks) <= lines.bit_length()
