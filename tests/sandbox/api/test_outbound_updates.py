"""Fulfillment Outbound API: orders on hold, what an update changes, and what the model of a body refuses."""

from typing import Any

import pytest

from sandbox.server.server import Sandbox
from tests.sandbox.client import OUTBOUND, US, Client, envelope, error, order_body, order_xml

SELLER = "A1SANDBOXSELLER"
CA = "A2EUQ1WTGCTBG2"
DAY = 86400.0


def line(quantity: int, sku: str = "AFN-PLAIN", item_id: str = "1") -> dict[str, Any]:
    return {"sellerSku": sku, "sellerFulfillmentOrderItemId": item_id, "quantity": quantity}


def update(client: Client, order_id: str = "FR-1", **changes: Any) -> Any:
    return client.call("PUT", f"{OUTBOUND}/{order_id}", json=changes)


def shown(client: Client, order_id: str = "FR-1") -> dict[str, Any]:
    return client.order(order_id).json()["payload"]["fulfillmentOrder"]


def stock(amazon: Sandbox) -> int:
    return amazon.world.truth(SELLER, US)["AFN-PLAIN"]["fba"]


# Hold.


def test_a_hold_reserves_stock_and_lapses_after_fourteen_days(amazon: Sandbox, client: Client) -> None:
    client.create_order("FR-1", fulfillmentAction="Hold", items=[line(3)])
    assert stock(amazon) == 14
    amazon.world.advance(14 * DAY - 60)
    assert (shown(client)["fulfillmentOrderStatus"], stock(amazon)) == ("Planning", 14)
    amazon.world.advance(60)
    assert (shown(client)["fulfillmentOrderStatus"], stock(amazon)) == ("Cancelled", 17)


def test_an_order_released_from_hold_ships_and_does_not_lapse(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, never=False)
    client.create_order("FR-1", fulfillmentAction="Hold")
    amazon.world.advance(13 * DAY)
    released = update(client, fulfillmentAction="Ship")
    assert (released.status_code, released.json()) == (200, {})
    assert (shown(client)["fulfillmentAction"], shown(client)["fulfillmentOrderStatus"]) == ("Ship", "Planning")
    amazon.world.advance(3600)
    assert shown(client)["fulfillmentOrderStatus"] == "Processing"
    amazon.world.advance(2 * DAY)
    assert shown(client)["fulfillmentOrderStatus"] == "Complete"
    assert amazon.world.orders(SELLER)["FR-1"]["times_created"] == 1


def test_an_order_on_hold_can_be_cancelled_but_not_shipped(amazon: Sandbox, client: Client) -> None:
    client.create_order("FR-1", fulfillmentAction="Hold")
    assert amazon.world.ship_now(SELLER) == {"FR-1": 0}
    assert client.call("PUT", f"{OUTBOUND}/FR-1/cancel").status_code == 200
    refused = update(client, fulfillmentAction="Ship")
    assert (refused.status_code, error(refused)["code"]) == (400, "InvalidInput")
    assert stock(amazon) == 17


@pytest.mark.parametrize(("setting", "status"), [("refuse", 400), ("accept", 200)])
def test_a_second_release_is_refused_or_has_no_effect(
    amazon: Sandbox, client: Client, setting: str, status: int
) -> None:
    amazon.world.set_order_answers(second_release=setting)
    client.create_order("FR-1", fulfillmentAction="Hold")
    assert update(client, fulfillmentAction="Ship").status_code == 200
    assert update(client, fulfillmentAction="Ship").status_code == status
    assert update(client, displayableOrderComment="Changed.").status_code == 400
    assert stock(amazon) == 16


def test_an_order_on_hold_from_a_feed_can_be_released(amazon: Sandbox, client: Client) -> None:
    client.processed(envelope(order_xml(head="<FulfillmentAction>Hold</FulfillmentAction>")))
    assert update(client, fulfillmentAction="Ship").status_code == 200
    amazon.world.advance(3600)
    assert shown(client)["fulfillmentOrderStatus"] == "Processing"


# Updates.


def test_an_update_changes_what_it_names(amazon: Sandbox, client: Client) -> None:
    client.create_order("FR-1", fulfillmentAction="Hold", items=[line(3)])
    before = shown(client)
    address = order_body()["destinationAddress"] | {"addressLine2": "Door 4"}
    answer = update(
        client,
        marketplaceId=US,
        displayableOrderComment="Changed.",
        displayableOrderDate="2026-11-21T09:30:00Z",
        destinationAddress=address,
        notificationEmails=["a@example.com"],
        featureConstraints=[{"featureName": "BLANK_BOX", "featureFulfillmentPolicy": "Required"}],
        items=[line(5) | {"giftMessage": "Enjoy."}],
    )
    assert answer.status_code == 200, answer.text
    after = shown(client)
    changed = {name for name in after if after[name] != before[name]} - {"statusUpdatedDate"}
    assert changed == {
        "displayableOrderComment",
        "displayableOrderDate",
        "destinationAddress",
        "notificationEmails",
        "featureConstraints",
    }
    assert after["destinationAddress"] == address
    (item,) = client.order("FR-1").json()["payload"]["fulfillmentOrderItems"]
    assert (item["quantity"], item["giftMessage"], stock(amazon)) == (5, "Enjoy.", 12)


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "red"},
        {"marketplaceId": CA},
        {"fulfillmentAction": "Wait"},
        {"shippingSpeedCategory": "Priority"},
        {"displayableOrderComment": "C" * 751},
        {"destinationAddress": {"name": "Jane"}},
        {"items": [line(18)]},
        {"items": [line(0)]},
        {"items": [line(1, item_id="2")]},
        {"items": [line(1, sku="AFN-BOTH")]},
        {"featureConstraints": [{"featureName": "GLITTER"}]},
    ],
)
def test_a_refused_update_changes_nothing(amazon: Sandbox, client: Client, changes: dict[str, Any]) -> None:
    client.create_order("FR-1", fulfillmentAction="Hold", items=[line(3)])
    before = client.order("FR-1").json()
    refused = update(client, **changes)
    assert (refused.status_code, error(refused)["code"]) == (400, "InvalidInput")
    assert (client.order("FR-1").json(), stock(amazon)) == (before, 14)


def test_an_update_of_an_unknown_order_is_not_found(client: Client) -> None:
    assert update(client, "FR-9", fulfillmentAction="Ship").status_code == 404


# What the model of createFulfillmentOrder refuses.


@pytest.mark.parametrize(
    "changes",
    [
        {"sellerFulfillmentOrderId": ""},
        {"shippingSpeedCategory": "Priority"},
        {"shipFromCountryCode": "USA"},
        {"notificationEmails": [""]},
        {"notificationEmails": ["a" * 65]},
        {"featureConstraints": {"featureName": "BLANK_BOX"}},
        {"featureConstraints": [{"featureName": "GLITTER", "featureFulfillmentPolicy": "Required"}]},
        {"featureConstraints": [{"featureName": "BLANK_BOX", "featureFulfillmentPolicy": "Perhaps"}]},
        {"featureConstraints": [{"featureName": "BLANK_BOX"}, {"featureName": "BLANK_BOX"}]},
        {"deliveryPreferences": {"dropOffLocation": {"type": "ROOF"}}},
        {"deliveryPreferences": {"deliveryInstructions": "D" * 251}},
        {"deliveryWindow": {"startDate": "2026-11-21T09:30:00Z", "endDate": "2026-11-22T09:30:00Z"}},
        {"codSettings": {"isCodRequired": False}},
        {"items": [line(1) | {"perUnitDeclaredValue": {"currencyCode": "USD", "value": 1}}]},
        {"items": [line(1) | {"perUnitPrice": {"currencyCode": "USD", "value": "1"}}]},
        {"items": [line(1, item_id="I" * 51)]},
    ],
)
def test_what_the_model_does_not_allow_is_refused(amazon: Sandbox, client: Client, changes: dict[str, Any]) -> None:
    answer = client.create_order("FR-1", **changes)
    assert (answer.status_code, error(answer)["code"], bool(error(answer)["message"])) == (400, "InvalidInput", True)
    assert amazon.world.orders(SELLER) == {}


def test_everything_that_the_sandbox_takes_can_be_said_at_once(client: Client) -> None:
    answer = client.create_order(
        "FR-1",
        marketplaceId=CA,
        shippingSpeedCategory="Priority",
        destinationAddress=order_body()["destinationAddress"] | {"stateOrRegion": "ON", "countryCode": "CA"},
        fulfillmentAction="Hold",
        fulfillmentPolicy="FillAll",
        shipFromCountryCode="CA",
        notificationEmails=["a@example.com"],
        featureConstraints=[{"featureName": "BLOCK_AMZL"}],
        deliveryPreferences={
            "deliveryInstructions": "Ring twice.",
            "dropOffLocation": {"type": "GARAGE", "attributes": {"code": "1"}},
        },
        items=[line(1) | {"perUnitDeclaredValue": {"currencyCode": "CAD", "value": "9.99"}, "giftMessage": "Enjoy."}],
    )
    assert answer.status_code == 200, answer.text
    assert shown(client)["featureConstraints"] == [
        {"featureName": "BLOCK_AMZL", "featureFulfillmentPolicy": "Required"}
    ]


def test_a_signature_can_be_required_in_the_united_states_only(amazon: Sandbox, client: Client) -> None:
    signature = [{"featureName": "SIGNATURE_CONFIRMATION", "featureFulfillmentPolicy": "Required"}]
    refused = client.create_order("FR-1", marketplaceId=CA, featureConstraints=signature)
    assert (refused.status_code, "SIGNATURE_CONFIRMATION is not available in CA" in refused.text) == (400, True)
    assert amazon.world.orders(SELLER)["FR-1"]["times_created"] == 0
    wished = [signature[0] | {"featureFulfillmentPolicy": "NotRequired"}]
    assert client.create_order("FR-1", marketplaceId=CA, featureConstraints=wished).status_code == 200
    assert client.create_order("FR-2", featureConstraints=signature).status_code == 200


# Stock that is missing.


@pytest.mark.parametrize("policy", ["FillOrKill", "FillAllAvailable"])
def test_an_order_without_stock_can_be_taken_and_then_be_unfulfillable(
    amazon: Sandbox, client: Client, policy: str
) -> None:
    amazon.world.set_order_answers(short_stock="unfulfillable")
    items = [line(18), line(1, "AFN-BOTH", "2")] if policy == "FillOrKill" else [line(1, "AFN-ZERO")]
    assert client.create_order("FR-1", fulfillmentPolicy=policy, items=items).status_code == 200
    assert (shown(client)["fulfillmentOrderStatus"], stock(amazon)) == ("Received", 17)
    amazon.world.advance(600)
    assert shown(client)["fulfillmentOrderStatus"] == "Unfulfillable"
    lines = client.order("FR-1").json()["payload"]["fulfillmentOrderItems"]
    assert [one["unfulfillableQuantity"] for one in lines] == [item["quantity"] for item in items]
    assert stock(amazon) == 17


def test_fill_all_looks_for_missing_units_for_a_day(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, never=False)
    amazon.world.set_order_answers(short_stock="unfulfillable")
    client.create_order("FR-1", fulfillmentPolicy="FillAll", items=[line(18)])
    client.create_order("FR-2", fulfillmentPolicy="FillAll", items=[line(1, "AFN-ZERO")])
    amazon.world.ship_now(SELLER, ["FR-1"])
    amazon.world.advance(DAY - 60)
    (item,) = client.order("FR-1").json()["payload"]["fulfillmentOrderItems"]
    assert (shown(client)["fulfillmentOrderStatus"], item["unfulfillableQuantity"]) == ("Processing", 0)
    assert shown(client, "FR-2")["fulfillmentOrderStatus"] == "Processing"
    amazon.world.advance(60)
    (item,) = client.order("FR-1").json()["payload"]["fulfillmentOrderItems"]
    assert (shown(client)["fulfillmentOrderStatus"], item["unfulfillableQuantity"]) == ("CompletePartialled", 1)
    assert shown(client, "FR-2")["fulfillmentOrderStatus"] == "Unfulfillable"


def test_fill_all_looks_for_missing_units_from_its_release_on(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, never=False)
    client.create_order("FR-1", fulfillmentPolicy="FillAll", fulfillmentAction="Hold", items=[line(18)])
    amazon.world.advance(3 * DAY)
    assert update(client, fulfillmentAction="Ship").status_code == 200
    amazon.world.advance(DAY - 60)
    amazon.world.ship_now(SELLER)
    assert shown(client)["fulfillmentOrderStatus"] == "Processing"
    amazon.world.advance(60)
    assert shown(client)["fulfillmentOrderStatus"] == "CompletePartialled"
