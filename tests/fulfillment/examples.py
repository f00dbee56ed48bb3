"""A good request, and settings to check it against."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from fba_operators.fulfillment.request import FulfillmentRequest, RequestItem
from fba_operators.settings.models import Fulfillment

CREATED = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
GOOD = FulfillmentRequest(
    store="amazon_us",
    fr_number="WEB-100045",
    created_at=CREATED,
    items=(RequestItem(1, "SKU-RED-M", 2, Decimal("10.00")), RequestItem(2, "SKU-BLUE-L", 1, Decimal("5.50"))),
    shipping_method="Standard",
    ship_to_name="Jane Example",
    ship_to_address_1="100 Example Street",
    ship_to_address_2="Apt 4",
    ship_to_address_3="Rear building",
    ship_to_city="Seattle",
    ship_to_state="WA",
    ship_to_postal_code="98101",
    ship_to_country="US",
    ship_to_email="jane@example.com",
    ship_to_phone="206 555 0100",
    order_comment="Thanks!",
)
DEFAULT = Fulfillment()


def store(**keys) -> Fulfillment:
    return Fulfillment.model_validate(keys)
