"""Tables as CSV that a spreadsheet reads as what it is: numbers are numbers, and no text is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def cell(value: Any) -> str:
    """One value. A spreadsheet would compute a text that begins like a formula, so it gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    words = str(value)
    return f"'{words}" if words.lstrip(" \u00a0").startswith(_FORMULA) else words


def lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The lines of a table, its header first; a byte order mark before it, without which Excel takes UTF-8 for something else.

    :param columns: keys of the rows, and the header
    """
    held = io.StringIO("\ufeff")
    held.seek(0, io.SEEK_END)
    writer = csv.writer(held, lineterminator="\r\n")
    writer.writerow(columns)
    yield held.getvalue()
    for row in rows:
        held.seek(0)
        held.truncate()
        writer.writerow([cell(row[name]) for name in columns])
        yield held.getvalue()
