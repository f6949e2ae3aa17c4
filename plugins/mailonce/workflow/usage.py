"""The usage query: one SQL file, through any DB-API hook, streamed row by row."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from mailonce.errors import InvalidInput
from mailonce.period import Period

FETCH = 1000
"""Rows asked for at a time."""

_PARAMETER = re.compile(r"(?<![:\w]):(period_start|period_end)\b")
_SILENT = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)


def usage_rows(conn_id: str, statement: str, period: Period) -> Iterator[dict[str, Any]]:
    """Yield the query's rows as they come, by column name.

    :param conn_id: an Airflow connection whose hook speaks DB-API: PostgreSQL, Redshift, Snowflake, Athena, SQLite…
    :param statement: SQL with the bound parameters ``:period_start`` and ``:period_end``, and no others.
    :raises mailonce.errors.InvalidInput: the connection has no such hook, or the query returns no columns.
    """
    hook = _hook(conn_id)
    with closing(hook.get_conn()) as connection:
        # A PostgreSQL cursor with a name stays on the server; without one the driver holds the whole result.
        named = {"name": "mailonce_usage"} if hook.conn_type == "postgres" else {}
        with closing(connection.cursor(**named)) as cursor:
            cursor.arraysize = FETCH
            style = parameter_style(connection)
            cursor.execute(*bind(statement, style, _values(period, hook.conn_type)))
            rows = cursor.fetchmany(FETCH)
            if cursor.description is None:
                raise InvalidInput(field="usage query", reason="it returns no rows at all", remedy="Make it a SELECT")
            columns = [str(column[0]) for column in cursor.description]
            _check_columns(columns)
            while rows:
                for row in rows:
                    yield dict(zip(columns, row, strict=True))
                rows = cursor.fetchmany(FETCH)


def read_statement(path: Path) -> str:
    """Return the SQL in a file, without the semicolon at its end, which some drivers refuse.

    :raises mailonce.errors.InvalidInput: there is no such file, or it is empty.
    """
    try:
        statement = path.read_text(encoding="utf-8").strip().rstrip(";").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(field=f"usage query {path.name}", reason=str(error), remedy="Put the query there") from error
    if not statement:
        raise InvalidInput(field=f"usage query {path.name}", reason="it is empty", remedy="Write the query")
    return statement


def bind(statement: str, style: str, values: Mapping[str, Any]) -> tuple[str, Any]:
    """Return a statement and its parameters in a driver's own style (PEP 249, ``paramstyle``).

    :param statement: with ``:period_start`` and ``:period_end``; text in quotes and comments is left alone.
    :param style: ``qmark``, ``numeric``, ``named``, ``format`` or ``pyformat``.
    """
    order: list[str] = []

    def placeholder(name: str) -> str:
        order.append(name)
        return {"named": f":{name}", "pyformat": f"%({name})s", "format": "%s", "numeric": f":{len(order)}"}.get(
            style, "?"
        )

    percent = style in ("format", "pyformat")
    pieces: list[str] = []
    position = 0
    for silent in [*_SILENT.finditer(statement), None]:
        code = statement[position : silent.start() if silent else None]
        code = code.replace("%", "%%") if percent else code
        pieces.append(_PARAMETER.sub(lambda match: placeholder(match[1]), code))
        if silent:
            pieces.append(silent[0].replace("%", "%%") if percent else silent[0])
            position = silent.end()
    if style in ("named", "pyformat"):
        return "".join(pieces), {name: values[name] for name in dict.fromkeys(order)}
    return "".join(pieces), [values[name] for name in order]


def parameter_style(connection: Any) -> str:
    """Return the ``paramstyle`` of the driver that made a DB-API connection."""
    parts = type(connection).__module__.split(".")
    for length in range(len(parts), 0, -1):
        style = getattr(sys.modules.get(".".join(parts[:length])), "paramstyle", None)
        if isinstance(style, str):
            return style
    return "pyformat"


def _values(period: Period, conn_type: str) -> dict[str, Any]:
    """Return the month's bounds as instants in UTC; as ISO text for SQLite, which has no type for them."""

    def value(instant: datetime) -> Any:
        if conn_type == "sqlite":
            return instant.isoformat()
        # Athena's driver writes a time stamp without a zone: it is UTC either way.
        return instant.replace(tzinfo=None) if conn_type == "athena" else instant

    return {"period_start": value(period.starts_at), "period_end": value(period.ends_at)}


def _check_columns(columns: list[str]) -> None:
    names = [column.lower() for column in columns]
    for required in ("recipient_id", "email"):
        if required not in names:
            raise InvalidInput(
                field="usage query",
                reason=f"it returns no column {required} (it returns {', '.join(names)})",
                remedy="Name the columns with AS",
            )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(
            field="usage query", reason=f"it returns {', '.join(twice)} twice", remedy="Give each column its own name"
        )


def _hook(conn_id: str) -> Any:
    from mailonce.compatibility import AirflowNotFoundException, BaseHook

    try:
        hook = BaseHook.get_hook(conn_id)
    except AirflowNotFoundException as error:
        raise InvalidInput(
            field=f"connection {conn_id}",
            reason="it does not exist",
            remedy="Create it in Airflow (Admin > Connections), or name another in [mailonce] usage_conn_id",
        ) from error
    if not hasattr(hook, "get_conn") or not hasattr(hook, "get_records"):
        raise InvalidInput(
            field=f"connection {conn_id}",
            reason=f"its type ({getattr(hook, 'conn_type', '?')}) runs no SQL",
            remedy="Use a database connection; for Athena the type `athena`",
        )
    return hook
