"""Every operation of both Fulfillment Outbound versions: rates, scripted faults, and the truth about their effect."""

from typing import Any

import pytest
import requests

from sandbox.api import outbound, outbound_2026, outbound_preview, tracking
from sandbox.server.server import Sandbox
from tests.sandbox.api.test_outbound_2026 import ORDERS, PREVIEWS, body
from tests.sandbox.client import OUTBOUND, US, Client, order_body

SELLER = "A1SANDBOXSELLER"
FEATURES = "/fba/outbound/2020-07-01/features"
FIRST_PARCEL = 212_000_001
CALLS: dict[str, tuple[str, str, Any]] = {
    "createFulfillmentOrder": ("POST", OUTBOUND, order_body("FR-2")),
    "updateFulfillmentOrder": ("PUT", f"{OUTBOUND}/FR-1", {"fulfillmentAction": "Ship"}),
    "cancelFulfillmentOrder": ("PUT", f"{OUTBOUND}/FR-1/cancel", None),
    "getFulfillmentOrder": ("GET", f"{OUTBOUND}/FR-1", None),
    "listAllFulfillmentOrders": ("GET", OUTBOUND, None),
    "getFulfillmentPreview": (
        "POST",
        f"{OUTBOUND}/preview",
        {"address": order_body()["destinationAddress"], "items": order_body()["items"]},
    ),
    "getFeatures": ("GET", f"{FEATURES}?marketplaceId={US}", None),
    "getFeatureInventory": ("GET", f"{FEATURES}/inventory/BLANK_BOX?marketplaceId={US}", None),
    "getFeatureSKU": ("GET", f"{FEATURES}/inventory/BLANK_BOX/AFN-PLAIN?marketplaceId={US}", None),
    "getPackageTrackingDetails": ("GET", f"/fba/outbound/2020-07-01/tracking?packageNumber={FIRST_PARCEL}", None),
    "createOrder": ("POST", ORDERS, body("FR-2")),
    "updateOrder": ("PUT", f"{ORDERS}/FR-1", {"fulfillmentConfiguration": {"action": "SHIP"}}),
    "cancelOrder": ("PUT", f"{ORDERS}/FR-1/cancel", None),
    "getOrder": ("GET", f"{ORDERS}/FR-1", None),
    "listOrders": ("GET", ORDERS, None),
    "getOrderPreview": (
        "POST",
        PREVIEWS,
        {
            "lineItems": [{name: one[name] for name in ("product", "amount")} for one in body()["lineItems"]],
            "destination": body()["destination"],
        },
    ),
}
EFFECTS = {"create": "FR-2", "update": "Ship", "cancel": "Cancelled"}


def call(client: Client, operation: str) -> requests.Response:
    method, path, document = CALLS[operation]
    return client.call(method, path, **({} if document is None else {"json": document}))


def has_taken_effect(amazon: Sandbox, operation: str) -> bool:
    """Whether an order was created, released or cancelled; False for operations that only read."""
    orders = amazon.world.orders(SELLER)
    return EFFECTS.get(operation[:6]) in {*orders, orders["FR-1"]["action"], orders["FR-1"]["status"]}


@pytest.fixture
def ready(amazon: Sandbox, client: Client) -> Client:
    """A client of a seller with an order on hold, and with a parcel that has left."""
    amazon.world.plan_order(SELLER, "FR-0", parts=1, packages=1, never=False)
    client.create_order("FR-0")
    amazon.world.ship_now(SELLER, ["FR-0"])
    client.create_order("FR-1", fulfillmentAction="Hold")
    amazon.world.buckets.clear()
    return client


def test_the_calls_are_all_operations_of_outbound() -> None:
    modules = (outbound, outbound_preview, tracking, outbound_2026)
    assert set(CALLS) == {operation.name for module in modules for operation in module.OPERATIONS}


@pytest.mark.parametrize("operation", CALLS)
def test_thirty_calls_at_once_then_two_a_second(amazon: Sandbox, ready: Client, operation: str) -> None:
    if CALLS[operation][0] == "POST" and "reate" in operation:
        amazon.world.set_order_answers(repeated_id="second_order", short_stock="unfulfillable")
    amazon.world.set_order_answers(second_release="accept")
    amazon.world.set_clock(speed=0.001)
    answers = [call(ready, operation) for _ in range(31)]
    assert {answer.status_code // 100 for answer in answers[:30]} == {2}
    assert (answers[30].status_code, answers[30].json()["errors"][0]["code"]) == (429, "QuotaExceeded")
    assert answers[0].headers["x-amzn-RateLimit-Limit"] == str(2.0 * 0.001)
    assert "x-amzn-RateLimit-Limit" not in answers[30].headers
    amazon.world.advance(0.51)
    assert call(ready, operation).status_code // 100 == 2


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("fault", ["429", "500", "503", "reset_before", "expired_token", "status"])
def test_a_fault_before_the_effect_prevents_it(amazon: Sandbox, ready: Client, operation: str, fault: str) -> None:
    more = {"status": 200, "body": '{"payload": '} if fault == "status" else {}
    amazon.world.add_fault(operation, fault, **more)
    if fault == "reset_before":
        with pytest.raises(requests.ConnectionError):
            call(ready, operation)
    else:
        answer = call(ready, operation)
        assert answer.status_code == {"expired_token": 403, "status": 200}.get(fault) or int(fault)
        if fault == "status":
            with pytest.raises(ValueError, match="Expecting value"):
                answer.json()
    assert not has_taken_effect(amazon, operation)


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("fault", ["reset_after", "error_after"])
def test_an_answer_that_is_lost_had_its_effect(amazon: Sandbox, ready: Client, operation: str, fault: str) -> None:
    amazon.world.add_fault(operation, fault)
    if fault == "reset_after":
        with pytest.raises(requests.ConnectionError):
            call(ready, operation)
    else:
        assert call(ready, operation).status_code == 500
    assert has_taken_effect(amazon, operation) == (operation[:6] in EFFECTS)
    assert amazon.world.faults_listed()[0]["struck"] == 1
    assert call(ready, "listOrders").status_code == 200


@pytest.mark.parametrize("operation", ["createOrder", "getOrder", "updateOrder", "cancelOrder"])
def test_a_fault_can_be_for_one_order(amazon: Sandbox, ready: Client, operation: str) -> None:
    subject = "FR-2" if operation == "createOrder" else "FR-1"
    amazon.world.add_fault(operation, 500, report_type="FR-9")
    amazon.world.add_fault(operation, 503, report_type=subject)
    assert call(ready, operation).status_code == 503
