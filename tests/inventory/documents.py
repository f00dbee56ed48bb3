"""Pairs of reports with documents of a test's own, put into the ledger the way a download leaves them."""

from __future__ import annotations

import gzip
import uuid
from typing import Any

from fba_operators.operators import MergeInventoryOperator
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.encryption import encrypt
from tests.helpers import run
from tests.stores import AFN, LISTINGS, STORE, US

HEADER = "seller-sku\tquantity\tfulfillment-channel\titem-name\tprice\n"
AFN_HEADER = "seller-sku\tfulfillment-channel-sku\tWarehouse-Condition-code\tQuantity Available\n"
COPIES = {LISTINGS: "amazon_all_listings_report", AFN: "amazon_afn_inventory_report"}


def listing(
    sku: str, title: str = "A title", quantity: str = "", channel: str = "AMAZON_NA", price: str = "9.99"
) -> str:
    return f"{sku}\t{quantity}\t{channel}\t{title}\t{price}\n"


def stock(sku: str, quantity: int | str = 1, condition: str = "SELLABLE", fnsku: str = "") -> str:
    return f"{sku}\t{fnsku or 'X-' + sku}\t{condition}\t{quantity}\n"


class Pairs:
    """Pairs of reports of one store, each asked for an hour after the one before."""

    def __init__(self, warehouse: Warehouse, sql: Any) -> None:
        self.warehouse, self.sql, self.count = warehouse, sql, 0

    def add(self, listings: str, afn: str, *, level: int = 6) -> dict[str, str]:
        """Add a finished pair; returns the report ids by type."""
        self.count += 1
        ids = {LISTINGS: str(70_000_000_000 + self.count), AFN: str(80_000_000_000 + self.count)}
        with self.warehouse.connect() as db:
            for (report_type, report_id), text in zip(ids.items(), (listings, afn), strict=True):
                db.execute(
                    "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, status, document_id,"
                    " requested_at) VALUES (%s, %s, %s, %s, %s, 'DONE', 'kept', '2026-09-01'::timestamptz + make_interval(hours => %s))",
                    (uuid.uuid4(), STORE, report_id, report_type, US, self.count),
                )
                db.execute(
                    "INSERT INTO fba.report_document (store, report_id, chunk, content, charset) VALUES (%s, %s, 0, %s, 'UTF-8')",
                    (STORE, report_id, encrypt(gzip.compress(text.encode(), level))),
                )
        return ids

    def merge(self, ids: dict[str, str], **arguments: Any) -> dict[str, int]:
        """Merge a pair; returns the counts."""
        return dict(
            run(
                MergeInventoryOperator(
                    task_id="merge", listings_report_id=ids[LISTINGS], afn_report_id=ids[AFN], **arguments
                )
            )
        )

    def apply(self, listings: str, afn: str, **arguments: Any) -> dict[str, int]:
        """Add a pair and merge it."""
        return self.merge(self.add(listings, afn), **arguments)

    def forget(self) -> None:
        """Begin with an empty warehouse."""
        for table in (
            "global_inventory_pool",
            *COPIES.values(),
            "report",
            "report_document",
            "rejected_row",
            "applied_stock",
            "run",
        ):
            self.sql(f"TRUNCATE fba.{table}")

    def copies(self) -> list[list[tuple[Any, ...]]]:
        """The rows of both copies, as often as they are there, without where they were first seen."""
        return [
            sorted(
                self.sql(
                    f"SELECT (to_jsonb(c) - 'report_id' - 'line_number' - 'line_digest')::text, line_digest FROM fba.{table} AS c"
                ).fetchall()
            )
            for table in COPIES.values()
        ]

    def versions(self, table: str) -> dict[tuple[Any, ...], str]:
        """Key of each row of a copy → transaction that wrote it."""
        return {
            (report_id, line): writer
            for report_id, line, writer in self.sql(f"SELECT report_id, line_number, xmin::text FROM fba.{table}")
        }

    def pool(
        self,
        columns: str = "sku, title, price, fulfillment_channel, fba_quantity, fbm_quantity, quantity, quantity_source",
    ):
        return self.sql(f"SELECT {columns} FROM fba.global_inventory_pool ORDER BY sku").fetchall()
