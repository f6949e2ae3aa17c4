"""The certificate of one campaign's month: a line for each delivery of it, of all editions, and a hash over the whole.

One JSON object a line, in canonical form::

    {"mailonce": "certificate", "campaign": …, "period": …, "ledger": …, …}      the head: what this is
    {"recipient_id": …, "edition": …, "key": …, "state": …, "messages": 1, …}    one a delivery
    {"mailonce": "seal", "counts": …, "lines": …, "root": …}                     the seal: sums, and the hash

It names recipient ids and no addresses, and neither a person's reasons nor a server's words, which may hold one. The
root is that of the Merkle tree (:mod:`mailonce.merkle`) over the lines before the seal, line breaks included, so one
delivery can be proved without showing the others. It says that nothing was changed *since the root was noted*:
whoever can change the file can also seal it anew. So note the root elsewhere.

Everything here streams, and does no input or output of its own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailonce.canonical import canonical
from mailonce.delivery import Entry
from mailonce.errors import MailonceError
from mailonce.events import Fate
from mailonce.merkle import Tree
from mailonce.states import State

FORMAT = 1
KIND, SEAL = "certificate", "seal"
NOT_RECEIVED = frozenset({Fate.BOUNCED, Fate.DROPPED, Fate.COMPLAINED})
"""What became of a mail that was accepted, and did not arrive or was not welcome."""


class CertificateBroken(MailonceError):
    """The file is no certificate, or is not as it was sealed."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a certificate says of itself.

    :param ledger: what tells this ledger from another: where it stands, its epoch's id and count of runs.
    :param version: of this package. :param at: when the reading of the ledger began, by the ledger's clock.
    :param counted: the month's totals at that moment, if known: what tells whether a later certificate would say more.
    """

    campaign: str
    period: str
    ledger: Mapping[str, Any]
    version: str
    at: str
    counted: str = ""

    @property
    def line(self) -> bytes:
        """The first line."""
        return _line({"mailonce": KIND, "format": FORMAT, **vars(self)})


@dataclass(frozen=True, kw_only=True)
class Seal:
    """The sums, and the hash.

    :param lines: how many deliveries. :param root: the hash over head and deliveries.
    :param counts: deliveries by state, by fate and by exception, and ``messages``: how many the provider accepted.
    """

    lines: int
    root: str
    counts: Mapping[str, Mapping[str, int] | int]

    @property
    def line(self) -> bytes:
        """The last line."""
        return _line({"mailonce": SEAL, **vars(self)})


def certify(head: Head, entries: Iterable[Entry], write: Callable[[bytes], object]) -> Seal:
    """Write a certificate.

    :param entries: the month's rows. :param write: takes each line.
    :return: its seal, which was written as the last line.
    """
    sums = _Sums()
    sums.tree.add(head.line)
    write(head.line)
    for entry in entries:
        facts = facts_of(entry)
        line = _line(facts)
        sums.add(facts, line)
        write(line)
    seal = sums.seal()
    write(seal.line)
    return seal


def verified(
    lines: Iterable[bytes], *, each: Callable[[Mapping[str, Any]], object] = lambda _facts: None
) -> tuple[Head, Seal]:
    """Read a certificate to its end, and check that it is as it was sealed.

    :param lines: the file's, with their line breaks. :param each: is told of each delivery, in order; what it was told
        counts only if nothing is raised afterwards.
    :raises CertificateBroken: it is not; or this is no certificate.
    """
    source = iter(lines)
    first = next(source, b"")
    head = _head(first)
    sums = _Sums()
    sums.tree.add(first)
    seal = None
    for line in source:
        if seal is not None:
            raise CertificateBroken("the file goes on after its seal: something was added.")
        facts = _object(line, sums.lines + 2)
        if facts.get("mailonce") == SEAL:
            seal = line
            continue
        sums.add(facts, line)
        each(facts)
    if seal is None:
        raise CertificateBroken("the file has no seal: its end is missing.")
    expected = sums.seal()
    if seal != _sealed(expected):
        raise CertificateBroken(
            f"the file is not as it was sealed: its {sums.lines} deliveries give the hash {expected.root}, "
            f"and the seal says {_object(seal, sums.lines + 2).get('root')!r}."
        )
    return head, expected


def _sealed(seal: Seal) -> bytes:
    try:
        return seal.line
    except UnicodeEncodeError:
        return b""  # names of states that no text can hold, and that we never wrote


def facts_of(entry: Entry) -> dict[str, Any]:
    """Return what a certificate says of one delivery."""
    message_ids = sorted({*([entry.message_id] if entry.message_id else []), *entry.duplicate_message_ids})
    return {
        "recipient_id": entry.identity.recipient_id,
        "edition": entry.identity.edition,
        "key": entry.key,
        "state": entry.state.value,
        "messages": len(message_ids),
        "message_ids": message_ids,
        "evidence": _evidence(entry),
        "sent_at": _moment(entry.sent_at),
        "fate": entry.fate.value if entry.fate else None,
        "exceptions": list(_exceptions(entry, len(message_ids))),
    }


def _exceptions(entry: Entry, messages: int) -> Iterator[str]:
    """Yield what an auditor asks about."""
    if entry.state is not State.SENT:
        yield entry.state.value
    elif not messages:
        yield "sent as a person says"
    if messages > 1:
        yield "duplicate"
    if entry.fate in NOT_RECEIVED:
        yield entry.fate.value


def _evidence(entry: Entry) -> list[str]:
    """Return where the proof of acceptance comes from: ``answer``, ``event``, ``kept receipt``, ``journal``, ``person``."""
    accepted = {entry.message_id, *entry.duplicate_message_ids} - {None}
    found = set()
    for line in entry.history:
        by, note = line.get("by") or "", line.get("note")
        if by.startswith("event "):
            found.add("event")
        elif line.get("state") == State.SENT.value:
            kinds = {"kept receipt": "kept receipt", "journal": "journal"}
            found.add(kinds.get(by, "answer") if note in accepted else "person")
    return sorted(found)


class _Sums:
    """What the seal says, of the lines so far."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.lines = 0
        self.messages = 0
        self.counters: dict[str, Counter[str]] = {name: Counter() for name in ("states", "fates", "exceptions")}

    def add(self, facts: Mapping[str, Any], line: bytes) -> None:
        self.tree.add(line)
        self.lines += 1
        try:
            self.messages += int(facts["messages"])
            self.counters["states"][str(facts["state"])] += 1
            self.counters["exceptions"].update(map(str, facts["exceptions"]))
            if facts["fate"]:
                self.counters["fates"][str(facts["fate"])] += 1
        except (KeyError, TypeError, ValueError) as error:
            raise CertificateBroken(f"line {self.lines + 1} is no line of a certificate.") from error

    def seal(self) -> Seal:
        return Seal(lines=self.lines, root=self.tree.root(), counts={"messages": self.messages, **self.counters})


def _head(line: bytes) -> Head:
    facts = _object(line, 1)
    if facts.pop("mailonce", None) != KIND:
        raise CertificateBroken("this is no certificate: its first line does not say so.")
    if (form := facts.pop("format", None)) != FORMAT:
        raise CertificateBroken(f"this certificate has the format {form!r}, and only {FORMAT} is known here.")
    try:
        head = Head(**facts)
    except TypeError as error:
        raise CertificateBroken("the first line is not that of a certificate.") from error
    if not (isinstance(head.campaign, str) and isinstance(head.period, str) and isinstance(head.ledger, dict)):
        raise CertificateBroken("the first line is not that of a certificate.")
    return head


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CertificateBroken(f"line {number} is no JSON: the file was cut, or touched.") from error
    if not isinstance(value, dict):
        raise CertificateBroken(f"line {number} is no line of a certificate.")
    return value


def _line(value: Mapping[str, Any]) -> bytes:
    return canonical(value) + b"\n"


def _moment(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds") if at else None
