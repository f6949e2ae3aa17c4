"""How many were planned: read from the snapshots' manifests, never from their rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from mailonce.errors import InvalidInput
from mailonce.workflow.snapshot import Manifest, Snapshot, folder

TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
"""What a campaign, a period and an edition look like: see :class:`mailonce.delivery.Delivery`."""

Statement = tuple[str, str, str]
"""Campaign, period, edition."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The snapshot that tells what was planned for one edition of a month.

    :param uri: its folder. :param written_at: when. :param others: how many more snapshots the same edition has.
    :param full: whether it holds everybody whom the query returned; else it is of a run for some recipients only.
    """

    uri: str
    manifest: Manifest
    written_at: datetime
    others: int
    full: bool


@dataclass(frozen=True, order=True)
class Written:
    """A snapshot's folder, and when its manifest was written."""

    at: datetime
    uri: str


def snapshots_of(root: str, campaign: str, period: str, edition: str = "*") -> Iterator[Written]:
    """Yield the snapshots of a campaign's month, newest first; ``*`` stands for all.

    :param root: the setting ``snapshot_uri``.
    """
    if not all(part == "*" or TAG.fullmatch(part) for part in (campaign, period, edition)):
        return
    found = folder(root).glob(f"{campaign}/{period}/{edition}/*/manifest.json")
    yield from sorted((Written(_moment(file), str(file.parent)) for file in found), reverse=True)


def planned_months(root: str) -> Mapping[Statement, Planned]:
    """Return what was planned, for every edition that has a snapshot."""
    return _planned(root, "*", "*")


def planned_month(root: str, campaign: str, period: str) -> Mapping[Statement, Planned]:
    """Return what was planned, for each edition of one campaign's month."""
    return _planned(root, campaign, period)


def _planned(root: str, campaign: str, period: str) -> Mapping[Statement, Planned]:
    groups: dict[Statement, list[tuple[Written, Manifest]]] = {}
    for written in snapshots_of(root, campaign, period):
        manifest = _manifest(written.uri)
        if manifest is not None:
            statement = (manifest.campaign, manifest.period, manifest.edition)
            groups.setdefault(statement, []).append((written, manifest))
    return {statement: _chosen(several) for statement, several in groups.items()}


def _chosen(several: list[tuple[Written, Manifest]]) -> Planned:
    """Take the newest full one; if none is full, the one with the most recipients, of equals the newest."""
    written, manifest = max(
        several, key=lambda one: (_is_full(one[1]), 0 if _is_full(one[1]) else _named(one[1]), one[0])
    )
    return Planned(
        uri=written.uri,
        manifest=manifest,
        written_at=written.at,
        others=len(several) - 1,
        full=_is_full(manifest),
    )


def _is_full(manifest: Manifest) -> bool:
    return _named(manifest) >= manifest.query_rows


def _named(manifest: Manifest) -> int:
    return manifest.recipients + manifest.rejects


def _manifest(uri: str) -> Manifest | None:
    """Return a snapshot's manifest; None: it cannot be read, or not yet."""
    try:
        return _read_manifest(uri)
    except (InvalidInput, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1024)
def _read_manifest(uri: str) -> Manifest:
    # It never changes once it is whole. A failure is not kept: it may be being written.
    return Snapshot(uri).manifest


def _moment(file: Any) -> datetime:
    # Each object store answers in its own way: seconds since 1970, or a datetime.
    modified = file.stat().st_mtime
    if isinstance(modified, datetime):
        return modified.astimezone(timezone.utc)
    return datetime.fromtimestamp(float(modified or 0), tz=timezone.utc)
