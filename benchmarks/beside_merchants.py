"""A merchant of the sandbox for `benchmarks.beside`, and how a report of his is read: by whom, how well, at what cost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from benchmarks.stage import Stage
from devstack.airflow import store_connection
from sandbox.documents.report_text import afn_rows, listing_rows

LISTINGS, AFN = "GET_MERCHANT_LISTINGS_ALL_DATA", "GET_AFN_INVENTORY_DATA"
# What has to be right in a row, the quantity last; and where this project keeps it.
COLUMNS: dict[str, tuple[str, ...]] = {
    LISTINGS: ("seller-sku", "item-name", "fulfillment-channel", "quantity"),
    AFN: ("seller-sku", "asin", "Warehouse-Condition-code", "Quantity Available"),
}
TABLES = {LISTINGS: "amazon_all_listings_report", AFN: "amazon_afn_inventory_report"}
US, JAPAN = "ATVPDKIKX0DER", "A1VC38T7YXB528"
COUNTRIES = {US: "US", JAPAN: "JP"}
ORDINARY = ("SKU-", "OLD-")
Row = tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """How one reading went: rows read right of the true ones, calls at the sandbox, and the error if it failed."""

    right: int
    of: int
    calls: Counter[str]
    peak_mb: float
    seconds: float = 0.0
    error: str | None = None

    @property
    def whole(self) -> bool:
        """Whether all rows came, right, and no error with them."""
        return self.right == self.of and not self.error

    def __str__(self) -> str:
        if not self.error:
            return f"{self.right:,} of {self.of:,}"
        return f"{self.error}, {self.right:,} of {self.of:,} before" if self.right else self.error


@dataclass(frozen=True)
class Merchant:
    """A merchant of his own for each reading, so that no one profits or suffers from what another asked for."""

    on: Stage
    python: Path
    number: int
    marketplace_id: str = US
    report_type: str = LISTINGS

    @property
    def seller_id(self) -> str:
        """His id at the sandbox."""
        return f"ABESIDE{self.number}"

    def open(self, listings: int, shape: dict[str, Any] | None = None, odd: tuple[str, ...] = ()) -> Merchant:
        """List his goods."""
        world = self.on.amazon.world
        world.add_merchant(self.seller_id, [self.marketplace_id], listings=listings, oddities=bool(odd))
        if odd and odd != ("",):
            skus = list(world.merchant(self.seller_id).catalogue(self.marketplace_id).items)
            unwanted = [sku for sku in skus if not sku.startswith(ORDINARY) and sku not in odd]
            world.remove_items(self.seller_id, self.marketplace_id, unwanted)
        world.set_rendering(self.seller_id, self.marketplace_id, self.report_type, **(shape or {}))
        return self

    def truth(self) -> Counter[Row]:
        """The rows the report has, from his goods themselves."""
        catalogue = self.on.amazon.world.merchant(self.seller_id).catalogue(self.marketplace_id)
        rendering, goods = catalogue.rendering(self.report_type), catalogue.items.values()
        rows = listing_rows(goods, rendering) if self.report_type == LISTINGS else afn_rows(goods)
        return Counter(tuple(rendering.as_sent(row[name]) for name in COLUMNS[self.report_type]) for row in rows)

    def read(self, way: str) -> Told:
        """Let his report be read in one of the ways, in a process of its own."""
        world, store = self.on.amazon.world, f"beside_{self.number}"
        known, output = world.credentials(self.seller_id), self.on.folder / f"{store}.jsonl"
        keys = {name: known[name] for name in ("client_id", "client_secret", "refresh_token")}
        seller = {"seller_id": self.seller_id, "marketplace_id": self.marketplace_id}
        task = {
            **keys,
            "how": way,
            "report_type": self.report_type,
            "marketplace_id": self.marketplace_id,
            "country": COUNTRIES[self.marketplace_id],
            "host": urlsplit(self.on.amazon.url).netloc,
            "database": self.on.warehouse_url,
            "table": TABLES[self.report_type] if way == "ours" else store,
            "output": str(output),
            "store": store,
            "connection": store_connection(self.on.amazon.url, **seller, refresh_token=keys["refresh_token"]),
        }
        command = [sys.executable, "-m", "benchmarks.beside_ours"]
        if way != "ours":
            command = [str(self.python), str(Path(__file__).with_name("beside_theirs.py"))]
        before = Counter(world.calls(self.seller_id)["calls"])
        child = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, check=False)
        if child.returncode:
            raise RuntimeError(child.stderr[-3000:])
        told = json.loads(child.stdout.strip().splitlines()[-1])
        calls, truth = Counter(world.calls(self.seller_id)["calls"]) - before, self.truth()
        right = (Counter(map(plainly, self._found(way, store, output, told))) & truth).total()
        return Told(right, truth.total(), calls, **told)

    def _found(self, way: str, store: str, output: Path, told: dict[str, Any]) -> list[tuple[Any, ...]]:
        columns = COLUMNS[self.report_type]
        if way == "airbyte":
            messages = map(json.loads, output.open())
            records = [message["record"]["data"] for message in messages if message["type"] == "RECORD"]
            return [tuple(record.get(name) for name in columns) for record in records]
        if "error" in told:
            return []
        query, table = "SELECT {} FROM {}", sql.Identifier(store)
        if way == "ours":
            columns = tuple(name.lower().replace("-", "_").replace(" ", "_") for name in columns)
            query, table = query + " WHERE store = {}", sql.Identifier("fba", TABLES[self.report_type])
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        with psycopg.connect(self.on.warehouse_url) as db:
            return db.execute(sql.SQL(query).format(names, table, store)).fetchall()


def plainly(row: Iterable[Any]) -> Row:
    """A row as text, kindly: missing is blank, and a quantity of 12.0 is 12."""
    *texts, quantity = ("" if value is None else str(value) for value in row)
    return (*texts, "" if quantity == "nan" else quantity.removesuffix(".0"))
