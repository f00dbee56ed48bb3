"""Fulfillment Outbound API 2020-07-01: fulfillment orders created, updated, read, listed and cancelled."""

from typing import Any

from sandbox.api import pages
from sandbox.api.answers import AmazonError, Answer, invalid_input, json_answer, not_found, unauthorized
from sandbox.api.calls import Call, Operation
from sandbox.api.outbound_bodies import read_create, read_update
from sandbox.clock import iso_z
from sandbox.merchant.order import Order
from sandbox.merchant.orders import OrderDesk
from sandbox.merchant.parcels import Parcel

_BASE = "/fba/outbound/2020-07-01/fulfillmentOrders"
_DEFAULT_SINCE_SECONDS = 36 * 3600.0


def create_fulfillment_order(call: Call) -> Answer:
    """POST /fba/outbound/2020-07-01/fulfillmentOrders: 400 for an id that exists already, unless set otherwise."""
    refusals = call.world.order_desk.place(call.merchant, read_create(call), call.world.clock.waited())
    if refusals:
        raise invalid_input(" ".join(refusal.text for refusal in refusals))
    return json_answer(200, {})


def update_fulfillment_order(call: Call) -> Answer:
    """PUT /fba/outbound/2020-07-01/fulfillmentOrders/{sellerFulfillmentOrderId}: changes or ships an order on hold."""
    order = find_order(call, call.incoming.path_params["sellerFulfillmentOrderId"])
    refusals = call.world.order_desk.update(call.merchant, order, read_update(call, order.request))
    if refusals:
        raise invalid_input(" ".join(refusal.text for refusal in refusals))
    return json_answer(200, {})


def find_order(call: Call, path_text: str) -> Order:
    """Return the seller's newest order of an id in the path; 404 if there is none, 403 for an id with a space."""
    # Observed at Amazon: a plus sign in the path is decoded as a space, and ids with spaces get 403.
    order_id = path_text.replace("+", " ")
    if " " in order_id:
        raise unauthorized()
    order = call.world.order_desk.orders.get((call.merchant.seller_id, order_id))
    if order is None:
        raise _unknown_order(call, order_id)
    return order


def _unknown_order(call: Call, order_id: str) -> AmazonError:
    setting = call.world.order_desk.answers.unknown_number
    if call.operation.name == "getFulfillmentOrder" and setting == "invalid_input":
        return invalid_input(f"Unable to get order info for {order_id}; received error message: ")
    return not_found(f"The fulfillment order {order_id} does not exist.")


def _order_json(desk: OrderDesk, order: Order) -> dict[str, Any]:
    request = order.request
    answer: dict[str, Any] = {
        "sellerFulfillmentOrderId": request.order_id,
        "marketplaceId": request.marketplace_id,
        "displayableOrderId": request.displayable_id,
        "displayableOrderDate": iso_z(request.displayable_date or order.received),
        "displayableOrderComment": request.comment,
        "shippingSpeedCategory": request.speed,
        "destinationAddress": dict(request.address),
        "fulfillmentAction": request.action,
        "fulfillmentPolicy": request.policy,
        "receivedDate": iso_z(order.received),
        "fulfillmentOrderStatus": desk.shown_status(order),
        "statusUpdatedDate": iso_z(order.updated),
        "notificationEmails": list(request.emails),
        "featureConstraints": [
            {"featureName": name, "featureFulfillmentPolicy": policy} for name, policy in request.features.items()
        ],
    }
    return answer


def _items_json(order: Order) -> list[dict[str, Any]]:
    items = []
    for line in order.request.lines:
        cancelled, unfulfillable = order.lost_units(line)
        items.append(
            {
                "sellerSku": line.sku,
                "sellerFulfillmentOrderItemId": line.item_id,
                "quantity": line.quantity,
                "giftMessage": line.gift_message,
                "displayableComment": line.comment,
                "cancelledQuantity": cancelled,
                "unfulfillableQuantity": unfulfillable,
            }
        )
    return items


def _shipments_json(order: Order) -> list[dict[str, Any]]:
    entries = []
    for shipment in order.visible_shipments():
        entry: dict[str, Any] = {
            "amazonShipmentId": shipment.shipment_id,
            "fulfillmentCenterId": shipment.center,
            "fulfillmentShipmentStatus": "PENDING" if shipment.shipped_at is None else "SHIPPED",
            "fulfillmentShipmentItem": [
                {
                    "sellerSku": line.sku,
                    "sellerFulfillmentOrderItemId": line.item_id,
                    "quantity": line.quantity,
                    **(
                        {}
                        if shipment.shipped_at is None
                        else {"packageNumber": shipment.packages[line.package - 1].number}
                    ),
                }
                for line in shipment.lines
            ],
        }
        if shipment.shipped_at is not None:
            entry["shippingDate"] = iso_z(shipment.shipped_at)
            entry["estimatedArrivalDate"] = iso_z(max(parcel.promised or 0.0 for parcel in shipment.packages))
            entry["fulfillmentShipmentPackage"] = [_package_json(parcel) for parcel in shipment.packages]
        entries.append(entry)
    return entries


def _package_json(parcel: Parcel) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "packageNumber": parcel.number,
        "carrierCode": parcel.carrier,
        "estimatedArrivalDate": iso_z(parcel.promised or 0.0),
    }
    if parcel.tracking_number:
        entry["trackingNumber"] = parcel.tracking_number
    if parcel.amazon_number:
        entry["amazonFulfillmentTrackingNumber"] = parcel.amazon_number
    if parcel.status == "DELIVERED":
        photo = {"documentType": "DELIVERY_IMAGE", "url": photo_url(parcel)}
        entry["deliveryInformation"] = {
            "deliveryDocumentList": [photo],
            "dropOffLocation": {"type": "FRONT_DOOR", "attributes": {}},
        }
    return entry


def photo_url(parcel: Parcel) -> str:
    """Return the address of the photo that was taken when a parcel was delivered."""
    return f"https://photos.example.com/{parcel.package_id}.jpg"


def get_fulfillment_order(call: Call) -> Answer:
    """GET /fba/outbound/2020-07-01/fulfillmentOrders/{sellerFulfillmentOrderId}."""
    order, desk = find_order(call, call.incoming.path_params["sellerFulfillmentOrderId"]), call.world.order_desk
    payload = {
        "fulfillmentOrder": _order_json(desk, order),
        "fulfillmentOrderItems": _items_json(order),
        "fulfillmentShipments": _shipments_json(order),
        "returnItems": [],
        "returnAuthorizations": [],
    }
    return _answer(call, payload)


def _answer(call: Call, payload: dict[str, Any]) -> Answer:
    return json_answer(200, call.world.order_desk.answers.written({"payload": payload}, call.operation.name))


def list_all_fulfillment_orders(call: Call) -> Answer:
    """GET /fba/outbound/2020-07-01/fulfillmentOrders: orders updated since queryStartDate, oldest update first."""
    since = call.query_timestamp("queryStartDate")
    now = call.world.clock.wall()
    if since is not None and since > now:
        raise invalid_input("queryStartDate must not be in the future.")
    token = call.query.get("nextToken")
    desk, seller_id = call.world.order_desk, call.merchant.seller_id
    if token:
        state = pages.read_page_token(call, token)
        order_ids, start = state["ids"], state["start"]
    else:
        since = now - _DEFAULT_SINCE_SECONDS if since is None else since
        orders = [order for order in desk.listed(seller_id) if order.updated >= int(since)]
        order_ids = [order.request.order_id for order in sorted(orders, key=lambda order: order.updated)]
        start = 0
    end = start + desk.page_size
    payload: dict[str, Any] = {
        "fulfillmentOrders": [_order_json(desk, desk.orders[seller_id, order_id]) for order_id in order_ids[start:end]]
    }
    if end < len(order_ids):
        payload["nextToken"] = pages.issue_page_token(call, {"ids": order_ids, "start": end})
    return _answer(call, payload)


def cancel_fulfillment_order(call: Call) -> Answer:
    """PUT /fba/outbound/2020-07-01/fulfillmentOrders/{sellerFulfillmentOrderId}/cancel.

    Possible up to the status Planning; idempotent, unless set otherwise.
    """
    order = find_order(call, call.incoming.path_params["sellerFulfillmentOrderId"])
    refusal = call.world.order_desk.cancel(call.merchant, order.request.order_id)
    if refusal is not None:
        raise invalid_input(refusal)
    return json_answer(200, {})


def _order_id(call: Call) -> str | None:
    return call.incoming.path_params["sellerFulfillmentOrderId"]


OPERATIONS = (
    Operation(
        "createFulfillmentOrder",
        "POST",
        _BASE,
        create_fulfillment_order,
        rate=2.0,
        burst=30,
        subject=lambda call: call.peek_body("sellerFulfillmentOrderId"),
    ),
    Operation(
        "listAllFulfillmentOrders",
        "GET",
        _BASE,
        list_all_fulfillment_orders,
        query=frozenset({"queryStartDate", "nextToken"}),
        rate=2.0,
        burst=30,
    ),
    Operation(
        "getFulfillmentOrder",
        "GET",
        f"{_BASE}/{{sellerFulfillmentOrderId}}",
        get_fulfillment_order,
        rate=2.0,
        burst=30,
        subject=_order_id,
    ),
    Operation(
        "updateFulfillmentOrder",
        "PUT",
        f"{_BASE}/{{sellerFulfillmentOrderId}}",
        update_fulfillment_order,
        rate=2.0,
        burst=30,
        subject=_order_id,
    ),
    Operation(
        "cancelFulfillmentOrder",
        "PUT",
        f"{_BASE}/{{sellerFulfillmentOrderId}}/cancel",
        cancel_fulfillment_order,
        rate=2.0,
        burst=30,
        subject=_order_id,
    ),
)
