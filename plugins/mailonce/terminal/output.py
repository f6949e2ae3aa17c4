"""What the commands share: exit codes, JSON, and the way into Airflow's configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Any, TextIO

from mailonce.errors import InvalidInput

if TYPE_CHECKING:
    from mailonce.ledgers.base import Ledger
    from mailonce.privacy.pseudonyms import Pseudonyms
    from mailonce.workflow.settings import Settings

DONE, NOT_FOUND, FAILED = 0, 1, 2
UNRESOLVED = DIFFERENT = NOT_FOUND
"""The answer is no: somebody is not served, or something is not as it was."""


class Screen:
    """What a command's answer is written to.

    :param stream: the standard output, whatever it can show.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """Write a line; what the terminal cannot show is replaced."""
        if not self.shows(text):
            text = text.replace("…", "...").encode(self._encoding, "replace").decode(self._encoding)
        print(text, file=self._stream)

    def write(self, text: str) -> None:
        """Write text as it is, for programs, whatever the terminal says of its encoding."""
        if (binary := getattr(self._stream, "buffer", None)) is None:
            self._stream.write(text)
        else:
            self._stream.flush()
            binary.write(text.encode())

    def json(self, value: Any) -> None:
        """Write a value for programs."""
        text = json.dumps(value, indent=2, default=plain, ensure_ascii=False)
        print(text if self.shows(text) else json.dumps(value, indent=2, default=plain), file=self._stream)

    def shows(self, text: str) -> bool:
        """Whether the terminal can show this text."""
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError:
            return False
        return True

    @property
    def _encoding(self) -> str:
        return self._stream.encoding or "ascii"


def plain(value: Any) -> Any:
    """Return a value that JSON does not know as one that it does: for ``json.dumps``."""
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


@contextmanager
def replacing(file: str) -> Iterator[IO[bytes]]:
    """Write a file that only its owner may read, and that is there whole or not at all.

    :raises mailonce.errors.InvalidInput: it cannot be written.
    """
    target = Path(file)
    try:
        with NamedTemporaryFile("wb", dir=target.parent, prefix=".mailonce-", delete=False) as spool:
            written = Path(spool.name)
            try:
                yield spool
                spool.close()
                written.replace(target)
            finally:
                written.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInput(field="--output", reason=str(error), remedy="Name a file that can be written") from error


def load_settings() -> Settings:
    """Return the settings, from Airflow's configuration.

    :raises mailonce.errors.InvalidInput: one is not what it should be.
    """
    # Airflow looks for connections in its own database only in processes that say they belong to the server side.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    # Airflow says a lot that nobody asked for here.
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")
    from mailonce.workflow.settings import Settings

    return Settings.load()


def load_erasure_key() -> Pseudonyms | None:
    """Return what makes pseudonyms of erased addresses; None: the settings name no key.

    :raises mailonce.errors.InvalidInput: they name one that is none.
    """
    settings = load_settings()
    from mailonce.workflow.connections import erasure_key

    return erasure_key(settings)


def open_the_ledger() -> Ledger:
    """Return the ledger that the settings name.

    :raises mailonce.errors.MailonceError: it cannot be opened.
    """
    settings = load_settings()
    from mailonce.workflow.connections import open_ledger

    return open_ledger(settings)
