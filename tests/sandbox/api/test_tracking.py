"""Parcels: their numbers and carriers, their way over time, and what getPackageTrackingDetails says of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.merchant.parcels import STATES
from sandbox.server.server import Sandbox
from tests.sandbox.client import US, Client

SELLER = "A1SANDBOXSELLER"
TRACKING = "/fba/outbound/2020-07-01/tracking"
HOUR, DAY = 3600.0, 86400.0


def order(client: Client, order_id: str = "FR-1", quantity: int = 1, *features: str, **more: Any) -> None:
    items = [{"sellerSku": "AFN-PLAIN", "sellerFulfillmentOrderItemId": "1", "quantity": quantity}]
    wishes = [{"featureName": name, "featureFulfillmentPolicy": "Required"} for name in features]
    answer = client.create_order(order_id, items=items, featureConstraints=wishes, **more)
    assert answer.status_code == 200, answer.text


def track(client: Client, number: int) -> Any:
    client.amazon.world.buckets.clear()
    return client.call("GET", TRACKING, params={"packageNumber": number})


def packages(client: Client, order_id: str = "FR-1") -> list[dict[str, Any]]:
    shipments = client.order(order_id).json()["payload"]["fulfillmentShipments"]
    return [package for shipment in shipments for package in shipment["fulfillmentShipmentPackage"]]


def ship(amazon: Sandbox, order_id: str = "FR-1") -> list[dict[str, Any]]:
    amazon.world.ship_now(SELLER, [order_id])
    return [one for one in amazon.world.parcels(SELLER) if one["order_id"] == order_id]


@pytest.mark.parametrize(
    ("fate", "seen"),
    [
        ("on_time", ["IN_TRANSIT", "OUT_FOR_DELIVERY", "DELIVERED"]),
        ("late", ["IN_TRANSIT", "DELAYED", "OUT_FOR_DELIVERY", "DELIVERED"]),
        ("lost", ["IN_TRANSIT", "UNKNOWN"]),
        ("undeliverable", ["IN_TRANSIT", "OUT_FOR_DELIVERY", "UNDELIVERABLE"]),
    ],
)
def test_a_parcel_travels_with_the_clock(amazon: Sandbox, client: Client, fate: str, seen: list[str]) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, packages=1, never=False, fates=[fate])
    order(client)
    (parcel,) = ship(amazon)
    states = []
    for _ in range(8 * 40):
        states.append(track(client, parcel["number"]).json()["payload"]["currentStatus"])
        amazon.world.advance(3 * HOUR)
    assert list(dict.fromkeys(states)) == seen
    under_way = sum(state != seen[-1] for state in states) * 3 * HOUR
    promised = 4 * DAY
    assert {"on_time": under_way <= promised, "late": promised < under_way <= 7 * DAY}.get(fate, True)
    (last,) = amazon.world.parcels(SELLER)
    assert last["status"] == ("EXPIRED" if fate == "lost" else seen[-1])
    assert [status for status, _ in last["history"]] == [*seen[:-1], last["status"]]
    assert (last["delivered"] is not None) == (seen[-1] == "DELIVERED")


def test_the_promise_is_over_when_simulated_time_has_passed_it(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, packages=1, never=False, fates=["lost"])
    order(client)
    (parcel,) = ship(amazon)
    left, promised = (datetime.fromisoformat(parcel[name]) for name in ("left", "promised"))
    assert promised - left == timedelta(days=4)
    amazon.world.advance(4 * DAY)
    (parcel,) = amazon.world.parcels(SELLER)
    assert datetime.fromisoformat(parcel["promised"]) <= datetime.now(UTC)


def test_a_package_is_the_same_in_every_answer(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=2, packages=2, never=False, shipment_item_id=True)
    order(client, "FR-1", 5)
    truth = {parcel["number"]: parcel for parcel in ship(amazon)}
    assert len(truth) == 4
    for package in packages(client):
        parcel, details = truth[package["packageNumber"]], track(client, package["packageNumber"]).json()["payload"]
        assert package["trackingNumber"] == details["trackingNumber"] == parcel["tracking_number"]
        assert package["carrierCode"] == details["carrierCode"] == parcel["carrier"]
        assert package["amazonFulfillmentTrackingNumber"] == parcel["amazon_number"]
        assert package["estimatedArrivalDate"] == details["estimatedArrivalDate"]
        assert parcel["amazon_number"] in details["customerTrackingLink"]
    rows = amazon.world.shipment_truth(SELLER, US)["rows"]
    assert {row["tracking-number"] for row in rows} == {parcel["tracking_number"] for parcel in truth.values()}
    assert sum(units for parcel in truth.values() for units in parcel["items"].values()) == 5


def test_two_parcels_can_share_a_shipment_item_id(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(
        SELLER, "FR-1", parts=1, packages=2, never=False, shared_item_id=True, shipment_item_id=True
    )
    order(client, "FR-1", 4)
    ids = [parcel["shipment_item_ids"] for parcel in ship(amazon)]
    assert (len(ids), ids[0]) == (2, ids[1])
    rows = amazon.world.shipment_truth(SELLER, US)["rows"]
    assert len({row["shipment-item-id"] for row in rows}) == 1
    assert len({row["tracking-number"] for row in rows}) == 2


def test_blocking_amazon_logistics_is_honoured_unless_scripted(amazon: Sandbox, client: Client) -> None:
    for number in range(12):
        amazon.world.plan_order(SELLER, f"FR-{number}", never=False)
        order(client, f"FR-{number}", 1, "BLOCK_AMZL")
    amazon.world.plan_order(SELLER, "FR-X", never=False, amazon_logistics=True)
    order(client, "FR-X", 1, "BLOCK_AMZL")
    amazon.world.ship_now(SELLER)
    carriers: dict[str, set[str]] = {}
    for parcel in amazon.world.parcels(SELLER):
        carriers.setdefault(parcel["order_id"], set()).add(parcel["carrier"])
        assert parcel["tracking_number"].startswith("TBA") == (parcel["carrier"] == "AMZN_US")
    assert carriers.pop("FR-X") == {"AMZN_US"}
    assert set().union(*carriers.values()) == {"UPS", "FEDEX"}


def test_an_order_delivered_together_is_one_parcel(amazon: Sandbox, client: Client) -> None:
    for number in range(8):
        amazon.world.plan_order(SELLER, f"FR-{number}", never=False)
        order(client, f"FR-{number}", 2, "DELIVER_TOGETHER")
    amazon.world.ship_now(SELLER)
    assert len(amazon.world.parcels(SELLER)) == 8


def test_a_signature_is_named_after_delivery(amazon: Sandbox, client: Client) -> None:
    for order_id, features in (("FR-1", ("SIGNATURE_CONFIRMATION",)), ("FR-2", ())):
        amazon.world.plan_order(SELLER, order_id, parts=1, packages=1, never=False)
        order(client, order_id, 1, *features)
    amazon.world.ship_now(SELLER)
    numbers = [parcel["number"] for parcel in amazon.world.parcels(SELLER)]
    assert "signedForBy" not in track(client, numbers[0]).json()["payload"]
    amazon.world.advance(5 * DAY)
    signed, left = (track(client, number).json()["payload"] for number in numbers)
    assert (signed["signedForBy"], "signedForBy" in left) == ("Jane Example", False)
    (package,) = packages(client)
    assert package["deliveryInformation"]["deliveryDocumentList"][0]["documentType"] == "DELIVERY_IMAGE"


@pytest.mark.parametrize("state", list(STATES))
def test_every_state_of_the_model_can_be_set_for_good(amazon: Sandbox, client: Client, state: str) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, packages=1, never=False)
    order(client)
    (parcel,) = ship(amazon)
    amazon.world.set_parcel(SELLER, "FR-1", status=state, happened="2026-11-01T10:00:00Z")
    amazon.world.advance(30 * DAY)
    details = track(client, parcel["number"]).json()["payload"]
    assert details["currentStatus"] == state
    event = STATES[state]
    newest = details["trackingEvents"][0]
    assert (newest["eventCode"], newest["eventDate"]) == (
        ("EVENT_202", newest["eventDate"]) if event is None else (event[0], "2026-11-01T10:00:00Z")
    )


def test_numbers_carrier_and_promise_can_be_set(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, packages=1, never=False)
    order(client)
    with pytest.raises(ValueError, match="no parcel 1"):
        amazon.world.set_parcel(SELLER, "FR-1", status="DELIVERED")
    ship(amazon)
    amazon.world.set_parcel(
        SELLER, "FR-1", carrier="DHL", tracking_number="", amazon_number="", promised="2026-11-02T10:00:00Z"
    )
    (package,) = packages(client)
    assert (package["carrierCode"], package["estimatedArrivalDate"]) == ("DHL", "2026-11-02T10:00:00Z")
    assert not {"trackingNumber", "amazonFulfillmentTrackingNumber"} & set(package)
    for wrong, reason in (({"status": "FLYING"}, "FLYING"), ({"parcel": 2}, "no parcel 2")):
        with pytest.raises(ValueError, match=reason):
            amazon.world.set_parcel(SELLER, "FR-1", **wrong)
    for wrong in ({"fates": ["stolen"]}, {"packages": 0}):
        with pytest.raises(ValueError, match=r"stolen|packages must be at least 1"):
            amazon.world.plan_order(SELLER, "FR-2", **wrong)


def test_packages_of_others_and_those_that_have_not_left_are_not_found(
    amazon: Sandbox, client: Client, seller: Any
) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=2, packages=1, never=False)
    order(client, "FR-1", 2)
    amazon.world.ship_now(SELLER, parts=1)
    (parcel,) = amazon.world.parcels(SELLER)
    assert track(client, parcel["number"]).status_code == 200
    other: Client = seller()
    assert [track(one, number).status_code for one, number in (
        (other, parcel["number"]), (client, parcel["number"] + 1), (client, 7),
    )] == [404, 404, 404]  # fmt: skip
    for wrong in ("", "x", "-1", str(2**31)):
        assert client.call("GET", TRACKING, params={"packageNumber": wrong}).status_code == 400
    assert client.call("GET", TRACKING).status_code == 400


def test_lost_orders_are_on_no_page(amazon: Sandbox, client: Client) -> None:
    order(client, "FR-1")
    order(client, "FR-2")
    amazon.world.set_order_listing(lost=["FR-1"])
    path = "/fba/outbound/2020-07-01/fulfillmentOrders"
    listed = client.call("GET", path).json()["payload"]["fulfillmentOrders"]
    assert [one["sellerFulfillmentOrderId"] for one in listed] == ["FR-2"]
    assert client.order("FR-1").status_code == 200
    amazon.world.set_order_listing(lost=[])
    assert len(client.call("GET", path).json()["payload"]["fulfillmentOrders"]) == 2
