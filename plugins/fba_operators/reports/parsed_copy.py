"""Parsed copies of reports: brought from the rows of one report to those of the next, line by line.

A line that is there already stays the row it is, wherever it stands in the new report; only what is new is copied, and
only what is gone is deleted. Readers see one whole report, because the caller's transaction holds all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from fba_operators.reports.document import Block, Document
from fba_operators.reports.rows import Ints
from fba_operators.warehouse.copy import copy_escaped
from fba_operators.warehouse.statements import compose

OURS = -1
"""As a report: the one that is being copied."""

Words = npt.NDArray[np.uint64]


class ParsedCopy:
    """One store's parsed copy, which becomes the rows of a report in the caller's transaction.

    :param db: an open transaction
    :param table: name of the parsed copy in the schema fba
    :param report_id: whose rows it will hold
    :param known: the lines that it has; None: every line is written anew
    :ivar report_ids: of the reports in which the lines that stay were first seen
    :ivar new: rows written
    :ivar gone: SKUs of the rows deleted, where the rows were compared
    """

    def __init__(
        self, db: psycopg.Connection[Any], store: str, table: str, report_id: str, known: KnownLines | None
    ) -> None:
        self._db, self._store, self._report_id = db, store, report_id
        self._table = sql.Identifier("fba", table)
        self.new = 0
        self.gone: list[str] = []
        self._keys: list[tuple[Ints, Ints]] = []
        if known is None:
            db.execute(compose("reports.clear_copy", table=self._table), {"store": store})
        self._known = known or KnownLines([])
        self._known.begin()
        self.report_ids = self._known.report_ids

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
        codes = np.where(ours, OURS, self._known.codes[places] if len(self._known) else 0)
        self._keys.append((codes.astype(np.int32), numbers.astype(np.int32)))
        self.new += int(ours.sum())
        leading = b"".join(copy_escaped(text) + b"\t" for text in (self._store, self._report_id))
        return block.copy_text_of(np.flatnonzero(ours).tolist(), leading)

    def _delete_gone(self) -> None:
        gone = np.flatnonzero(~self._known.used)
        if len(gone):
            report_ids = [self.report_ids[code] for code in self._known.codes[gone].tolist()]
            key = {"store": self._store, "report_ids": report_ids, "line_numbers": self._known.numbers[gone].tolist()}
            self.gone = [sku for (sku,) in self._db.execute(compose("reports.delete_lines", table=self._table), key)]
        self._known = KnownLines([])  # of a large report it takes a lot of memory, and the merge comes after

    def keys(self) -> tuple[Ints, Ints]:
        """The key of each row of the document, in its order.

        :return: in which report it was first seen, as its place in ``report_ids`` or ``OURS``; and as which line of it
        """
        nothing = np.empty(0, np.int32)
        reports, numbers = zip((nothing, nothing), *self._keys, strict=True)
        return np.concatenate(reports), np.concatenate(numbers)


class KnownLines:
    """The lines of a parsed copy by their digests, each to be taken once.

    :param parts: report id, digests and line numbers of each report whose lines are there
    """

    def __init__(self, parts: list[tuple[str, bytes, Ints]]) -> None:
        self.report_ids = [report_id for report_id, *_ in parts]
        pairs = np.concatenate([np.empty((0, 2), np.uint64), *(_pairs(digests) for _, digests, _ in parts)])
        numbers = np.concatenate([np.empty(0, np.int32), *(each.astype(np.int32) for *_, each in parts)])
        codes = np.repeat(np.arange(len(parts), dtype=np.int32), [len(each) for *_, each in parts])
        order = np.argsort(pairs[:, 0], kind="stable")
        self.high, self.low, self.codes, self.numbers = pairs[order, 0], pairs[order, 1], codes[order], numbers[order]
        self.begin()

    @classmethod
    def read(cls, db: psycopg.Connection[Any], store: str, table: str, report_id: str) -> KnownLines | None:
        """Read them; None if they cannot be compared with the lines of a report.

        :param report_id: of that report: rows of this very report would stand in the way of its own lines
        """
        query = compose("reports.known_lines", table=sql.Identifier("fba", table))
        parts = []
        for each, digests, numbers in db.cursor(binary=True).execute(query, {"store": store}):
            if each == report_id or digests is None or len(digests) != 2 * len(numbers):
                return None
            parts.append((each, digests, np.frombuffer(numbers, ">i8")))
        return cls(parts)

    def begin(self) -> None:
        """Put all lines back."""
        self.used = np.zeros(len(self.high), bool)
        self._next: dict[int, int] = {}  # first place of a digest → where to look for the next line that has it

    def are_all_of(self, document: Document) -> bool:
        """Whether the lines of a document are these, in whatever order."""
        self.begin()
        for digests in document.unread_digests():
            if digests is None or (self.take(digests) < 0).any():
                return False
        return bool(self.used.all())

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
