"""Fulfillment Outbound API: fulfillment orders, the stock they reserve, and their statuses."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.server.server import Sandbox
from tests.sandbox.client import OUTBOUND, US, Client, error, order_body

SELLER = "A1SANDBOXSELLER"


def line(sku: str, quantity: int, item_id: str = "1") -> dict[str, Any]:
    return {"sellerSku": sku, "sellerFulfillmentOrderItemId": item_id, "quantity": quantity}


def status(client: Client, order_id: str) -> str:
    return client.order(order_id).json()["payload"]["fulfillmentOrder"]["fulfillmentOrderStatus"]


def listed(client: Client, **query: str) -> list[str]:
    payload = client.call("GET", OUTBOUND, params=query).json()["payload"]
    return [order["sellerFulfillmentOrderId"] for order in payload["fulfillmentOrders"]]


def test_an_order_id_creates_one_order(amazon: Sandbox, client: Client) -> None:
    first = client.create_order("FR-1")
    assert (first.status_code, first.json()) == (200, {})
    again = client.create_order("FR-1", items=[line("AFN-BOTH", 1)])
    assert (again.status_code, error(again)["code"], "already exists" in again.text) == (400, "InvalidInput", True)
    order = amazon.world.orders(SELLER)["FR-1"]
    assert (order["times_received"], order["times_created"], order["items"]) == (2, 1, {"AFN-PLAIN": 1})
    assert (order["marketplace_id"], order["address"]["countryCode"]) == (US, "US")


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "red"},
        {"displayableOrderId": "D" * 41},
        {"displayableOrderId": "日本"},
        {"displayableOrderDate": "yesterday"},
        {"displayableOrderComment": "C" * 751},
        {"shippingSpeedCategory": "ScheduledDelivery"},
        {"shippingSpeedCategory": 1},
        {"fulfillmentPolicy": "FillSome"},
        {"fulfillmentAction": "Wait"},
        {"marketplaceId": "US"},
        {"marketplaceId": ["ATVPDKIKX0DER"]},
        {"notificationEmails": "a@example.com"},
        {"destinationAddress": {"name": "Jane"}},
        {"destinationAddress": "Seattle"},
        {"destinationAddress": {"name": 1}},
        {"destinationAddress": {"planet": "Mars"}},
        {"items": []},
        {"items": "AFN-PLAIN"},
        {"items": [line("NOBODY", 1)]},
        {"items": [line("REPEATED-EQUAL", 1)]},
        {"items": [line("AFN-ZERO", 1)]},
        {"items": [line("AFN-UNSELLABLE", 1)]},
        {"items": [line("AFN-PLAIN", 18)]},
        {"items": [line("AFN-PLAIN", 9, "1"), line("AFN-PLAIN", 9, "2")]},
        {"items": [line("AFN-PLAIN", 1), line("AFN-BOTH", 1)]},
        {"items": [line("AFN-PLAIN", 0)]},
        {"items": [line("AFN-PLAIN", 1.5)]},  # type: ignore[arg-type]
        {"items": [line("AFN-PLAIN", True)]},
        {"items": [{"sellerSku": "AFN-PLAIN"}]},
        {"items": [line("AFN-PLAIN", 1) | {"giftMessage": "G" * 513}]},
    ],
)
def test_invalid_orders_are_rejected(amazon: Sandbox, client: Client, changes: dict[str, Any]) -> None:
    answer = client.create_order("FR-1", **changes)
    assert (answer.status_code, error(answer)["code"]) == (400, "InvalidInput")
    assert all(order["times_created"] == 0 for order in amazon.world.orders(SELLER).values())
    assert amazon.world.truth(SELLER, US)["AFN-PLAIN"]["fba"] == 17
    missing = order_body("FR-1")
    del missing["items"]
    assert client.call("POST", OUTBOUND, json=missing).status_code == 400


def test_marketplaces_are_checked(client: Client) -> None:
    assert client.create_order("FR-1", marketplaceId="A1PA6795UKMFR9").status_code == 403
    assert client.create_order("FR-1", marketplaceId="A2Q3Y263D00KWC").status_code == 403
    assert client.create_order("FR-1", marketplaceId="A2EUQ1WTGCTBG2").status_code == 200


def test_orders_reserve_stock_and_release_it_when_cancelled(amazon: Sandbox, client: Client) -> None:
    client.create_order("FR-1", items=[line("AFN-TWICE", 7), line("FBA-KNOWN-TO-API", 3, "2")])

    def stock() -> tuple[int, int]:
        truth = amazon.world.truth(SELLER, US, fetch_missing_inventory=True)
        return truth["AFN-TWICE"]["fba"], truth["FBA-KNOWN-TO-API"]["fba"]

    assert stock() == (4, 10)
    client.call("PUT", f"{OUTBOUND}/FR-1/cancel")
    assert stock() == (11, 13)
    (item, other) = client.order("FR-1").json()["payload"]["fulfillmentOrderItems"]
    assert (item["cancelledQuantity"], item["unfulfillableQuantity"]) == (7, 0)
    client.create_order("FR-2", items=[line("AFN-TWICE", 11)])
    assert client.create_order("FR-3", items=[line("AFN-TWICE", 1)]).status_code == 400
    amazon.world.set_order_status(SELLER, "FR-2", "Invalid")
    assert stock() == (11, 13)
    assert other["sellerSku"] == "FBA-KNOWN-TO-API"


def test_units_not_in_stock_are_unfulfillable_if_the_policy_allows(amazon: Sandbox, client: Client) -> None:
    items = [line("AFN-BOTH", 12), line("AFN-ZERO", 1, "2")]
    assert client.create_order("FR-1", items=items).status_code == 400
    assert client.create_order("FR-1", items=items[1:], fulfillmentPolicy="FillAll").status_code == 400
    assert client.create_order("FR-1", items=items, fulfillmentPolicy="FillAllAvailable").status_code == 200
    shown = client.order("FR-1").json()["payload"]["fulfillmentOrderItems"]
    assert [item["unfulfillableQuantity"] for item in shown] == [3, 1]
    amazon.world.plan_order(SELLER, "FR-1", never=False)
    amazon.world.ship_now(SELLER)
    assert status(client, "FR-1") == "CompletePartialled"
    assert amazon.world.orders(SELLER)["FR-1"]["shipped"] == {"AFN-BOTH": 9, "AFN-ZERO": 0}


def test_an_order_passes_through_its_statuses_over_time(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=2, never=False)
    client.create_order("FR-1", items=[line("AFN-PLAIN", 5)])
    assert status(client, "FR-1") == "Received"
    amazon.world.advance(600)
    assert status(client, "FR-1") == "Planning"
    assert client.order("FR-1").json()["payload"]["fulfillmentShipments"] == []
    amazon.world.advance(3000)
    assert status(client, "FR-1") == "Processing"
    seen = set()
    for _ in range(70):
        shipments = client.order("FR-1").json()["payload"]["fulfillmentShipments"]
        seen.add((status(client, "FR-1"), *(one["fulfillmentShipmentStatus"] for one in shipments)))
        amazon.world.buckets.clear()
        amazon.world.advance(3600)
    assert seen == {
        ("Processing", "PENDING", "PENDING"),
        ("Processing", "SHIPPED", "PENDING"),
        ("Complete", "SHIPPED", "SHIPPED"),
    }


def test_orders_that_never_ship_do_not_progress(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-2", never=True)
    client.create_order("FR-2")
    amazon.world.advance(30 * 86400)
    assert status(client, "FR-2") == "Processing"
    assert amazon.world.ship_now(SELLER) == {"FR-2": 0}
    assert client.order("FR-2").json()["payload"]["fulfillmentShipments"] == []


def test_cancelling_is_possible_up_to_planning_and_idempotent(amazon: Sandbox, client: Client) -> None:
    client.create_order("FR-1")
    client.create_order("FR-2")
    amazon.world.advance(700)
    for _ in range(2):
        answer = client.call("PUT", f"{OUTBOUND}/FR-1/cancel")
        assert (answer.status_code, answer.json()) == (200, {})
    amazon.world.advance(3600)
    assert (status(client, "FR-1"), status(client, "FR-2")) == ("Cancelled", "Processing")
    late = client.call("PUT", f"{OUTBOUND}/FR-2/cancel")
    assert (late.status_code, error(late)["code"]) == (400, "InvalidInput")
    assert client.call("PUT", f"{OUTBOUND}/FR-3/cancel").status_code == 404


@pytest.mark.parametrize("wanted", ["New", "Invalid", "Unfulfillable", "CompletePartialled"])
def test_a_scripted_status_does_not_change_over_time(amazon: Sandbox, client: Client, wanted: str) -> None:
    client.create_order("FR-1")
    amazon.world.set_order_status(SELLER, "FR-1", wanted)
    amazon.world.advance(30 * 86400)
    assert status(client, "FR-1") == wanted
    with pytest.raises(ValueError, match="is not one of"):
        amazon.world.set_order_status(SELLER, "FR-1", "Lost")
    with pytest.raises(ValueError, match="no fulfillment order"):
        amazon.world.set_order_status(SELLER, "FR-2", wanted)


def test_unknown_orders_are_not_found_and_ids_with_spaces_are_forbidden(client: Client, seller: Any) -> None:
    client.create_order("FR-1")
    client.create_order("FR+1")
    client.create_order("FR 1")
    missing = client.order("FR-9")
    assert (missing.status_code, error(missing)["code"]) == (404, "NotFound")
    assert [client.order(order_id).status_code for order_id in ("FR%2B1", "FR%201")] == [403, 403]
    other: Client = seller()
    assert other.order("FR-1").status_code == 404
    assert client.call("PATCH", f"{OUTBOUND}/FR-1", json={}).status_code == 403


def test_orders_are_listed_by_their_last_update(amazon: Sandbox, client: Client, seller: Any) -> None:
    other: Client = seller()
    other.create_order("ELSE-1")
    for number in range(5):
        client.create_order(f"FR-{number}")
    amazon.world.set_order_listing(page_size=2)
    found, token = [], ""
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for _ in range(3):
        query = {"queryStartDate": hour_ago} | ({"nextToken": token} if token else {})
        payload = client.call("GET", OUTBOUND, params=query).json()["payload"]
        found += [order["sellerFulfillmentOrderId"] for order in payload["fulfillmentOrders"]]
        token = payload.get("nextToken", "")
    assert (sorted(found), token) == ([f"FR-{number}" for number in range(5)], "")
    assert client.call("GET", OUTBOUND, params={"nextToken": "x"}).status_code == 400
    assert client.call("GET", OUTBOUND, params={"queryStartDate": "2999-01-01T00:00:00Z"}).status_code == 400
    for order in amazon.world.order_desk.orders.values():
        order.updated -= 3 * 86400
    assert listed(client) == []
    assert listed(client, queryStartDate=hour_ago) == []
    amazon.world.set_order_status(SELLER, "FR-3", "Processing")
    assert listed(client, queryStartDate=hour_ago) == ["FR-3"]
    amazon.world.set_order_listing(page_size=50)
    assert len(listed(client, queryStartDate=(datetime.now(UTC) - timedelta(days=4)).isoformat())) == 5


def test_new_orders_can_be_listed_with_a_delay(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_order_listing(delay=300)
    client.create_order("FR-1")
    assert (listed(client), status(client, "FR-1")) == ([], "Received")
    amazon.world.advance(300)
    assert listed(client) == ["FR-1"]
    for wrong in ({"page_size": 0}, {"delay": -1}):
        with pytest.raises(ValueError, match=r"page_size must be at least 1|delay must not be negative"):
            amazon.world.set_order_listing(**wrong)
