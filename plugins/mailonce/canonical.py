"""One digest for the same value, wherever and whenever it is made."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from typing import Any


def digest(value: Any) -> str:
    """Return the sha256, in hexadecimal, of ``value`` as canonical JSON.

    Canonical: sorted names, no blanks, UTF-8, text in Unicode's composed form (NFC), so that the same value
    gives the same digest on every machine and whichever way a database spells an accented letter.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(unicodedata.normalize("NFC", text).encode()).hexdigest()
