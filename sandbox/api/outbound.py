"""Fulfillment Outbound API 2020-07-01: fulfillment orders created, read, listed and cancelled."""

from typing import Any

from sandbox.api import pages
from sandbox.api.answers import AmazonError, Answer, invalid_input, json_answer, not_found, unauthorized
from sandbox.api.calls import Call, Operation, parse_timestamp
from sandbox.clock import iso
from sandbox.merchant.order_request import Line, OrderRequest
from sandbox.merchant.orders import Order, OrderDesk

_BASE = "/fba/outbound/2020-07-01/fulfillmentOrders"
_DEFAULT_SINCE_SECONDS = 36 * 3600.0
_TEXTS = {
    "sellerFulfillmentOrderId": 40,
    "displayableOrderId": 40,
    "displayableOrderDate": 40,
    "displayableOrderComment": 750,
    "shippingSpeedCategory": 40,
}
_OPTIONAL = {"marketplaceId", "fulfillmentAction", "fulfillmentPolicy", "notificationEmails"}
_ADDRESS = {
    "name",
    "addressLine1",
    "addressLine2",
    "addressLine3",
    "city",
    "districtOrCounty",
    "stateOrRegion",
    "postalCode",
    "countryCode",
    "phone",
}


def _require_object(name: str, value: object, required: set[str], optional: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid_input(f"{name} must be an object.")
    unknown = value.keys() - required - optional
    if unknown:
        raise invalid_input(f"Unknown field in {name}: {min(unknown)}")
    missing = required - value.keys()
    if missing:
        raise invalid_input(f"Missing required field in {name}: {min(missing)}")
    return value


def _require_text(name: str, value: object, max_length: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= max_length:
        raise invalid_input(f"{name} must be a text of 1 to {max_length} characters.")
    return value


def _line(value: object) -> Line:
    item = _require_object(
        "items",
        value,
        {"sellerSku", "sellerFulfillmentOrderItemId", "quantity"},
        {"giftMessage", "displayableComment"},
    )
    quantity = item["quantity"]
    if not isinstance(quantity, int) or isinstance(quantity, bool):
        raise invalid_input("quantity must be a whole number.")
    return Line(
        _require_text("sellerFulfillmentOrderItemId", item["sellerFulfillmentOrderItemId"], 50),
        _require_text("sellerSku", item["sellerSku"], 50),
        quantity,
        _require_text("giftMessage", item.get("giftMessage", "-"), 512) if "giftMessage" in item else "",
        _require_text("displayableComment", item["displayableComment"], 250) if "displayableComment" in item else "",
    )


def _request(call: Call) -> OrderRequest:
    body = _require_object("the request body", call.json_object(), {*_TEXTS, "destinationAddress", "items"}, _OPTIONAL)
    texts = {name: _require_text(name, body[name], max_length) for name, max_length in _TEXTS.items()}
    address = _require_object("destinationAddress", body["destinationAddress"], set(), _ADDRESS)
    if not all(isinstance(value, str) for value in address.values()):
        raise invalid_input("destinationAddress must have texts only.")
    emails = body.get("notificationEmails", [])
    if not isinstance(emails, list) or not all(isinstance(email, str) and len(email) <= 64 for email in emails):
        raise invalid_input("notificationEmails must be a list of at most 64 characters each.")
    if not isinstance(body["items"], list):
        raise invalid_input("items must be a list.")
    marketplace_id = body.get("marketplaceId", call.merchant.marketplace_ids[0])
    call.check_marketplaces([_require_text("marketplaceId", marketplace_id, 40)])
    return OrderRequest(
        order_id=texts["sellerFulfillmentOrderId"],
        marketplace_id=marketplace_id,
        displayable_id=texts["displayableOrderId"],
        displayable_date=parse_timestamp("displayableOrderDate", texts["displayableOrderDate"]),
        comment=texts["displayableOrderComment"],
        speed=texts["shippingSpeedCategory"],
        policy=str(body.get("fulfillmentPolicy", "FillOrKill")),
        action=str(body.get("fulfillmentAction", "Ship")),
        emails=tuple(emails),
        address=address,
        lines=tuple(_line(item) for item in body["items"]),
    )


def create_fulfillment_order(call: Call) -> Answer:
    """POST /fba/outbound/2020-07-01/fulfillmentOrders: 400 for an id that exists already, unless set otherwise."""
    refusals = call.world.order_desk.place(call.merchant, _request(call), call.world.clock.waited())
    if refusals:
        raise invalid_input(" ".join(refusal.text for refusal in refusals))
    return json_answer(200, {})


def _order(call: Call) -> Order:
    # Observed at Amazon: a plus sign in the path is decoded as a space, and ids with spaces get 403.
    order_id = call.incoming.path_params["sellerFulfillmentOrderId"].replace("+", " ")
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
        "displayableOrderDate": _iso_z(request.displayable_date or order.received),
        "displayableOrderComment": request.comment,
        "shippingSpeedCategory": request.speed,
        "destinationAddress": dict(request.address),
        "fulfillmentAction": request.action,
        "fulfillmentPolicy": request.policy,
        "receivedDate": _iso_z(order.received),
        "fulfillmentOrderStatus": desk.shown_status(order),
        "statusUpdatedDate": _iso_z(order.updated),
        "notificationEmails": list(request.emails),
        "featureConstraints": [],
    }
    return answer


def _iso_z(moment: float) -> str:
    return iso(moment).replace("+00:00", "Z")


def _items_json(order: Order) -> list[dict[str, Any]]:
    is_undelivered = order.status in {"Cancelled", "Unfulfillable", "Invalid"}
    items = []
    for line in order.request.lines:
        missing = line.quantity - (
            order.shipped_units(line.item_id) if is_undelivered else order.reserved[line.item_id]
        )
        cancelled = missing if order.status == "Cancelled" else 0
        items.append(
            {
                "sellerSku": line.sku,
                "sellerFulfillmentOrderItemId": line.item_id,
                "quantity": line.quantity,
                "giftMessage": line.gift_message,
                "displayableComment": line.comment,
                "cancelledQuantity": cancelled,
                "unfulfillableQuantity": missing - cancelled,
            }
        )
    return items


def _shipments_json(order: Order) -> list[dict[str, Any]]:
    entries = []
    for shipment in order.plan.shipments if order.plan else []:
        if shipment.shipped_at is None and (
            order.status != "Processing" or order.plan is None or order.plan.never_ships
        ):
            continue
        entry: dict[str, Any] = {
            "amazonShipmentId": shipment.shipment_id,
            "fulfillmentCenterId": shipment.center,
            "fulfillmentShipmentStatus": "PENDING" if shipment.shipped_at is None else "SHIPPED",
            "fulfillmentShipmentItem": [
                {
                    "sellerSku": line.sku,
                    "sellerFulfillmentOrderItemId": line.item_id,
                    "quantity": line.quantity,
                    **({} if shipment.shipped_at is None else {"packageNumber": line.package}),
                }
                for line in shipment.lines
            ],
        }
        if shipment.shipped_at is not None:
            entry["shippingDate"] = _iso_z(shipment.shipped_at)
            entry["fulfillmentShipmentPackage"] = [
                {"packageNumber": number, "carrierCode": carrier, "trackingNumber": tracking}
                for number, (carrier, tracking) in enumerate(shipment.packages, start=1)
            ]
        entries.append(entry)
    return entries


def get_fulfillment_order(call: Call) -> Answer:
    """GET /fba/outbound/2020-07-01/fulfillmentOrders/{sellerFulfillmentOrderId}."""
    order, desk = _order(call), call.world.order_desk
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
        order_ids = pages.read_page_token(call, token)["remaining"]
    else:
        since = now - _DEFAULT_SINCE_SECONDS if since is None else since
        simulated_now = call.world.clock.waited()
        orders = [o for o in desk.of_seller(seller_id) if o.updated >= int(since) and o.listed_from <= simulated_now]
        order_ids = [order.request.order_id for order in sorted(orders, key=lambda order: order.updated)]
    page_ids, remaining = order_ids[: desk.page_size], order_ids[desk.page_size :]
    payload: dict[str, Any] = {
        "fulfillmentOrders": [_order_json(desk, desk.orders[seller_id, order_id]) for order_id in page_ids]
    }
    if remaining:
        payload["nextToken"] = pages.issue_page_token(call, {"remaining": remaining})
    return _answer(call, payload)


def cancel_fulfillment_order(call: Call) -> Answer:
    """PUT /fba/outbound/2020-07-01/fulfillmentOrders/{sellerFulfillmentOrderId}/cancel.

    Possible up to the status Planning; idempotent, unless set otherwise.
    """
    refusal = call.world.order_desk.cancel(call.merchant, _order(call).request.order_id)
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
        "cancelFulfillmentOrder",
        "PUT",
        f"{_BASE}/{{sellerFulfillmentOrderId}}/cancel",
        cancel_fulfillment_order,
        rate=2.0,
        burst=30,
        subject=_order_id,
    ),
)
