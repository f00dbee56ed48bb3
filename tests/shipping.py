"""What tests of shipments share: documents of our own making, and a run of the window tasks for one report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from fba_operators.operators import LoadShipmentsOperator
from fba_operators.reports.report_types import FULFILLED_SHIPMENTS
from fba_operators.warehouse.database import Warehouse

JAPANESE = FULFILLED_SHIPMENTS.amazon_columns
AMERICAN = JAPANESE[:-1]
SELLER, US, STORE = "A1SANDBOXSELLER", "ATVPDKIKX0DER", "amazon_us"
NAME = FULFILLED_SHIPMENTS.name
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
    """Reports with documents of the test's own, finished at Amazon's and waiting to be loaded.

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

        :param hours: when it was asked for, in hours since the first of September; by default after the last one
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
                (uuid.uuid4(), STORE, report_id, NAME, US, start, end, asked_at),
            )
            db.execute(
                "INSERT INTO fba.report_document (store, report_id, chunk, content, charset) VALUES (%s, %s, 0, %s, %s)",
                (STORE, report_id, encrypt(packer.compress(content) + packer.flush()), charset),
            )
        return report_id

    def load(self, report_id: str, ctx: Any = None) -> dict[str, int]:
        """Load a report; returns its counts."""
        from tests.helpers import run

        result = run(LoadShipmentsOperator(task_id="load", report_id=report_id), ctx)
        assert result["conn_id"] == STORE
        return dict(result["counts"])


def orders_at_amazon(amazon: Any, numbers: list[str], sku: str, quantity: int) -> None:
    """Make Multi-Channel Fulfillment orders of one line each, as any program of the seller could."""
    from fba_operators.amazon.hook import SellingPartnerHook

    amazon.world.put_item(SELLER, US, sku, offers=[("AMAZON_NA", None)], afn=[("SELLABLE", 1_000_000)])
    token = SellingPartnerHook().access_token()
    for number in numbers:
        body = {
            "sellerFulfillmentOrderId": number,
            "displayableOrderId": number,
            "displayableOrderDate": "2026-11-01T00:00:00Z",
            "displayableOrderComment": "Thank you",
            "shippingSpeedCategory": "Standard",
            "marketplaceId": US,
            "destinationAddress": {
                "name": "A Buyer",
                "addressLine1": "1 Main St",
                "city": "Seattle",
                "stateOrRegion": "WA",
                "postalCode": "98101",
                "countryCode": "US",
            },
            "items": [{"sellerSku": sku, "sellerFulfillmentOrderItemId": "1", "quantity": quantity}],
        }
        answer = requests.post(
            f"{amazon.url}/fba/outbound/2020-07-01/fulfillmentOrders",
            json=body,
            headers={"x-amz-access-token": token, "User-Agent": "shop/1.0 (Language=Python)"},
            timeout=10,
        )
        assert answer.status_code == 200, answer.text
        amazon.world.advance(1)
