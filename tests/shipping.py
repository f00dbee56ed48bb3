"""What tests of shipments share: report documents, requests, orders at Amazon, and loading one report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fba_operators.operators import LoadShipmentsOperator
from fba_operators.reports.report_types import FULFILLED_SHIPMENTS
from fba_operators.warehouse.database import Warehouse
from tests.helpers import place_order, run
from tests.stores import SELLER, SHIPMENTS_REPORT, STORE, US

JAPANESE = FULFILLED_SHIPMENTS.amazon_columns
AMERICAN = JAPANESE[:-1]
PERSON = {
    "buyer-email": "q7x@marketplace.amazon.com",
    "buyer-name": "Wilhelmina Secret",
    "recipient-name": "Wilhelmina Secret",
    "ship-address-1": "77 Hidden Lane",
    "ship-city": "CONCEALVILLE",
    "bill-address-1": "78 Hidden Lane",
}
PLAIN = {
    "amazon-order-id": "111-0000001-0000001",
    "shipment-id": "Dq1",
    "shipment-item-id": "Dq1I1",
    "amazon-order-item-id": "07664457044546",
    "purchase-date": "2026-08-13T01:02:03+00:00",
    "payments-date": "2026-08-14T01:03:03+00:00",
    "shipment-date": "2026-08-14T03:00:00+00:00",
    "reporting-date": "2026-08-14T05:30:00+00:00",
    "sku": "WIDGET",
    "product-name": "A widget",
    "quantity-shipped": "1",
    "currency": "USD",
    "item-price": "25.00",
    "item-tax": "2.00",
    "ship-service-level": "Expedited",
    "ship-promotion-discount": "-1.50",
    "carrier": "AMZN_US",
    "tracking-number": "TBA000000000001",
    "estimated-arrival-date": "2026-08-16T03:00:00+00:00",
    "fulfillment-center-id": "BFI4",
    "fulfillment-channel": "AFN",
    "sales-channel": "amazon.com",
    **PERSON,
}


def row(**changes: str) -> dict[str, str]:
    """An ordinary row with some fields changed: ``sku``, ``shipment_item_id`` …"""
    return {**PLAIN, **{name.replace("_", "-"): value for name, value in changes.items()}}


def document(*rows: dict[str, str], columns: tuple[str, ...] = AMERICAN, charset: str = "utf-8") -> bytes:
    """Rows as Amazon writes them."""
    lines = [columns, *([each.get(column, "") for column in columns] for each in rows)]
    return "".join("\t".join(line) + "\r\n" for line in lines).encode(charset)


class Reports:
    """Reports with documents that the test writes, finished at Amazon and ready to be loaded.

    They are put into the ledger and the raw copies the way a download leaves them, so that a test can load thousands.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.first = datetime(2026, 9, 1, tzinfo=UTC)
        self.count = 0

    def add(
        self,
        content: bytes,
        *,
        hours: float | None = None,
        charset: str = "UTF-8",
        window: tuple[datetime, datetime] | None = None,
    ) -> str:
        """Add a finished report.

        :param hours: when it was requested, in hours since the first of September; by default after the last one
        :return: its id
        """
        import uuid
        import zlib

        from fba_operators.warehouse.encryption import encrypt

        self.count += 1
        report_id = str(60_000_000_000 + self.count)
        asked_at = self.first + timedelta(hours=self.count if hours is None else hours)
        start, end = window or (datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 8, 31, tzinfo=UTC))
        packer = zlib.compressobj(wbits=31)
        with self.warehouse.connect() as db:
            db.execute(
                "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, data_start, data_end,"
                " status, document_id, requested_at) VALUES (%s, %s, %s, %s, %s, %s, %s, 'DONE', 'kept', %s)",
                (uuid.uuid4(), STORE, report_id, SHIPMENTS_REPORT, US, start, end, asked_at),
            )
            db.execute(
                "INSERT INTO fba.report_document (store, report_id, chunk, content, charset) VALUES (%s, %s, 0, %s, %s)",
                (STORE, report_id, encrypt(packer.compress(content) + packer.flush()), charset),
            )
        return report_id

    def load(self, report_id: str, ctx: Any = None) -> dict[str, int]:
        """Load a report; returns its counts."""
        result = run(LoadShipmentsOperator(task_id="load", report_id=report_id), ctx)
        assert result["conn_id"] == STORE
        return dict(result["counts"])


def orders_at_amazon(amazon: Any, numbers: list[str], sku: str, quantity: int) -> None:
    """Make Multi-Channel Fulfillment orders of one line each, a second apart."""
    amazon.world.put_item(SELLER, US, sku, offers=[("AMAZON_NA", None)], afn=[("SELLABLE", 1_000_000)])
    for number in numbers:
        place_order(amazon, number, [(sku, quantity)])
        amazon.world.advance(1)


def add_request(sql: Any, number: str, *lines: tuple[str, int], status: str = "accepted", **columns: Any) -> None:
    """Add a fulfillment request with these lines (SKU, quantity), in this status."""
    columns = {"store": STORE, "fr_number": number, **columns}
    names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
    sql(f"INSERT INTO fba.fulfillment_request ({names}) VALUES ({marks})", *columns.values())
    for line, (sku, quantity) in enumerate(lines, start=1):
        sql("INSERT INTO fba.fulfillment_request_item VALUES (%s, %s, %s, %s, %s)", STORE, number, line, sku, quantity)
    if status != "pending":
        sql("SET fba.writer = 'product'")
        for step in ("sending", "submitted", *((status,) if status != "submitted" else ())):
            sql("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = %s", step, number)
        sql("RESET fba.writer")


def progress(sql: Any) -> dict[tuple[str, str], list[Any]]:
    """What has been shipped of each line of each request: the rows of fba.fulfillment_progress."""
    rows = sql(
        "SELECT fr_number, sku, ordered, shipped, open, over_shipped, status, tracking_numbers, carriers, service_level"
        " FROM fba.fulfillment_progress ORDER BY 1, 2"
    )
    return {(number, sku): rest for number, sku, *rest in rows}
