"""Fulfillment Outbound API: previews with fees, dates and reasons, and the features of orders."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.server.server import Sandbox
from tests.sandbox.client import OUTBOUND, US, Client, error, order_body

SELLER = "A1SANDBOXSELLER"
CA = "A2EUQ1WTGCTBG2"
JP = "A1VC38T7YXB528"
FEATURES = "/fba/outbound/2020-07-01/features"


def line(sku: str, quantity: int, item_id: str = "1") -> dict[str, Any]:
    return {"sellerSku": sku, "sellerFulfillmentOrderItemId": item_id, "quantity": quantity}


def ask(client: Client, *lines: dict[str, Any], **more: Any) -> Any:
    body = {"address": order_body()["destinationAddress"], "items": list(lines) or [line("AFN-PLAIN", 2)], **more}
    return client.call("POST", f"{OUTBOUND}/preview", json=body)


def by_speed(answer: Any) -> dict[str, dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return {one["shippingSpeedCategory"]: one for one in answer.json()["payload"]["fulfillmentPreviews"]}


def amounts(preview: dict[str, Any]) -> dict[str, str]:
    assert {fee["amount"]["currencyCode"] for fee in preview["estimatedFees"]} == {"USD"}
    return {fee["name"]: fee["amount"]["value"] for fee in preview["estimatedFees"]}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


# Previews.


def test_every_speed_has_fees_and_dates(amazon: Sandbox, client: Client) -> None:
    asked = datetime.now(UTC).replace(microsecond=0)
    found = by_speed(ask(client))
    assert {speed: one["isFulfillable"] for speed, one in found.items()} == {
        "Standard": True,
        "Expedited": True,
        "Priority": False,
    }
    assert amounts(found["Standard"]) == {
        "FBAPerUnitFulfillmentFee": "7.90",
        "FBAPerOrderFulfillmentFee": "1.00",
        "FBATransportationFee": "2.50",
    }
    (shipment,) = found["Standard"]["fulfillmentPreviewShipments"]
    times = [moment(shipment[name]) - asked for name in (
        "earliestShipDate", "latestShipDate", "earliestArrivalDate", "latestArrivalDate",
    )]  # fmt: skip
    expected = [timedelta(hours=4), timedelta(hours=31), timedelta(days=2, hours=4), timedelta(days=4, hours=31)]
    assert all(abs(time - wanted) < timedelta(seconds=5) for time, wanted in zip(times, expected, strict=True))
    (item,) = shipment["fulfillmentPreviewItems"]
    assert (item["sellerSku"], item["quantity"]) == ("AFN-PLAIN", 2)
    assert found["Priority"]["orderUnfulfillableReasons"] == ["DeliverySLAUnavailable"]
    assert "estimatedFees" not in found["Priority"]
    assert amazon.world.orders(SELLER) == {}
    assert amazon.world.truth(SELLER, US)["AFN-PLAIN"]["fba"] == 17


def test_speeds_can_be_chosen_and_priority_is_had_in_canada(client: Client) -> None:
    assert list(by_speed(ask(client, shippingSpeedCategories=["Expedited"]))) == ["Expedited"]
    address = order_body()["destinationAddress"] | {"stateOrRegion": "ON", "countryCode": "CA"}
    priority = by_speed(ask(client, marketplaceId=CA, address=address, shippingSpeedCategories=["Priority"]))
    assert priority["Priority"]["isFulfillable"] is True
    assert {fee["amount"]["currencyCode"] for fee in priority["Priority"]["estimatedFees"]} == {"CAD"}


def test_yen_have_no_decimals(seller: Any) -> None:
    japan: Client = seller("A1JP", (JP,))
    address = {"name": "J", "addressLine1": "1-1", "postalCode": "100-0001", "countryCode": "JP"}
    found = by_speed(ask(japan, address=address))["Standard"]
    assert {fee["amount"]["value"] for fee in found["estimatedFees"]} == {"790", "100", "250"}
    assert {fee["amount"]["currencyCode"] for fee in found["estimatedFees"]} == {"JPY"}


def test_an_order_of_several_lines_is_planned_in_two_shipments(client: Client) -> None:
    lines = [line("AFN-PLAIN", 2), line("AFN-BOTH", 3, "2"), line("AFN-TWICE", 1, "3")]
    found = by_speed(ask(client, *lines))["Standard"]
    assert [len(one["fulfillmentPreviewItems"]) for one in found["fulfillmentPreviewShipments"]] == [2, 1]
    assert amounts(found)["FBAPerUnitFulfillmentFee"] == "23.70"
    assert amounts(found)["FBAPerOrderFulfillmentFee"] == "1.00"
    together = [{"featureName": "DELIVER_TOGETHER", "featureFulfillmentPolicy": "Required"}]
    found = by_speed(ask(client, *lines, featureConstraints=together))["Standard"]
    assert len(found["fulfillmentPreviewShipments"]) == 1
    assert found["featureConstraints"] == together


def test_a_required_feature_costs_more(client: Client) -> None:
    def transport(policy: str) -> str:
        wishes = [
            {"featureName": name, "featureFulfillmentPolicy": policy}
            for name in ("BLOCK_AMZL", "SIGNATURE_CONFIRMATION")
        ]
        return amounts(by_speed(ask(client, featureConstraints=wishes))["Standard"])["FBATransportationFee"]

    assert (transport("NotRequired"), transport("Required")) == ("2.50", "7.00")


def test_missing_stock_is_named_with_its_reason(client: Client) -> None:
    found = by_speed(ask(client, line("AFN-PLAIN", 10), line("AFN-PLAIN", 10, "2"), line("AFN-ZERO", 1, "3")))
    standard = found["Standard"]
    assert (standard["isFulfillable"], standard["fulfillmentPreviewShipments"]) == (False, [])
    assert [
        (one["sellerFulfillmentOrderItemId"], one["quantity"], one["itemUnfulfillableReasons"])
        for one in standard["unfulfillablePreviewItems"]
    ] == [("2", 3, ["ItemQuantityNotAvailable"]), ("3", 1, ["ItemQuantityNotAvailable"])]


def test_an_address_that_cannot_be_served_is_a_reason(client: Client) -> None:
    address = order_body()["destinationAddress"] | {"stateOrRegion": "XX"}
    found = by_speed(ask(client, address=address))["Standard"]
    assert (found["isFulfillable"], found["orderUnfulfillableReasons"]) == (False, ["InvalidDestinationAddress"])


@pytest.mark.parametrize("setting", ["null", "missing"])
def test_fees_can_be_withheld_although_the_order_is_fulfillable(amazon: Sandbox, client: Client, setting: str) -> None:
    amazon.world.set_order_answers(preview_fees=setting)
    found = by_speed(ask(client))["Standard"]
    assert (found["isFulfillable"], found.get("estimatedFees", "missing")) == (
        True,
        {"null": None, "missing": "missing"}[setting],
    )


def test_fees_and_dates_can_be_set(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_tariff("Standard", fees={"FBAPerOrderFulfillmentFee": "12.30"}, days=(9, 11))
    amazon.world.set_tariff("Expedited", offered=False)
    found = by_speed(ask(client))
    assert amounts(found["Standard"]) == {"FBAPerOrderFulfillmentFee": "12.30"}
    (shipment,) = found["Standard"]["fulfillmentPreviewShipments"]
    assert moment(shipment["latestArrivalDate"]) - moment(shipment["latestShipDate"]) == timedelta(days=11)
    assert found["Expedited"]["orderUnfulfillableReasons"] == ["DeliverySLAUnavailable"]
    for wrong in ({"speed": "Slow"}, {"fees": {"Tip": "1"}}, {"days": (0, 1)}, {"days": (3, 2)}):
        with pytest.raises(ValueError, match=r"is not one of|must be more than 0"):
            amazon.world.set_tariff(**{"speed": "Standard", **wrong})


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "red"},
        {"items": []},
        {"items": [line("AFN-PLAIN", 0)]},
        {"items": [line("NOBODY", 1)]},
        {"items": [line("AFN-PLAIN", 251)]},
        {"items": [line("AFN-PLAIN", 1), line("AFN-BOTH", 1)]},
        {"items": [line("AFN-PLAIN", 1) | {"giftMessage": "No."}]},
        {"address": {"name": "Jane"}},
        {"marketplaceId": "US"},
        {"shippingSpeedCategories": []},
        {"shippingSpeedCategories": ["Slow"]},
        {"includeDeliveryWindows": "yes"},
        {"featureConstraints": [{"featureName": "GLITTER"}]},
    ],
)
def test_a_preview_that_no_order_could_have_is_refused(client: Client, changes: dict[str, Any]) -> None:
    refused = ask(client, **changes)
    assert (refused.status_code, error(refused)["code"]) == (400, "InvalidInput")


# Features.


def test_features_are_those_of_the_marketplace(amazon: Sandbox, client: Client) -> None:
    def eligible(marketplace_id: str) -> dict[str, bool]:
        payload = client.call("GET", FEATURES, params={"marketplaceId": marketplace_id}).json()["payload"]
        return {one["featureName"]: one["sellerEligible"] for one in payload["features"]}

    amazon.world.set_feature(SELLER, US, "BLANK_BOX", enrolled=False)
    assert eligible(US)["BLANK_BOX"] is False
    assert eligible(US)["SIGNATURE_CONFIRMATION"] is True
    assert "SIGNATURE_CONFIRMATION" not in eligible(CA)
    assert all(eligible(CA).values())
    assert client.call("GET", FEATURES).status_code == 400


def test_skus_can_lack_a_feature(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_feature(SELLER, US, "BLANK_BOX", lacking=["AFN-BOTH"])

    def sku(name: str, feature: str = "BLANK_BOX") -> Any:
        return client.call("GET", f"{FEATURES}/inventory/{feature}/{name}", params={"marketplaceId": US})

    found = sku("AFN-PLAIN").json()["payload"]
    assert (found["isEligible"], found["ineligibleReasons"], found["skuCount"]) == (True, [], 17)
    assert sku("AFN-BOTH").json()["payload"]["ineligibleReasons"] == ["SKU_NOT_ELIGIBLE"]
    assert sku("NOBODY").json()["payload"]["ineligibleReasons"] == ["INVALID_SKU"]
    assert sku("AFN-PLAIN", "GLITTER").status_code == 400
    blank = [{"featureName": "BLANK_BOX", "featureFulfillmentPolicy": "Required"}]
    refused = client.create_order("FR-1", items=[line("AFN-BOTH", 1)], featureConstraints=blank)
    assert (refused.status_code, "SKU_NOT_ELIGIBLE" in refused.text) == (400, True)
    found = by_speed(ask(client, line("AFN-BOTH", 1), featureConstraints=blank))["Standard"]
    assert [one["itemUnfulfillableReasons"] for one in found["unfulfillablePreviewItems"]] == [["FeatureNotAvailable"]]
    amazon.world.set_feature(SELLER, US, "BLANK_BOX", enrolled=False, lacking=[])
    assert "MERCHANT_NOT_ENROLLED" in client.create_order("FR-1", featureConstraints=blank).text
    amazon.world.set_feature(SELLER, US, "BLANK_BOX", enrolled=True)
    assert client.create_order("FR-1", featureConstraints=blank).status_code == 200
    with pytest.raises(ValueError, match="is not one of"):
        amazon.world.set_feature(SELLER, US, "GLITTER", enrolled=True)


def test_the_inventory_of_a_feature_is_paged_and_shares_the_stock(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_inventory_page_size(20)
    amazon.world.set_feature(SELLER, US, "BLOCK_AMZL", lacking=["AFN-BOTH"])
    client.create_order("FR-1", items=[line("AFN-PLAIN", 3)])
    counts: dict[str, int] = {}
    pages, token = 0, ""
    while pages == 0 or token:
        query = {"marketplaceId": US} | ({"nextToken": token} if token else {})
        payload = client.call("GET", f"{FEATURES}/inventory/BLOCK_AMZL", params=query).json()["payload"]
        counts |= {one["sellerSku"]: one["skuCount"] for one in payload["featureSkus"]}
        pages, token = pages + 1, payload.get("nextToken", "")
        if token:
            elsewhere = {"marketplaceId": US, "nextToken": token}
            assert client.call("GET", f"{FEATURES}/inventory/BLANK_BOX", params=elsewhere).status_code == 400
        assert len(payload["featureSkus"]) <= 20
    assert pages > 2
    assert (counts["AFN-PLAIN"], counts["AFN-ZERO"], "AFN-BOTH" in counts) == (14, 0, False)
    since = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    query = {"marketplaceId": US, "queryStartDate": since}
    payload = client.call("GET", f"{FEATURES}/inventory/BLOCK_AMZL", params=query).json()["payload"]
    assert payload["featureSkus"] == []
