"""What Amazon's documentation leaves open about orders: both answers, and the forms that an answer can have."""

from typing import Any

import pytest

from sandbox.merchant.order import STATUSES
from sandbox.merchant.order_answers import OMITTABLE
from sandbox.server.server import Sandbox
from tests.sandbox.api.test_outbound_2026 import body as order_2026
from tests.sandbox.client import CANCELLATIONS, OUTBOUND, US, Client, cancel_xml, envelope, error, order_xml

SELLER = "A1SANDBOXSELLER"


def stock(amazon: Sandbox) -> int:
    return amazon.world.truth(SELLER, US)["AFN-PLAIN"]["fba"]


def shown(client: Client, order_id: str = "FR-1") -> str:
    return client.order(order_id).json()["payload"]["fulfillmentOrder"]["fulfillmentOrderStatus"]


def listed(client: Client) -> list[dict[str, Any]]:
    return client.call("GET", OUTBOUND).json()["payload"]["fulfillmentOrders"]


def line(quantity: int) -> list[dict[str, Any]]:
    return [{"sellerSku": "AFN-PLAIN", "sellerFulfillmentOrderItemId": "1", "quantity": quantity}]


def names(document: Any) -> set[str]:
    """Every name of a field in a JSON document."""
    if isinstance(document, list):
        return set().union(*map(names, document))
    return set(document).union(*map(names, document.values())) if isinstance(document, dict) else set()


# An order id that exists already.


def test_a_repeated_order_id_can_make_a_second_order(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_order_answers(repeated_id="second_order")
    client.create_order("FR-1", items=line(2))
    client.create_order("FR-2")
    assert client.create_order("FR-1", items=line(3)).status_code == 200
    order = amazon.world.orders(SELLER)["FR-1"]
    assert (order["times_received"], order["times_created"], order["items"]) == (2, 2, {"AFN-PLAIN": 3})
    assert stock(amazon) == 17 - 2 - 1 - 3
    assert client.order("FR-1").json()["payload"]["fulfillmentOrderItems"][0]["quantity"] == 3
    assert sorted(one["sellerFulfillmentOrderId"] for one in listed(client)) == ["FR-1", "FR-2"]


def test_a_feed_can_make_a_second_order(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_order_answers(repeated_id="second_order")
    assert client.processed(envelope(order_xml("FR-1"), order_xml("FR-1")))["counts"] == (2, 2, 0, 0)
    amazon.world.set_order_answers(repeated_id="refuse")
    report = client.processed(envelope(order_xml("FR-1")))
    assert [(code, number) for _, code, number, *_ in report["results"]] == [("Error", "13001")]
    assert amazon.world.orders(SELLER)["FR-1"]["times_created"] == 2


def test_a_second_order_needs_stock_as_well(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_order_answers(repeated_id="second_order")
    client.create_order("FR-1", items=line(17))
    assert client.create_order("FR-1").status_code == 400
    assert amazon.world.orders(SELLER)["FR-1"]["times_created"] == 1


def test_both_orders_of_an_id_ship(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_order_answers(repeated_id="second_order")
    amazon.world.plan_order(SELLER, "FR-1", parts=1, never=False, shipment_id=True)
    client.create_order("FR-1", items=line(2))
    client.create_order("FR-1", items=line(3))
    assert amazon.world.ship_now(SELLER)["FR-1"] >= 2
    truth = amazon.world.shipment_truth(SELLER, US)
    assert truth["orders"]["FR-1"]["AFN-PLAIN"]["quantity"] == 5
    assert len({row["shipment-id"] for row in truth["rows"]}) == 2
    assert len({row["amazon-order-id"] for row in truth["rows"]}) == 2


def test_the_first_order_of_an_id_goes_on_when_the_newest_is_cancelled(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_order_answers(repeated_id="second_order")
    amazon.world.plan_order(SELLER, "FR-1", parts=1, never=False)
    client.create_order("FR-1", items=line(2))
    client.create_order("FR-1", items=line(3))
    assert client.call("PUT", f"{OUTBOUND}/FR-1/cancel").status_code == 200
    assert (shown(client), stock(amazon)) == ("Cancelled", 17 - 2)
    amazon.world.advance(40 * 86400)
    assert amazon.world.shipment_truth(SELLER, US)["orders"]["FR-1"]["AFN-PLAIN"]["quantity"] == 2


# A second cancellation.


def test_a_second_cancellation_can_be_refused(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_order_answers(second_cancel="refuse")
    client.create_order("FR-1")
    first, second = (client.call("PUT", f"{OUTBOUND}/FR-1/cancel") for _ in range(2))
    assert (first.status_code, second.status_code, error(second)["code"]) == (200, 400, "InvalidInput")
    assert error(second)["message"] == "The fulfillment order FR-1 is Cancelled already."
    report = client.processed(envelope(cancel_xml("FR-1"), kind="FulfillmentOrderCancellationRequest"), CANCELLATIONS)
    assert report["counts"] == (1, 0, 1, 0)
    assert amazon.world.orders(SELLER)["FR-1"]["status"] == "Cancelled"
    amazon.world.set_order_answers(second_cancel="accept")
    assert client.call("PUT", f"{OUTBOUND}/FR-1/cancel").status_code == 200


# Statuses.


def test_statuses_can_be_in_capitals(amazon: Sandbox, client: Client) -> None:
    client.create_order("FR-1")
    amazon.world.set_order_answers(capitals=True)
    seen = []
    for status in STATUSES:
        amazon.world.set_order_status(SELLER, "FR-1", status)
        seen.append(shown(client))
        assert [one["fulfillmentOrderStatus"] for one in listed(client)] == seen[-1:]
        amazon.world.buckets.clear()
    assert seen == [
        "NEW",
        "RECEIVED",
        "PLANNING",
        "PROCESSING",
        "CANCELLED",
        "COMPLETE",
        "COMPLETE_PARTIALLED",
        "UNFULFILLABLE",
        "INVALID",
    ]
    amazon.world.set_order_answers(capitals=False)
    assert shown(client) == "Invalid"


@pytest.mark.parametrize("status", ["OnTheMoon", "", "complete", "処理中"])
def test_any_text_can_be_shown_as_the_status_of_one_order(amazon: Sandbox, client: Client, status: str) -> None:
    amazon.world.show_order_status(SELLER, "FR-1", status)
    amazon.world.set_order_answers(capitals=True)
    client.create_order("FR-1")
    client.create_order("FR-2")
    assert (shown(client, "FR-1"), shown(client, "FR-2")) == (status, "RECEIVED")
    assert {one["fulfillmentOrderStatus"] for one in listed(client)} == {status, "RECEIVED"}
    amazon.world.advance(600)
    assert amazon.world.orders(SELLER)["FR-1"]["status"] == "Planning"
    amazon.world.show_order_status(SELLER, "FR-1", None)
    assert shown(client) == "PLANNING"
    with pytest.raises(ValueError, match="no seller"):
        amazon.world.show_order_status("A0", "FR-1", status)


# Fields.


def test_every_field_of_an_order_can_be_left_out(amazon: Sandbox, client: Client) -> None:
    amazon.world.plan_order(SELLER, "FR-1", parts=1, never=False)
    new = "/fulfillment/outbound/2026-07-04/orders"
    assert client.call("POST", new, json=order_2026("FR-1", channel="SHOP")).status_code == 200
    amazon.world.ship_now(SELLER)
    amazon.world.set_parcel(SELLER, "FR-1", status="DELIVERED")
    paths = (f"{OUTBOUND}/FR-1", OUTBOUND, f"{new}/FR-1", new)
    answers = {path: names(client.call("GET", path).json()) for path in paths}
    assert set(OMITTABLE) <= set().union(*answers.values())
    for field in OMITTABLE:
        amazon.world.buckets.clear()
        amazon.world.set_order_answers(leave_out=[field])
        for path, fields in answers.items():
            left = names(client.call("GET", path).json())
            assert field not in left
            assert left == fields or field in fields
    amazon.world.set_order_answers(leave_out=[])
    assert {path: names(client.call("GET", path).json()) for path in answers} == answers


def test_fields_can_be_left_out_of_one_operation(amazon: Sandbox, client: Client) -> None:
    client.create_order("FR-1")
    fields = ("marketplaceId", "fulfillmentOrderStatus", "fulfillmentOrderItems")
    amazon.world.set_order_answers(leave_out=fields, leave_out_of=["getFulfillmentOrder"])
    assert not set(fields) & names(client.order("FR-1").json())
    assert set(fields[:2]) <= names(listed(client))
    amazon.world.set_order_answers(leave_out_of=["listAllFulfillmentOrders"])
    assert set(fields) <= names(client.order("FR-1").json())
    assert not set(fields) & names(listed(client))


def test_quantities_can_be_texts(amazon: Sandbox, client: Client) -> None:
    client.create_order("FR-1", items=line(2))
    amazon.world.set_order_answers(quantities_as_text=True)
    (item,) = client.order("FR-1").json()["payload"]["fulfillmentOrderItems"]
    assert [item[name] for name in ("quantity", "cancelledQuantity", "unfulfillableQuantity")] == ["2", "0", "0"]
    amazon.world.set_order_answers(quantities_as_text=False)
    assert client.order("FR-1").json()["payload"]["fulfillmentOrderItems"][0]["quantity"] == 2


# An order that does not exist.


def test_an_unknown_number_can_be_invalid_input(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_order_answers(unknown_number="invalid_input")
    client.create_order("FR-1")
    unknown = client.order("FR-9")
    assert unknown.status_code == 400
    assert error(unknown) == {
        "code": "InvalidInput",
        "message": "Unable to get order info for FR-9; received error message: ",
        "details": "",
    }
    assert client.order("FR-1").status_code == 200
    assert client.call("PUT", f"{OUTBOUND}/FR-9/cancel").status_code == 404
    amazon.world.set_order_answers(unknown_number="not_found")
    assert client.order("FR-9").status_code == 404


# The settings themselves.


def test_one_setting_leaves_the_others_unchanged_and_a_reset_restores_them(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_order_answers(capitals=True)
    amazon.world.set_order_answers(unknown_number="invalid_input", leave_out=("marketplaceId",))
    amazon.world.set_order_answers()
    answers = amazon.world.order_desk.answers
    assert (answers.capitals, answers.unknown_number, answers.leave_out) == (True, "invalid_input", ("marketplaceId",))
    amazon.world.show_order_status(SELLER, "FR-1", "OnTheMoon")
    amazon.world.reset()
    client.login().create_order("FR-1")
    assert shown(client) == "Received"
    assert client.order("FR-9").status_code == 404


@pytest.mark.parametrize(
    "options",
    [
        {"repeated_id": "third_order"},
        {"second_cancel": "maybe"},
        {"unknown_number": "teapot"},
        {"leave_out": ["colour"]},
        {"leave_out": "marketplaceId"},
        {"leave_out_of": ["cancelFulfillmentOrder"]},
    ],
)
def test_settings_that_do_not_exist_are_rejected(amazon: Sandbox, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        amazon.world.set_order_answers(**options)
