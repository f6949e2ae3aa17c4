"""One text, and one digest, for the same value, wherever and whenever it is made."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from typing import Any


def canonical(value: Any) -> bytes:
    """Return ``value`` as canonical JSON in UTF-8, on one line.

    Canonical: sorted names, no blanks, text in Unicode's composed form (NFC), so that the same value gives the
    same bytes on every machine and whichever way a database spells an accented letter.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return unicodedata.normalize("NFC", text).encode()


def digest(value: Any) -> str:
    """Return the sha256, in hexadecimal, of ``value`` as :func:`canonical` JSON."""
    return hashlib.sha256(canonical(value)).hexdigest()
