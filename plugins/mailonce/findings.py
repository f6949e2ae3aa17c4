"""What an examination of the set-up found: the words of the doctor, of preflight, and of the ledgers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """How bad it is."""

    OK = "ok"
    """Looked at, and as it should be."""

    UNKNOWN = "unknown"
    """Could not be looked at: a permission is missing, or a service does not tell."""

    WARNING = "warning"
    """The promise holds, but something will have to be done by hand, or mails will be held."""

    ERROR = "error"
    """The promise would not hold, or nobody's mail could be sent: preflight stops the run."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    :param check: what was looked at, in one or two words. :param found: what is so.
    :param remedy: what to do about it; empty when it is as it should be.
    """

    severity: Severity
    check: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.found}" + (f" {self.remedy}" if self.remedy else "")
