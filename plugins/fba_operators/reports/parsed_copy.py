"""Parsed copies of reports: brought from the rows of one report to those of the next, line by line.

A line that is there already stays the row it is, wherever it stands in the new report; only what is new is copied, and
only what is gone is deleted. Readers see one whole report, because the caller's transaction holds all of it.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from fba_operators.reports.document import Block
from fba_operators.reports.rows import Ints
from fba_operators.warehouse.copy import copy_escaped
from fba_operators.warehouse.statements import compose

OURS = -1
"""As a report: the one that is being copied."""

_DIGEST = 16  # bytes

Words = npt.NDArray[np.uint64]


class ParsedCopy:
    """One store's parsed copy, which becomes the rows of a report in the caller's transaction.

    :param db: an open transaction
    :param table: name of the parsed copy in the schema fba
    :param report_id: whose rows it will hold
    :param compare: whether the digests in the table can be relied on; otherwise every line is written anew
    :ivar report_ids: of the reports in which the lines that stay were first seen
    :ivar new: rows written
    :ivar gone: SKUs of the rows deleted, where the rows were compared
    """

    def __init__(self, db: psycopg.Connection[Any], store: str, table: str, report_id: str, *, compare: bool) -> None:
        self._db, self._store, self._report_id = db, store, report_id
        self._table = sql.Identifier("fba", table)
        self.report_ids: list[str] = []
        self.new = 0
        self.gone: list[str] = []
        self._known = _Lines.nothing()
        self._keys: list[tuple[Ints, Ints]] = []
        known = self._read() if compare else None
        if known is None:
            db.execute(compose("reports.clear_copy", table=self._table), {"store": store})
        else:
            self._known = known

    def _read(self) -> _Lines | None:
        """The lines that the copy has; None if they are not to be compared."""
        cursor = self._db.cursor(binary=True)
        cursor.execute(compose("reports.known_lines", table=self._table), {"store": self._store})
        parts = []
        for code, (report_id, digests, numbers) in enumerate(cursor):
            # Rows of this very report would stand in the way of their own lines.
            if report_id == self._report_id or digests is None or len(digests) != 2 * len(numbers):
                return None
            self.report_ids.append(report_id)
            parts.append((digests, np.frombuffer(numbers, ">i8"), code))
        return _Lines.of(parts)

    def apply(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Copy the new ones among the rows of a document, while its blocks are passed on; then delete what is gone."""
        blocks = iter(blocks)
        first = next(blocks, None)
        if first is not None:
            names = ("store", "report_id", *first.document.copy_columns, "line_digest")
            columns = sql.SQL(", ").join(map(sql.Identifier, names))
            cursor = self._db.cursor()
            with cursor.copy(compose("reports.fill_copy", table=self._table, columns=columns)) as copy:
                copy.write(self._new_lines(first))
                yield first
                for block in blocks:
                    copy.write(self._new_lines(block))
                    yield block
            if cursor.rowcount != self.new:
                raise RuntimeError(
                    f"{self._store}: {self.new} rows were to be copied, PostgreSQL has {cursor.rowcount}"
                )
        self._delete_gone()

    def _new_lines(self, block: Block) -> bytes:
        """The rows of a block that the copy does not have, in COPY form."""
        places = self._known.take(block.digests)
        ours = places < 0
        numbers = np.where(ours, block.line_numbers, self._known.numbers[places] if len(self._known) else 0)
        self._keys.append((np.where(ours, OURS, self._known.codes[places] if len(self._known) else 0), numbers))
        self.new += int(ours.sum())
        leading = b"".join(copy_escaped(text) + b"\t" for text in (self._store, self._report_id)).replace(b"%", b"%%")
        template = leading + b"%d\t%b\t\\\\x%b\n"
        digests, width = hexlify(block.digests), 2 * _DIGEST
        lines, line_numbers = block.lines, block.line_numbers.tolist()
        return b"".join(
            [
                template % (line_numbers[k], lines[k], digests[k * width : (k + 1) * width])
                for k in np.flatnonzero(ours).tolist()
            ]
        )

    def _delete_gone(self) -> None:
        gone = np.flatnonzero(~self._known.used)
        if len(gone):
            report_ids = [self.report_ids[code] for code in self._known.codes[gone].tolist()]
            key = {"store": self._store, "report_ids": report_ids, "line_numbers": self._known.numbers[gone].tolist()}
            self.gone = [sku for (sku,) in self._db.execute(compose("reports.delete_lines", table=self._table), key)]

    def keys(self) -> tuple[Ints, Ints]:
        """The key of each row of the document, in its order.

        :return: in which report it was first seen, as its place in ``report_ids`` or ``OURS``; and as which line of it
        """
        nothing = np.empty(0, np.int64)
        reports, numbers = zip((nothing, nothing), *self._keys, strict=True)
        return np.concatenate(reports), np.concatenate(numbers)


class _Lines:
    """Lines by their digests, each to be taken once."""

    def __init__(self, high: Words, low: Words, codes: Ints, numbers: Ints) -> None:
        order = np.argsort(high, kind="stable")
        self.high, self.low, self.codes, self.numbers = high[order], low[order], codes[order], numbers[order]
        self.used = np.zeros(len(high), bool)
        self._next: dict[int, int] = {}  # first place of a digest → where to look for the next line that has it

    @classmethod
    def nothing(cls) -> _Lines:
        return cls.of([])

    @classmethod
    def of(cls, parts: list[tuple[bytes, Ints, int]]) -> _Lines:
        """:param parts: digests, line numbers and code of each report"""
        pairs = np.concatenate([np.empty((0, 2), np.uint64), *(_pairs(digests) for digests, _, _ in parts)])
        numbers = np.concatenate([np.empty(0, np.int64), *(each.astype(np.int64) for _, each, _ in parts)])
        codes = np.repeat(np.array([code for *_, code in parts], np.int64), [len(each) for _, each, _ in parts])
        return cls(pairs[:, 0].copy(), pairs[:, 1].copy(), codes, numbers)

    def __len__(self) -> int:
        return len(self.high)

    def take(self, digests: bytes) -> Ints:
        """The place of a line with each digest, -1 where there is none (left)."""
        high, low = _pairs(digests).T
        if not len(self):
            return np.full(len(high), -1)
        places = np.minimum(np.searchsorted(self.high, high), len(self) - 1)
        # Both halves are compared: a line with half a digest in common counts as another one.
        known = np.flatnonzero((self.high[places] == high) & (self.low[places] == low))
        _, first = np.unique(places[known], return_index=True)
        alone = np.zeros(len(known), bool)
        alone[first] = True
        alone &= ~self.used[places[known]]
        taken = np.full(len(high), -1)
        taken[known[alone]] = places[known[alone]]
        self.used[places[known[alone]]] = True
        for k in known[~alone].tolist():
            taken[k] = self._take_again(int(places[k]))
        return taken

    def _take_again(self, first: int) -> int:
        """The place of the next line that is equal to the one at a place, -1 when they are used up."""
        place = self._next.get(first, first + 1)
        while place < len(self) and self.high[place] == self.high[first]:
            if self.low[place] == self.low[first] and not self.used[place]:
                self.used[place] = True
                self._next[first] = place + 1
                return place
            place += 1
        self._next[first] = place
        return -1


def _pairs(digests: bytes) -> Words:
    return np.frombuffer(digests, np.uint64).reshape(-1, 2)
