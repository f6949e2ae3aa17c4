"""Loads the named statements of the PostgreSQL ledger, and puts the names of its tables in."""

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

TABLES = {
    "table": "", "suppressions": "_suppressions", "epoch": "_epoch", "rates": "_rates", "purges": "_purges",
    "versions": "_versions",
}  # fmt: skip
"""What statements call the ledger's tables, and what each adds to the ledger's name. The first holds the deliveries."""


class Table:
    """The name of the ledger's table, quoted, and the names derived from it.

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

    @property
    def schema(self) -> str | None:
        """The schema that the name tells; None: the first in the database's search path."""
        return self._schema[0] if self._schema else None

    def derived(self, suffix: str = "", *, with_schema: bool = True) -> sql.Identifier:
        """Return the quoted name of the table, or of what belongs to it (an index takes no schema)."""
        name = self._table + suffix
        if len(name) > 63:
            # PostgreSQL would cut the name, and two suffixes could then collide.
            name = f"{self._table[:40]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        return sql.Identifier(*(self._schema if with_schema else ()), name)

    def quoted(self, what: str) -> str:
        """Return the name of one of the :data:`TABLES` as text for ``to_regclass``."""
        return self.derived(TABLES[what]).as_string()

    def into(self, statement: str) -> sql.Composed:
        """Return a statement with the names in the place of ``{table}`` and its kin."""
        return sql.SQL(statement).format(
            **{what: self.derived(suffix) for what, suffix in TABLES.items()},
            name=sql.Literal(self.quoted("table")),
            guard=self.derived("_guard"),
            index_month=self.derived("_month", with_schema=False),
            index_address=self.derived("_address", with_schema=False),
            index_standing=self.derived("_standing", with_schema=False),
        )


@lru_cache(maxsize=1)
def statements() -> Mapping[str, str]:
    """Return the statements of every file in ``sql``, by name."""
    found: dict[str, str] = {}
    for file in (files(__package__) / "sql").iterdir():
        parts = _NAME.split(file.read_text(encoding="utf-8"))
        found.update(zip(parts[1::2], parts[2::2], strict=True))
    return found
