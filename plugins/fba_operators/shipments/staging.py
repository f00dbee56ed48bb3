"""Rows of a shipments report into a staging table: those that are not known yet, as they are.

Most rows of a window were in the report before. A row with an id that is known as it is needs no comparison; it is only
counted. Rows without an id are told apart by their number among equal ones, so of those either all are compared or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from fba_operators.reports.document import Block, Document
from fba_operators.reports.parsed_copy import KnownLines
from fba_operators.warehouse.statements import compose, execute

Bools = npt.NDArray[np.bool_]
_NEITHER = ("", False)  # an order of another channel without a number of the merchant's


@dataclass
class Known:
    """Rows that are known as they are.

    :param orders: (merchant-order-id, whether it is a multi-channel order) → number of rows, of those that have either
    :param skus: SKU → number of rows
    """

    rows: int = 0
    orders: Counter[tuple[str, bool]] = field(default_factory=Counter)
    skus: Counter[str] = field(default_factory=Counter)

    def add(self, skus: list[str], orders: list[tuple[str, bool]], places: list[int]) -> None:
        """Count rows of a block.

        :param orders: of all its rows: merchant-order-id, whether it is a multi-channel order
        """
        self.rows += len(places)
        self.skus.update([skus[k] for k in places])
        self.orders.update([orders[k] for k in places if orders[k] != _NEITHER])

    def __add__(self, other: Known) -> Known:
        return Known(self.rows + other.rows, self.orders + other.orders, self.skus + other.skus)

    def counts(self, db: psycopg.Connection[Any], store: str) -> Counter[str]:
        """Rows, of_requests, without_request, unknown_sku, as of the rows that are staged."""
        if not self.rows:
            return Counter()
        orders = {
            "fr_numbers": [number for number, _ in self.orders],
            "multi_channel": [is_multi for _, is_multi in self.orders],
            "numbers": list(self.orders.values()),
        }
        counts = Counter(rows=self.rows)
        counts.update(execute(db, "shipments.count_known_orders", store=store, **orders).fetchone() or {})
        skus = {"skus": list(self.skus), "numbers": list(self.skus.values())}
        counts.update(execute(db, "shipments.count_known_skus", store=store, **skus).fetchone() or {})
        return counts


class Staging:
    """The staging table of one load, in the caller's transaction.

    :param window: begin and end of the report's window, either None where it is not known
    :ivar known: rows that are not staged because they are known
    :ivar known_without_id: how many of them have no shipment-item-id
    """

    def __init__(
        self, db: psycopg.Connection[Any], store: str, window: tuple[datetime | None, datetime | None]
    ) -> None:
        self._db = db
        self.known = Known()
        self.known_without_id = 0
        (row,) = execute(db, "shipments.known_lines", store=store, data_start=window[0], data_end=window[1]).fetchall()
        self._lines = KnownLines([("", row["digests"], np.arange(row["number"]))] if row["number"] else [])
        execute(db, "shipments.create_staging")

    def fill(self, blocks: Iterable[Block]) -> None:
        """Stage the rows of a document, which may be read again."""
        with_id, without_id = Known(), Known()
        document: Document | None = None
        staged, passed = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        all_without_id_known = True
        with _Copy(self._db) as copy:
            for block in blocks:
                document = block.document
                if not len(self._lines):
                    copy.write(block, range(len(block)))
                    continue
                known = self._lines.take(block.digests) >= 0
                ids = block.column("shipment_item_id")
                has_id = np.array(list(map(bool, ids)), bool)
                hashes = np.fromiter(map(hash, ids), np.int64, len(block))
                staged.append(hashes[has_id & ~known])
                passed.append(hashes[has_id & known])
                copy.write(block, np.flatnonzero(has_id & ~known).tolist())
                orders = _orders(block)
                with_id.add(block.skus, orders, np.flatnonzero(has_id & known).tolist())
                without_id.add(block.skus, orders, np.flatnonzero(~has_id & known).tolist())
                all_without_id_known &= bool((has_id | known).all())
        if document is None:
            return
        if np.isin(np.concatenate(staged), np.concatenate(passed)).any():
            # One id is in a new row and in a known one: which of them is the last decides, so all are compared.
            execute(self._db, "shipments.clear_staging")
            self._stage(document, lambda block: np.ones(len(block), bool))
        elif all_without_id_known:
            self.known_without_id = without_id.rows
            self.known = with_id + without_id
        else:
            self.known = with_id
            self._stage(document, lambda block: ~_has_id(block))

    def _stage(self, document: Document, which: Callable[[Block], Bools]) -> None:
        """Read a document again and stage some of its rows."""
        with _Copy(self._db) as copy:
            for block in document.blocks():
                copy.write(block, np.flatnonzero(which(block)).tolist())


def _has_id(block: Block) -> Bools:
    return np.array(list(map(bool, block.column("shipment_item_id"))), bool)


def _orders(block: Block) -> list[tuple[str, bool]]:
    """Of each row its merchant-order-id, and whether it is of a multi-channel order."""
    columns = block.column("merchant_order_id"), block.column("amazon_order_id")
    return [(merchant or "", (order or "").startswith("S0")) for merchant, order in zip(*columns, strict=True)]


class _Copy:
    """A COPY into the staging table, which begins with the first block."""

    def __init__(self, db: psycopg.Connection[Any]) -> None:
        self._cursor = db.cursor()
        self._context: Any = None
        self._copy: Any = None

    def __enter__(self) -> _Copy:
        return self

    def write(self, block: Block, places: Iterable[int]) -> None:
        """Stage rows of a block."""
        if self._copy is None:
            columns = sql.SQL(", ").join(map(sql.Identifier, (*block.document.copy_columns, "line_digest")))
            self._context = self._cursor.copy(compose("shipments.fill_staging", columns=columns))
            self._copy = self._context.__enter__()
        self._copy.write(block.copy_text_of(places))

    def __exit__(self, *error: Any) -> None:
        if self._context is not None:
            self._context.__exit__(*error)
