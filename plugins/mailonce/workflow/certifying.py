"""Certificates as files: written beside the snapshots, read again, and compared with the ledger.

::

    <snapshot_uri>/<campaign>/<period>/certificate.<moment>.<first digits of the root>.jsonl

None is ever overwritten. A run after which nothing has changed keeps the one that is there.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from mailonce import __version__
from mailonce.canonical import canonical, digest
from mailonce.certificate import CertificateBroken, Head, Seal, certify, facts_of, verified
from mailonce.errors import InvalidInput
from mailonce.ledgers.base import Ledger
from mailonce.merkle import Step, Tree
from mailonce.workflow.snapshot import folder

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


def write_certificate(
    ledger: Ledger, *, campaign: str, period: str, write: Callable[[bytes], object]
) -> tuple[Head, Seal]:
    """Write the certificate of a month as the ledger stands now."""
    head = _head(ledger, campaign, period)
    return head, certify(head, ledger.of_month(campaign, period), write)


def keep_certificate(ledger: Ledger, *, campaign: str, period: str, uri: str) -> tuple[str, Seal]:
    """Write a month's certificate beside its snapshots, unless the latest one there still says all.

    :param uri: the folder of the snapshots.
    :return: where it is, and its seal.
    """
    home = folder(uri) / campaign / period
    head = _head(ledger, campaign, period)
    if (latest := _latest(home)) is not None and (seal := _still_holds(latest, head)) is not None:
        return str(latest), seal
    with TemporaryFile(prefix="mailonce-") as spool:
        seal = certify(head, ledger.of_month(campaign, period), spool.write)
        home.mkdir(parents=True, exist_ok=True)
        moment = head.at[:19].replace("-", "").replace(":", "")
        target = home / f"certificate.{moment}Z.{seal.root[:12]}.jsonl"
        spool.seek(0)
        with target.open("wb") as file:  # type: ignore[no-untyped-call]
            shutil.copyfileobj(spool, file)
    return str(target), seal


@contextmanager
def opened(place: str) -> Iterator[IO[bytes]]:
    """Open a certificate.

    :param place: a path, or a URI wherever Airflow's object storage reaches.
    :raises mailonce.errors.InvalidInput: it cannot be read.
    """
    try:
        with (folder(place) if "://" in place else Path(place)).open("rb") as file:
            yield file
    except OSError as error:
        raise InvalidInput(field=place, reason=str(error), remedy="Give the certificate's file or URI") from error


def read_certificate(
    place: str, *, each: Callable[[Mapping[str, Any]], object] = lambda _facts: None
) -> tuple[Head, Seal]:
    """Read a certificate to its end, and check it: see :func:`mailonce.certificate.verified`.

    :param place: see :func:`opened`.
    """
    with opened(place) as file:
        return verified(file, each=each)


class Comparison:
    """A certificate beside the ledger as it stands now. Both stream; what must be remembered is on local disk.

    :param place: see :func:`opened`.
    """

    def __init__(self, place: str) -> None:
        self._folder = TemporaryDirectory(prefix="mailonce-")
        self._known = sqlite3.connect(Path(self._folder.name) / "lines.sqlite", isolation_level=None)
        self._known.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; "
            "CREATE TABLE line (key TEXT PRIMARY KEY, recipient_id TEXT NOT NULL, facts BLOB) WITHOUT ROWID; BEGIN"
        )
        try:
            self.head, self.seal = read_certificate(place, each=self._remember)
        except BaseException:
            self.close()
            raise

    def differences(self, ledger: Ledger) -> Iterator[dict[str, Any]]:
        """Yield what the ledger says otherwise now: ``recipient_id``, ``key``, ``certified``, ``now``.

        The last two hold only what differs. ``certified`` is None for a delivery that came later, ``now`` for one
        that the ledger no longer has.
        """
        for entry in ledger.of_month(self.head.campaign, self.head.period):
            facts = facts_of(entry)
            now = json.loads(canonical(facts))
            who = {"recipient_id": now["recipient_id"], "key": entry.key}
            row = self._known.execute("SELECT facts FROM line WHERE key = ?", [entry.key]).fetchone()
            if row is None:
                yield {**who, "certified": None, "now": now}
                continue
            self._known.execute("DELETE FROM line WHERE key = ?", [entry.key])
            was = json.loads(row[0])
            if names := [name for name in {**facts, **was} if was.get(name) != now.get(name)]:
                told = ({name: each.get(name) for name in names} for each in (was, now))
                yield {**who, **dict(zip(("certified", "now"), told, strict=True))}
        for row in self._known.execute("SELECT facts FROM line ORDER BY recipient_id, key"):
            was = json.loads(row[0])
            yield {"recipient_id": was["recipient_id"], "key": was["key"], "certified": was, "now": None}

    def close(self) -> None:
        """Remove what was remembered."""
        self._known.close()
        self._folder.cleanup()

    def _remember(self, facts: Mapping[str, Any]) -> None:
        try:
            values = [facts["key"], facts["recipient_id"], canonical(facts)]
            self._known.execute("INSERT INTO line VALUES (?, ?, ?)", values)
        except (KeyError, UnicodeEncodeError, sqlite3.Error) as error:
            raise CertificateBroken(f"the delivery {facts.get('key')!r} stands in it twice, or is none.") from error


def prove(place: str, recipient_id: str) -> list[dict[str, Any]]:
    """Return each delivery of a recipient with the steps that prove it to belong to a certificate.

    :param place: see :func:`opened`.
    :raises CertificateBroken: the certificate is not as it was sealed.
    """
    numbers: list[int] = []
    position = count(1)

    def look(facts: Mapping[str, Any]) -> None:
        number = next(position)
        if facts.get("recipient_id") == recipient_id:
            numbers.append(number)

    head, seal = read_certificate(place, each=look)
    return [_proof(place, number, head, seal) for number in numbers]


def _proof(place: str, number: int, head: Head, seal: Seal) -> dict[str, Any]:
    tree, wanted = Tree(proved=number), b""
    with opened(place) as file:
        for at, line in enumerate(file):
            if at > seal.lines:
                break  # the seal
            tree.add(line)
            if at == number:
                wanted = line
    return {
        "mailonce": "proof", "campaign": head.campaign, "period": head.period, "root": seal.root,
        "line": wanted.decode(), "steps": [_step(step) for step in tree.proof()],
    }  # fmt: skip


def _step(step: Step) -> dict[str, Any]:
    return {"left": step.left, "hash": step.hash}


def _head(ledger: Ledger, campaign: str, period: str) -> Head:
    epoch = ledger.epoch.read()
    return Head(
        campaign=campaign,
        period=period,
        ledger={"epoch": epoch.id, "home": epoch.home, "here": epoch.here, "runs": epoch.runs},
        version=__version__,
        at=epoch.read_at.isoformat(timespec="seconds"),
        counted=_counted(ledger, campaign, period),
    )


def _counted(ledger: Ledger, campaign: str, period: str) -> str:
    """Return a digest of the month's totals and of when it last changed; empty: that is not known."""
    totals = ledger.browser.totals(campaign, period)
    if not totals or any(edition.changed_at is None for edition in totals):
        return ""
    return digest([[t.edition, dict(t.states), dict(t.fates), str(t.changed_at)] for t in totals])


def _latest(home: ObjectStoragePath) -> ObjectStoragePath | None:
    home.fs.invalidate_cache()  # another process may have written since we last looked
    found = sorted(str(path).rpartition("/")[2] for path in home.fs.glob(f"{home.path}/certificate.*.jsonl"))
    return home / found[-1] if found else None


def _still_holds(place: ObjectStoragePath, head: Head) -> Seal | None:
    if not head.counted:
        return None
    try:
        with place.open("rb") as file:  # type: ignore[no-untyped-call]
            if f'"counted":"{head.counted}"'.encode() not in file.readline():
                return None
            file.seek(0)
            found, seal = verified(file)
    except (OSError, CertificateBroken):
        return None
    same = (found.counted, found.ledger.get("epoch")) == (head.counted, head.ledger["epoch"])
    return seal if same else None
