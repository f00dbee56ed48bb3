"""Named SQL statements: ``include/sql/<room>.sql``, where a line ``-- name: x`` begins the statement ``room.x``."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from fba_operators import INCLUDE

SQL_FOLDER = INCLUDE / "sql"


@cache
def statements_of(room: str) -> dict[str, bytes]:
    """Return every statement of a room's SQL file by its name.

    :param room: file name without folder and suffix, e.g. ``reports``
    """
    text = (SQL_FOLDER / f"{room}.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return {name: body.strip().encode() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def statement(name: str) -> bytes:
    """Return one statement.

    :param name: room and statement, e.g. ``reports.by_id``
    :raises KeyError: there is no such statement
    """
    room, _, key = name.partition(".")
    return statements_of(room)[key]


def execute(db: psycopg.Connection[Any], name: str, /, **values: Any) -> psycopg.Cursor[dict[str, Any]]:
    """Run a named statement in the caller's transaction; the cursor returns rows as dicts.

    :param name: room and statement, e.g. ``reports.by_id``
    :param values: the statement's bind parameters; values it does not use are ignored
    """
    return db.cursor(row_factory=dict_row).execute(statement(name), values or None)


def compose(name: str, /, **parts: sql.Composable) -> sql.Composed:
    """Fill the ``{placeholders}`` of a named statement with identifiers, literals or other SQL.

    :param name: room and statement, e.g. ``reports.fill_copy``
    """
    return sql.SQL(statement(name).decode()).format(**parts)
