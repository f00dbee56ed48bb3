"""Fulfillment Outbound API 2026-07-04: the same orders and parcels as in 2020-07-01 and in feeds."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.server.server import Sandbox
from tests.sandbox.client import OUTBOUND, US, Client, envelope, error, order_body, order_xml

SELLER = "A1SANDBOXSELLER"
ORDERS = "/fulfillment/outbound/2026-07-04/orders"
PREVIEWS = "/fulfillment/outbound/2026-07-04/previews"
HOUR, DAY = 3600.0, 86400.0


def item(sku: str = "AFN-PLAIN", units: str = "1", item_id: str = "1") -> dict[str, Any]:
    return {
        "lineItemId": item_id,
        "product": {"productIdentifier": {"amazonSku": sku}},
        "amount": {"unit": "EACHES", "value": units},
    }


def body(order_id: str = "FR-1", **changes: Any) -> dict[str, Any]:
    return {
        "orderId": order_id,
        "lineItems": [item()],
        "destination": {"deliveryAddress": order_body()["destinationAddress"]},
        **changes,
    }


def create(client: Client, order_id: str = "FR-1", **changes: Any) -> Any:
    return client.call("POST", ORDERS, json=body(order_id, **changes))


def get(client: Client, order_id: str = "FR-1", **query: str) -> dict[str, Any]:
    answer = client.call("GET", f"{ORDERS}/{order_id}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["order"]


def listed(client: Client, **query: str) -> list[str]:
    answer = client.call("GET", ORDERS, params=query)
    assert answer.status_code == 200, answer.text
    return [order["orderId"] for order in answer.json()["orders"]]


def ago(**delta: float) -> str:
    return (datetime.now(UTC) - timedelta(**delta)).isoformat()


# One world.


def test_orders_of_all_three_ways_are_seen_by_both_versions(amazon: Sandbox, client: Client) -> None:
    client.processed(envelope(order_xml("FROM-FEED")))
    client.create_order("FROM-2020")
    assert create(client, "FROM-2026").status_code == 200
    assert set(listed(client)) == {"FROM-FEED", "FROM-2020", "FROM-2026"}
    old = client.call("GET", OUTBOUND).json()["payload"]["fulfillmentOrders"]
    assert {one["sellerFulfillmentOrderId"] for one in old} == set(listed(client))
    for order_id in ("FROM-FEED", "FROM-2020", "FROM-2026"):
        new, before = get(client, order_id), client.order(order_id).json()["payload"]
        assert new["destination"]["deliveryAddress"] == before["fulfillmentOrder"]["destinationAddress"]
        assert (new["status"], before["fulfillmentOrder"]["fulfillmentOrderStatus"]) == ("PROCESSING", "Received")
        assert new["lineItems"][0]["amount"] == {"unit": "EACHES", "value": "1.0"}
    assert amazon.world.truth(SELLER, US)["AFN-PLAIN"]["fba"] == 14
    assert all(one["times_created"] == 1 for one in amazon.world.orders(SELLER).values())


def test_an_order_says_everything_that_was_asked_for(amazon: Sandbox, client: Client) -> None:
    slip = {"orderId": "SHOP-7", "orderTime": "2026-11-20T09:30:00Z", "orderText": "Thank you."}
    configuration = {
        "serviceLevel": {"serviceTiers": ["EXPEDITED", "STANDARD"]},
        "action": "HOLD",
        "policy": "FILL_ALL_AVAILABLE",
        "services": {
            "packaging": {
                "packagingOption": "UNBRANDED",
                "overbox": "REQUIRED",
                "packingSlip": {"templateName": "default", "templateAttributes": slip},
            },
            "delivery": {},
            "additional": {},
        },
    }
    line = item() | {
        "fulfillmentConfiguration": {
            "services": {"packaging": {"packingSlip": {"templateAttributes": {"giftMessage": "Enjoy."}}}}
        }
    }
    answer = create(
        client,
        channel="SHOPIFY",
        origin={"countryCode": "US"},
        fulfillmentConfiguration=configuration,
        lineItems=[line],
    )
    assert answer.status_code == 200, answer.text
    order = answer.json()["order"]
    assert order == get(client, shipments="EXCLUDE")
    assert order["channel"] == "SHOPIFY"
    assert order["fulfillmentConfiguration"] == configuration | {"serviceLevel": {"serviceTiers": ["EXPEDITED"]}}
    old = client.order("FR-1").json()["payload"]
    shown = old["fulfillmentOrder"]
    assert (shown["displayableOrderId"], shown["displayableOrderComment"]) == ("SHOP-7", "Thank you.")
    assert {one["featureName"] for one in shown["featureConstraints"]} == {"BLANK_BOX", "OVERBOX", "PACKING_SLIP"}
    assert (shown["shippingSpeedCategory"], shown["fulfillmentAction"]) == ("Expedited", "Hold")
    assert old["fulfillmentOrderItems"][0]["giftMessage"] == "Enjoy."


@pytest.mark.parametrize("setting", ["refuse", "second_order"])
def test_a_repeated_id_is_answered_as_set(amazon: Sandbox, client: Client, setting: str) -> None:
    amazon.world.set_order_answers(repeated_id=setting, create_answer="accepted")
    first = create(client)
    assert (first.status_code, first.json()) == (202, {"orderId": "FR-1", "status": "PROCESSING"})
    assert create(client).status_code == {"refuse": 400, "second_order": 202}[setting]
    order = amazon.world.orders(SELLER)["FR-1"]
    assert (order["times_received"], order["times_created"]) == (2, {"refuse": 1, "second_order": 2}[setting])


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "red"},
        {"orderId": "F" * 41},
        {"channel": "C" * 41},
        {"lineItems": []},
        {"lineItems": [item() | {"quantity": 1}]},
        {"lineItems": [item(units="0")]},
        {"lineItems": [item(units="1.5")]},
        {"lineItems": [item(units="one")]},
        {"lineItems": [item(units="9" * 5000)]},
        {"lineItems": [item(sku="NOBODY")]},
        {"lineItems": [item(units="18")]},
        {"lineItems": [item() | {"amount": {"unit": "KILOGRAMS", "value": "1"}}]},
        {"destination": {}},
        {"destination": {"deliveryAddress": {"name": "Jane"}}},
        {"origin": {"countryCode": "DE"}},
        {"origin": {"countryCode": "usa"}},
        {"fulfillmentConfiguration": {"action": "WAIT"}},
        {"fulfillmentConfiguration": {"policy": "FillAll"}},
        {"fulfillmentConfiguration": {"serviceLevel": {"serviceTiers": ["PRIORITY"]}}},
        {"fulfillmentConfiguration": {"serviceLevel": {"serviceTiers": []}}},
        {"fulfillmentConfiguration": {"services": {"additional": {"blockAmzl": "REQUIRED"}}}},
        {"fulfillmentConfiguration": {"services": {"packaging": {"packagingOption": "GIFT"}}}},
        {"paymentInformation": {"payments": []}},
    ],
)
def test_invalid_orders_are_rejected(amazon: Sandbox, client: Client, changes: dict[str, Any]) -> None:
    answer = create(client, **changes)
    assert (answer.status_code, error(answer)["code"]) == (400, "InvalidInput")
    assert all(order["times_created"] == 0 for order in amazon.world.orders(SELLER).values())


def test_the_country_of_origin_is_the_marketplace(amazon: Sandbox, client: Client) -> None:
    address = order_body()["destinationAddress"] | {"stateOrRegion": "ON", "countryCode": "CA"}
    configuration = {"serviceLevel": {"serviceTiers": ["PRIORITY"]}}
    answer = create(
        client,
        origin={"countryCode": "CA"},
        destination={"deliveryAddress": address},
        fulfillmentConfiguration=configuration,
    )
    assert answer.status_code == 200, answer.text
    assert amazon.world.orders(SELLER)["FR-1"]["marketplace_id"] == "A2EUQ1WTGCTBG2"
    assert get(client)["origin"] == {"countryCode": "CA"}


# Hold and cancel.


def test_an_order_on_hold_is_released(amazon: Sandbox, client: Client) -> None:
    client.processed(envelope(order_xml(head="<FulfillmentAction>Hold</FulfillmentAction>")))
    update = {"fulfillmentConfiguration": {"action": "SHIP"}}
    answer = client.call("PUT", f"{ORDERS}/FR-1", json=update)
    assert (answer.status_code, answer.json()) == (202, {})
    assert get(client)["fulfillmentConfiguration"]["action"] == "SHIP"
    assert client.call("PUT", f"{ORDERS}/FR-1", json=update).status_code == 400
    assert client.call("PUT", f"{ORDERS}/FR-1", json={"action": "SHIP"}).status_code == 400
    assert client.call("PUT", f"{ORDERS}/FR-9", json=update).status_code == 404


def test_a_cancellation_is_only_taken(amazon: Sandbox, client: Client) -> None:
    create(client, "FR-1")
    create(client, "FR-2")
    first = client.call("PUT", f"{ORDERS}/FR-1/cancel")
    assert (first.status_code, first.json()) == (202, {})
    assert client.call("PUT", f"{ORDERS}/FR-1/cancel").status_code == 202
    amazon.world.set_order_answers(second_cancel="refuse")
    assert client.call("PUT", f"{ORDERS}/FR-1/cancel").status_code == 400
    amazon.world.advance(HOUR)
    assert client.call("PUT", f"{ORDERS}/FR-2/cancel").status_code == 202
    assert [get(client, order_id)["status"] for order_id in ("FR-1", "FR-2")] == ["CANCELLED", "PROCESSING"]
    (line,) = get(client, "FR-1")["lineItems"]
    assert (line["cancelledAmount"]["value"], line["unfulfillableAmount"]["value"]) == ("1.0", "0.0")
    assert client.call("PUT", f"{ORDERS}/FR-9/cancel").status_code == 404


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("New", "PROCESSING"),
        ("Complete", "COMPLETE"),
        ("CompletePartialled", "COMPLETE_PARTIAL"),
        ("Cancelled", "CANCELLED"),
        ("Unfulfillable", "UNFULFILLABLE"),
        ("Invalid", "INVALID"),
    ],
)
def test_statuses_are_those_of_the_model(amazon: Sandbox, client: Client, status: str, shown: str) -> None:
    create(client)
    amazon.world.set_order_status(SELLER, "FR-1", status)
    assert get(client)["status"] == shown
    amazon.world.show_order_status(SELLER, "FR-1", "ON_THE_MOON")
    assert get(client)["status"] == "ON_THE_MOON"


# Parcels.


def test_parcels_move_with_the_clock_from_processing_to_delivered(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, packages=1, never=False)
    client.create_order(
        "FR-1",
        featureConstraints=[{"featureName": "SIGNATURE_CONFIRMATION", "featureFulfillmentPolicy": "Required"}],
    )
    assert get(client)["shipments"] == []
    amazon.world.advance(HOUR)
    (shipment,) = get(client)["shipments"]
    (package,) = shipment["packages"]
    assert (shipment["status"], package["status"], "tracking" in package) == ("PROCESSING", "PROCESSING", False)
    package_id, seen = package["packageId"], ["PROCESSING"]
    for _ in range(70):
        amazon.world.advance(2 * HOUR)
        amazon.world.buckets.clear()
        (shipment,) = get(client)["shipments"]
        (package,) = shipment["packages"]
        assert package["packageId"] == package_id
        seen.append(package["status"])
    assert list(dict.fromkeys(seen)) == ["PROCESSING", "IN_TRANSIT", "OUT_FOR_DELIVERY", "DELIVERED"]
    (truth,) = amazon.world.parcels(SELLER)
    assert package["tracking"]["carrier"]["trackingNumber"] == truth["tracking_number"]
    assert package["tracking"]["amazon"]["trackingNumber"] == truth["amazon_number"]
    assert package["tracking"]["proofOfDelivery"]["receivedBy"] == "Jane Example"
    assert package["deliveryTime"].replace("Z", "+00:00") == truth["delivered"]
    assert package["shipmentItemIds"] == [one["shipmentItemId"] for one in shipment["items"]]
    assert get(client, shipments="EXCLUDE").get("shipments") is None


@pytest.mark.parametrize(
    ("fate", "last"), [("late", "DELIVERED"), ("lost", "EXPIRED"), ("undeliverable", "UNDELIVERABLE")]
)
def test_a_fate_decides_how_a_parcel_ends(amazon: Sandbox, client: Client, fate: str, last: str) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, packages=2, never=False, fates=["on_time", fate])
    create(client, lineItems=[item(units="2")])
    amazon.world.ship_now(SELLER)
    amazon.world.advance(60 * DAY)
    (shipment,) = get(client)["shipments"]
    assert [package["status"] for package in shipment["packages"]] == ["DELIVERED", last]


# Lists.


def test_orders_are_listed_when_a_parcel_moves(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, packages=1, never=False)
    create(client, "FR-1")
    create(client, "FR-2")
    amazon.world.ship_now(SELLER, ["FR-1"])
    for order in amazon.world.order_desk.orders.values():
        order.updated -= 2 * DAY
        order.moved -= 2 * DAY if order.moved else 0.0
    assert listed(client, updatedAfter=ago(days=1)) == []
    amazon.world.set_parcel(SELLER, "FR-1", status="DELAYED")
    assert listed(client, updatedAfter=ago(days=1)) == ["FR-1"]
    assert listed(client, updatedAfter=ago(days=3)) == ["FR-2", "FR-1"]
    headers = client.call("GET", OUTBOUND, params={"queryStartDate": ago(days=1)}).json()["payload"]
    assert headers["fulfillmentOrders"] == []


def test_orders_are_listed_when_time_moves_a_parcel(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, packages=1, never=False)
    create(client, "FR-1")
    amazon.world.ship_now(SELLER)
    (order,) = amazon.world.order_desk.orders.values()
    order.updated -= 2 * DAY
    order.moved -= 2 * DAY
    amazon.world.advance(DAY)
    assert listed(client, updatedAfter=ago(days=1)) == []
    amazon.world.advance(4 * DAY)
    assert listed(client, updatedAfter=ago(days=1)) == ["FR-1"]


def test_pages_follow_one_another_with_the_same_arguments(amazon: Sandbox, client: Client, seller: Any) -> None:
    other: Client = seller()
    create(other, "ELSE-1")
    amazon.world.set_order_listing(page_size=2, lost=["FR-3"])
    for number in range(6):
        create(client, f"FR-{number}")
    query, found, sizes = {"updatedAfter": ago(hours=1), "shipments": "EXCLUDE"}, [], []
    token = ""
    while not sizes or token:
        answer = client.call("GET", ORDERS, params=query | ({"pageToken": token} if token else {})).json()
        sizes.append(len(answer["orders"]))
        found += [order["orderId"] for order in answer["orders"]]
        if token == "":
            missing = client.call("GET", ORDERS, params={"pageToken": answer["pagination"]["nextToken"]})
            assert (missing.status_code, error(missing)["code"]) == (400, "InvalidInput")
        token = answer["pagination"].get("nextToken", "")
    assert (sizes, sorted(found)) == ([2, 2, 1], ["FR-0", "FR-1", "FR-2", "FR-4", "FR-5"])
    for wrong in (
        {"updatedAfter": "2999-01-01T00:00:00Z"},
        {"updatedAfter": "soon"},
        {"shipments": "NO"},
        {"pageToken": "x"},
        {"nextToken": "x"},
    ):
        assert client.call("GET", ORDERS, params=wrong).status_code == 400


def test_an_account_may_lack_the_version(amazon: Sandbox, client: Client, seller: Any) -> None:
    other: Client = seller()
    create(client)
    amazon.world.set_outbound_2026(SELLER, False)
    for method, path in (
        ("GET", ORDERS), ("GET", f"{ORDERS}/FR-1"), ("POST", ORDERS), ("PUT", f"{ORDERS}/FR-1"),
        ("PUT", f"{ORDERS}/FR-1/cancel"), ("POST", PREVIEWS),
    ):  # fmt: skip
        refused = client.call(method, path, json=body("FR-2"))
        assert (refused.status_code, error(refused)["code"]) == (403, "Unauthorized")
    assert list(amazon.world.orders(SELLER)) == ["FR-1"]
    assert client.order("FR-1").status_code == 200
    assert listed(other) == []
    amazon.world.set_outbound_2026(SELLER, True)
    assert listed(client) == ["FR-1"]


def test_unknown_orders_and_ids_with_spaces_are_answered_as_in_2020(client: Client) -> None:
    assert client.call("GET", f"{ORDERS}/FR-9").status_code == 404
    assert client.call("GET", f"{ORDERS}/FR%209").status_code == 403


# Previews.


def preview(client: Client, *items: dict[str, Any], **more: Any) -> Any:
    lines = [{name: value for name, value in one.items() if name != "lineItemId"} for one in items or (item(),)]
    asked = {"lineItems": lines, "destination": body()["destination"], **more}
    return client.call("POST", PREVIEWS, json=asked)


def test_previews_offer_each_tier(amazon: Sandbox, client: Client) -> None:
    answer = preview(client, item(units="2"), item("AFN-BOTH", "3", "2")).json()
    first, second = answer["plannedShipments"]
    assert [one["items"][0]["amount"]["value"] for one in (first, second)] == ["2.0", "3.0"]
    tiers = [offer["fulfillmentConfiguration"]["serviceLevel"]["serviceTier"] for offer in first["offers"]]
    assert tiers == ["STANDARD", "EXPEDITED"]
    totals = [one["offers"][0]["estimatedPrice"]["totalPrice"] for one in (first, second)]
    assert totals == [{"currencyCode": "USD", "amount": "11.40"}, {"currencyCode": "USD", "amount": "11.85"}]
    old = client.call(
        "POST",
        f"{OUTBOUND}/preview",
        json={
            "address": order_body()["destinationAddress"],
            "items": [
                {"sellerSku": "AFN-PLAIN", "quantity": 2, "sellerFulfillmentOrderItemId": "1"},
                {"sellerSku": "AFN-BOTH", "quantity": 3, "sellerFulfillmentOrderItemId": "2"},
            ],
        },
    ).json()["payload"]["fulfillmentPreviews"][0]
    assert sum(float(fee["amount"]["value"]) for fee in old["estimatedFees"]) == pytest.approx(11.40 + 11.85)
    assert [(one["code"], one["type"]) for one in answer["constraints"]] == [
        ("DeliverySLAUnavailable", "ValidationError")
    ]


def test_previews_without_offers_name_the_constraints(amazon: Sandbox, client: Client) -> None:
    tiers = {"serviceLevel": {"serviceTiers": ["STANDARD"]}}
    answer = preview(client, item(units="18"), fulfillmentConfiguration=tiers).json()
    assert answer["plannedShipments"] == []
    (constraint,) = answer["constraints"]
    assert (constraint["code"], constraint["details"][1]["value"]) == ("ItemQuantityNotAvailable", "AFN-PLAIN")
    amazon.world.set_feature(SELLER, US, "BLANK_BOX", lacking=["AFN-PLAIN"])
    box = tiers | {"services": {"packaging": {"packagingOption": "UNBRANDED"}}}
    (constraint,) = preview(client, fulfillmentConfiguration=box).json()["constraints"]
    assert constraint["code"] == "FeatureNotAvailable"
    assert preview(client, item(sku="NOBODY")).status_code == 400
    assert preview(client, colour="red").status_code == 400


def test_prices_can_be_left_out_or_null(amazon: Sandbox, client: Client) -> None:
    (part,) = preview(client, excludeEstimatedFees=True).json()["plannedShipments"]
    assert "estimatedPrice" not in part["offers"][0]
    amazon.world.set_order_answers(preview_fees="null")
    (part,) = preview(client).json()["plannedShipments"]
    assert part["offers"][0]["estimatedPrice"] is None
