"""Long tables: one screen of them at a time, or all of them as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import psycopg
from fastapi import Query
from fastapi.responses import StreamingResponse

from fba_operators.desk.csv_rows import lines
from fba_operators.desk.reading import reading

SCREEN = 50  # rows
AT_ONCE = 2000  # rows of a CSV that are read in one statement
ON_SCREEN, IN_CELL = 200, 30_000  # letters of a text on a page, and in a CSV: a spreadsheet takes 32,767

Row = Mapping[str, Any]
# A word of an address. PostgreSQL has no NUL character, and nothing that is looked for is longer than a key can be.
Text = Annotated[str, Query(max_length=4000, pattern=r"^[^\x00]*$")]
# Reads the rows that follow a row, or the first ones.
Reader = Callable[[psycopg.Connection[Any], Row | None, int], list[dict[str, Any]]]


def screen(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Row | None]:
    """The rows of one screen, and the last of them if more follow.

    :param rows: one row more than fits, where there are more
    """
    return rows[:SCREEN], (rows[SCREEN - 1] if len(rows) > SCREEN else None)


def as_csv(name: str, columns: Sequence[str], read: Reader) -> StreamingResponse:
    """All rows of a table as a file; they are read while they are sent, so it may be long.

    :param name: of the file, without its ending
    """
    # Read before anything is sent, so that a warehouse that cannot be read is a page and not half a file.
    with _reading() as db:
        first = read(db, None, AT_ONCE)

    def rows() -> Iterator[dict[str, Any]]:
        part = first
        while True:
            yield from part
            if len(part) < AT_ONCE:
                return
            with _reading() as db:
                part = read(db, part[-1], AT_ONCE)

    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(lines(columns, rows()), media_type="text/csv; charset=utf-8", headers=headers)


def rows_as_csv(name: str, columns: Sequence[str], rows: list[dict[str, Any]]) -> StreamingResponse:
    """A short table as a file."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(lines(columns, rows), media_type="text/csv; charset=utf-8", headers=headers)


@contextmanager
def _reading() -> Iterator[psycopg.Connection[Any]]:
    yield from reading()
