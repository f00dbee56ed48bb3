"""A merchant of the sandbox, and one reading of its report: rows read correctly, calls, seconds, memory."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from benchmarks.common.processes import result_in, run
from benchmarks.common.stacks import US, Stack
from devstack.airflow import store_connection
from sandbox.documents.report_text import afn_rows, listing_rows
from sandbox.merchant.merchant import AFN, LISTINGS

# The columns that are compared, the quantity last; and the table where this project keeps them.
COLUMNS: dict[str, tuple[str, ...]] = {
    LISTINGS: ("seller-sku", "item-name", "fulfillment-channel", "quantity"),
    AFN: ("seller-sku", "asin", "Warehouse-Condition-code", "Quantity Available"),
}
TABLES = {LISTINGS: "amazon_all_listings_report", AFN: "amazon_afn_inventory_report"}
JAPAN = "A1VC38T7YXB528"
COUNTRIES = {US: "US", JAPAN: "JP"}
ORDINARY_SKUS = ("SKU-", "OLD-")  # prefixes; the others are edge cases
OTHER_TOOLS = Path(__file__).with_name("other_tools.py")
Row = tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """How one reading went: rows read correctly, rows of the report, calls at the sandbox, and the error if it failed."""

    correct: int
    total: int
    calls: Counter[str]
    peak_mb: float
    seconds: float = 0.0
    error: str | None = None

    @property
    def complete(self) -> bool:
        """Whether all rows were read correctly, without an error."""
        return self.correct == self.total and not self.error

    def __str__(self) -> str:
        if not self.error:
            return f"{self.correct:,} of {self.total:,}"
        return f"{self.error}, {self.correct:,} of {self.total:,} before" if self.correct else self.error


@dataclass(frozen=True)
class Merchant:
    """A merchant for a single reading, so that no reading is affected by the reports of another."""

    stack: Stack
    python: Path
    number: int
    marketplace_id: str = US
    report_type: str = LISTINGS

    @property
    def seller_id(self) -> str:
        """Its id at the sandbox."""
        return f"ABESIDE{self.number}"

    @property
    def store(self) -> str:
        """Its connection id."""
        return f"beside_{self.number}"

    def add(self, listings: int, rendering: dict[str, Any] | None = None, special_skus: tuple[str, ...] = ()) -> None:
        """Add the merchant to the sandbox.

        :param rendering: how its report is written, where it differs from the usual
        :param special_skus: the SKUs to list in addition to ordinary ones; an empty text stands for all edge cases
        """
        world = self.stack.amazon.world
        world.add_merchant(self.seller_id, [self.marketplace_id], listings=listings, oddities=bool(special_skus))
        if special_skus and "" not in special_skus:
            skus = list(world.merchant(self.seller_id).catalogue(self.marketplace_id).items)
            others = [sku for sku in skus if not sku.startswith(ORDINARY_SKUS) and sku not in special_skus]
            world.remove_items(self.seller_id, self.marketplace_id, others)
        world.set_rendering(self.seller_id, self.marketplace_id, self.report_type, **(rendering or {}))

    def true_rows(self) -> Counter[Row]:
        """The rows a correct reader finds in the report, derived from the merchant's listings and stock."""
        catalogue = self.stack.amazon.world.merchant(self.seller_id).catalogue(self.marketplace_id)
        rendering, items = catalogue.rendering(self.report_type), catalogue.items.values()
        rows = listing_rows(items, rendering) if self.report_type == LISTINGS else afn_rows(items)
        return Counter(tuple(rendering.as_sent(row[name]) for name in COLUMNS[self.report_type]) for row in rows)

    def read(self, tool: str) -> Reading:
        """Let a tool read the merchant's report, in a separate process."""
        world, output = self.stack.amazon.world, self.stack.folder / f"{self.store}.jsonl"
        credentials = world.credentials(self.seller_id)
        connection = {"seller_id": self.seller_id, "marketplace_id": self.marketplace_id}
        task = {
            **{name: credentials[name] for name in ("client_id", "client_secret", "refresh_token")},
            "tool": tool,
            "report_type": self.report_type,
            "marketplace_id": self.marketplace_id,
            "country": COUNTRIES[self.marketplace_id],
            "host": urlsplit(self.stack.amazon.url).netloc,
            "database": self.stack.warehouse_url,
            "table": TABLES[self.report_type] if tool == "this_project" else self.store,
            "output": str(output),
            "store": self.store,
            "connection": store_connection(
                self.stack.amazon.url, **connection, refresh_token=credentials["refresh_token"]
            ),
        }
        command = [sys.executable, "-m", "benchmarks.beside.this_project"]
        if tool != "this_project":
            command = [str(self.python), str(OTHER_TOOLS)]
        before = Counter(world.calls(self.seller_id)["calls"])
        result = result_in(run(command, stdin=json.dumps(task)))
        calls, true_rows = Counter(world.calls(self.seller_id)["calls"]) - before, self.true_rows()
        rows = self._rows_in_json(output) if tool == "airbyte" else self._rows_in_database(tool, result)
        return Reading((Counter(map(as_text, rows)) & true_rows).total(), true_rows.total(), calls, **result)

    def _rows_in_json(self, output: Path) -> list[tuple[Any, ...]]:
        messages = map(json.loads, output.open())
        records = [message["record"]["data"] for message in messages if message["type"] == "RECORD"]
        return [tuple(record.get(name) for name in COLUMNS[self.report_type]) for record in records]

    def _rows_in_database(self, tool: str, result: dict[str, Any]) -> list[tuple[Any, ...]]:
        if "error" in result:
            return []
        columns = COLUMNS[self.report_type]
        query, table = "SELECT {} FROM {}", sql.Identifier(self.store)
        if tool == "this_project":
            columns = tuple(name.lower().replace("-", "_").replace(" ", "_") for name in columns)
            query, table = query + " WHERE store = {}", sql.Identifier("fba", TABLES[self.report_type])
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        with psycopg.connect(self.stack.warehouse_url) as db:
            return db.execute(sql.SQL(query).format(names, table, self.store)).fetchall()


def as_text(row: Iterable[Any]) -> Row:
    """A row as text, with differences removed that do no harm: a missing value is blank, and a quantity of 12.0 is 12."""
    *texts, quantity = ("" if value is None else str(value) for value in row)
    return (*texts, "" if quantity == "nan" else quantity.removesuffix(".0"))
