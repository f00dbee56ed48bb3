"""Amazon's official Python client calls Fulfillment Outbound 2026-07-04, and its models parse the answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from spapi import ApiException, FulfillmentOrdersApi, FulfillmentPreviewsApi

from sandbox.server.server import Sandbox
from sandbox.world.world import DEFAULT_MERCHANT
from tests.sandbox.api.test_outbound_2026 import body, item

SELLER = DEFAULT_MERCHANT.seller_id
# The required fields of Amazon's model.
REQUIRED = {
    "FulfillmentOrder": ("order_id", "receive_time", "line_items"),
    "OrderLineItem": ("line_item_id", "product", "amount"),
    "OrderProduct": ("product_identifier",),
    "ProductIdentifier": ("amazon_sku",),
    "Amount": ("value",),
    "Address": ("address_line1", "country_code", "name", "postal_code"),
    "Shipment": ("amazon_shipment_id", "amazon_facility", "items", "status"),
    "AmazonFacility": ("facility_id",),
    "ShipmentItem": ("amount", "line_item_id", "product_identifier"),
    "Package": ("package_id",),
    "CarrierTracking": ("carrier_code",),
    "PreviewPlannedShipment": ("items",),
    "PreviewPlannedShipmentItem": ("product_identifier", "amount"),
    "EstimatedPrice": ("rollup_prices", "total_price"),
    "RollupPrice": ("type", "value"),
    "Money": ("currency_code", "amount"),
    "TimeInterval": ("start_time", "end_time"),
    "Constraint": ("message", "type", "code"),
    "ConstraintDetail": ("type", "value"),
    "Weight": ("unit", "value"),
}


def check_all(model: Any, seen: set[str]) -> set[str]:
    """Assert that every model in a model has its required fields; returns the names of the models found."""
    if isinstance(model, list):
        for one in model:
            check_all(one, seen)
    elif hasattr(model, "swagger_types"):
        name = type(model).__name__
        seen.add(name)
        for required in REQUIRED.get(name, ()):
            assert getattr(model, required) is not None, f"{name}.{required}"
        for attribute in model.swagger_types:
            check_all(getattr(model, attribute), seen)
    return seen


def test_orders_from_creation_to_the_doorstep(amazon: Sandbox, api_client: Any) -> None:
    orders = FulfillmentOrdersApi(api_client)
    amazon.world.plan_order(SELLER, "FR-1", parts=1, packages=1, never=False)
    created, status, headers = orders.create_order_with_http_info(
        body("FR-1", channel="SHOPIFY", fulfillmentConfiguration={"action": "HOLD"})
    )
    assert (status, headers["x-amzn-RateLimit-Limit"]) == (200, "2.0")
    assert (created.order.channel, created.order.status) == ("SHOPIFY", "PROCESSING")
    _, status, _ = orders.update_order_with_http_info("FR-1", {"fulfillmentConfiguration": {"action": "SHIP"}})
    assert status == 202
    amazon.world.ship_now(SELLER, ["FR-1"])
    amazon.world.advance(5 * 86400)
    order = orders.get_order("FR-1").order
    (shipment,) = order.shipments
    (package,) = shipment.packages
    assert (order.status, shipment.status, package.status) == ("COMPLETE", "SHIPPED", "DELIVERED")
    assert package.delivery_time.tzinfo is not None
    assert package.tracking.carrier.tracking_number
    assert package.tracking.amazon.tracking_url
    assert package.tracking.proof_of_delivery.delivery_photo_url
    found = check_all(order, set())
    assert {"FulfillmentOrder", "OrderLineItem", "Shipment", "Package", "CarrierTracking", "Address"} <= found


def test_an_order_that_was_only_accepted_exists(amazon: Sandbox, api_client: Any) -> None:
    orders = FulfillmentOrdersApi(api_client)
    amazon.world.set_order_answers(create_answer="accepted")
    # Amazon's client reads every answer as the one of 200, and stumbles over that of 202.
    with pytest.raises(ValueError, match="Invalid value for `order`"):
        orders.create_order(body("FR-1"))
    assert orders.get_order("FR-1").order.status == "PROCESSING"


def test_orders_are_listed_and_cancelled(amazon: Sandbox, api_client: Any) -> None:
    orders = FulfillmentOrdersApi(api_client)
    orders.create_order(body("FR-1"))
    orders.create_order(body("FR-2", lineItems=[item(), item("AFN-BOTH", "2", "2")]))
    amazon.world.set_order_listing(page_size=1)
    since = datetime.now(UTC) - timedelta(hours=1)
    first = orders.list_orders(updated_after=since, shipments="INCLUDE")
    second = orders.list_orders(updated_after=since, shipments="INCLUDE", page_token=first.pagination.next_token)
    assert {order.order_id for order in (*first.orders, *second.orders)} == {"FR-1", "FR-2"}
    assert second.pagination.next_token is None
    check_all([first, second], set())
    _, status, _ = orders.cancel_order_with_http_info("FR-1")
    assert status == 202
    assert orders.get_order("FR-1", shipments="EXCLUDE").order.status == "CANCELLED"


def test_previews(amazon: Sandbox, api_client: Any) -> None:
    previews = FulfillmentPreviewsApi(api_client)
    asked = {
        "lineItems": [{name: item()[name] for name in ("product", "amount")}],
        "destination": body()["destination"],
    }
    answer = previews.get_order_preview(asked)
    (planned,) = answer.planned_shipments
    assert len(planned.offers) == 2
    assert planned.offers[0].fulfillment_configuration.service_level.delivery_interval.end_time.tzinfo is not None
    found = check_all(answer, set())
    assert {"EstimatedPrice", "RollupPrice", "TimeInterval", "Constraint", "ConstraintDetail", "Weight"} <= found
    amazon.world.set_order_answers(preview_fees="null")
    (planned,) = previews.get_order_preview(asked).planned_shipments
    assert planned.offers[0].estimated_price is None


def test_an_account_without_the_version_is_forbidden(amazon: Sandbox, api_client: Any) -> None:
    amazon.world.set_outbound_2026(SELLER, False)
    with pytest.raises(ApiException) as caught:
        FulfillmentOrdersApi(api_client).list_orders()
    assert caught.value.status == 403
