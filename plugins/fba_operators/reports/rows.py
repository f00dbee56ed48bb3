"""Rows in PostgreSQL's COPY text form: where each field ends, its text, its quantity, and whether it passes its check.

That form keeps tabs and newlines as the only separators, so most lines are copied as Amazon sent them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fba_operators.reports.report_types import Check

Ints = npt.NDArray[np.int64]

MISSING = b"\\N"
"""A field that the line does not have: NULL in COPY text form."""

BLANK = -1
"""A quantity that the report leaves blank: unknown, which is not zero."""

MAX_QUANTITY = 10**9
MAX_NAME = 255
"""Characters of a SKU or an id; Amazon's have at most 40. A longer one does not fit into an index, which would stop all rows."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that is kept aside because it cannot be read as a row.

    :param line_number: 1 is the header
    :param reason: why, without any of the line's values
    :param raw: the line's bytes in the document's charset, without its line end
    :param sku: the SKU, where the line is complete enough for it to be reliable, of a report without personal columns
    """

    line_number: int
    reason: str
    raw: bytes
    sku: str | None


CHANNEL = re.compile(rb"DEFAULT|AMAZON_\w+", re.IGNORECASE)
LIKE_A_CHANNEL = re.compile(rb"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
"""What an undocumented channel looks like; in a shifted row there is a number, a blank, or a text with small letters."""

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def unescape(field: str) -> str:
    """A field in COPY text form → its text."""
    return _ESCAPED.sub(lambda match: "\r" if match[1] == "r" else match[1], field)


class Quantities(dict[bytes, int]):
    """Field → quantity; -1 is blank, -2 is not a quantity."""

    def __missing__(self, field: bytes) -> int:
        quantity = -2
        if not field:
            quantity = BLANK
        elif match := re.fullmatch(rb"0*([0-9]{1,10})(?:\.0)?", field):
            quantity = int(match[1])
            if quantity > MAX_QUANTITY:
                quantity = -2
        if len(self) < 100_000:
            self[field] = quantity
        return quantity


class Kinds(dict[bytes, str]):
    """Field → its one shared text."""

    def __missing__(self, field: bytes) -> str:
        text = unescape(field.decode())
        if len(self) < 100_000:
            self[field] = text
        return text


class Rows:
    """Rows of one width in COPY form, each ending in a newline, with the place where each field ends."""

    def __init__(self, text: bytes, ends: Ints, regular: bool) -> None:
        self.text = text
        self.ends = ends
        self.regular = regular

    @classmethod
    def index(cls, text: bytes, width: int) -> Rows:
        """Find the field ends; ``regular`` is false (and the ends of no use) when a line has another width."""
        octets = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(octets - np.uint8(0x09) < 2).astype(np.int64, copy=False)  # tab and newline
        if len(ends) % width:
            return cls(text, ends, False)
        table = ends.reshape(-1, width)
        newline = octets[table] == 0x0A
        return cls(text, table, not newline[:, :-1].any() and bool(newline[:, -1].all()))

    def field(self, place: int) -> list[bytes]:
        """One field of every row, in COPY text form."""
        return self._between(place, place)

    def columns(self, runs: Sequence[tuple[int, int]]) -> list[bytes]:
        """Some fields of every row, in COPY text form.

        :param runs: first and last place of neighbours
        """
        return list(map(b"\t".join, zip(*(self._between(*run) for run in runs), strict=True)))

    def _between(self, first: int, last: int) -> list[bytes]:
        ends = self.ends[:, last].tolist()
        before = self.ends[:, first - 1] if first else np.concatenate([[-1], self.ends[:, -1]])[:-1]
        starts = (before + 1).tolist()
        text = self.text
        return [text[start:end] for start, end in zip(starts, ends, strict=True)]

    def lines(self) -> list[bytes]:
        """Every row, without its newline."""
        return self.text.split(b"\n")[:-1]


def texts_of(fields: list[bytes]) -> list[str]:
    """Fields in COPY form → their text."""
    if not fields:
        return []
    joined = b"\n".join(fields).decode()
    texts = joined.split("\n")
    return [unescape(text) if "\\" in text else text for text in texts] if "\\" in joined else texts


def wrong_rows(check: Check, fields: list[bytes], skus: list[str], quantities: list[int]) -> list[int]:
    """The rows in which a column's fields fail its check."""
    if check in ("quantity", "quantity_or_blank"):
        least = BLANK if check == "quantity_or_blank" else 0
        return (
            [k for k, quantity in enumerate(quantities) if quantity < least]
            if min(quantities, default=0) < least
            else []
        )
    if check == "channel":
        unknown = {field for field in set(fields) if not CHANNEL.fullmatch(field)}
        return [k for k, field in enumerate(fields) if field in unknown] if unknown else []
    texts = skus if check == "sku" else texts_of(fields)
    if all(map(str.strip, texts)) and max(map(len, texts), default=0) <= MAX_NAME:
        return []
    return [k for k, text in enumerate(texts) if not text.strip() or len(text) > MAX_NAME]


REASONS: dict[Check, str] = {
    "sku": f"{{}} is blank, or longer than {MAX_NAME} characters",
    "quantity": f"{{}} is not a whole number from 0 to {MAX_QUANTITY}",
    "quantity_or_blank": f"{{}} is neither blank nor a whole number from 0 to {MAX_QUANTITY}",
    "channel": "{} is neither DEFAULT nor AMAZON_*: undocumented, or a stray tab or newline shifted the row",
    "not_blank": f"{{}} is blank, or longer than {MAX_NAME} characters",
}
