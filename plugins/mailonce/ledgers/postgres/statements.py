"""Loads the named statements and the migrations of the PostgreSQL ledger, and puts the table's name in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

from psycopg import sql

from mailonce.errors import InvalidInput

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class Table:
    """A table's name, quoted, and the names derived from it.

    :param name: ``table`` or ``schema.table``.
    :raises mailonce.errors.InvalidInput: it is neither.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        parts = name.split(".")
        if len(parts) > 2 or not all(_IDENTIFIER.fullmatch(part) for part in parts):
            raise InvalidInput(
                field="ledger_table",
                reason=f"{name!r} is not the name of a table",
                remedy="Use letters, digits and underscores, as in mailonce_ledger or billing.mailonce_ledger",
            )
        self._schema, self._table = parts[:-1], parts[-1]

    def derived(self, suffix: str = "", *, with_schema: bool = True) -> sql.Identifier:
        """Return the quoted name of the table, or of what belongs to it (an index takes no schema)."""
        name = self._table + suffix
        if len(name) > 63:
            # PostgreSQL would cut the name, and two suffixes could then collide.
            name = f"{self._table[:40]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        return sql.Identifier(*(self._schema if with_schema else ()), name)

    def into(self, statement: str) -> sql.Composed:
        """Return a statement with the names in the place of ``{table}`` and its kin."""
        return sql.SQL(statement).format(
            table=self.derived(),
            versions=self.derived("_versions"),
            guard=self.derived("_guard"),
            index_month=self.derived("_month", with_schema=False),
            index_address=self.derived("_address", with_schema=False),
        )


@lru_cache(maxsize=1)
def statements() -> Mapping[str, str]:
    """Return the statements of ``statements.sql``, by name."""
    parts = _NAME.split((files(__package__) / "statements.sql").read_text(encoding="utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@lru_cache(maxsize=1)
def migrations() -> Mapping[int, str]:
    """Return the migrations by version, in order. Each runs once, in one transaction."""
    folder = files(__package__) / "migrations"
    found = {
        int(file.name[:4]): file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")
    }
    return dict(sorted(found.items()))
