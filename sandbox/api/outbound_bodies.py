"""The bodies of Fulfillment Outbound 2020-07-01, checked against Amazon's model and read into an `OrderRequest`."""

from dataclasses import replace
from typing import Any

from sandbox.api.answers import invalid_input
from sandbox.api.calls import Call, parse_timestamp
from sandbox.api.shapes import (
    ADDRESS,
    ADDRESS_REQUIRED,
    BODY,
    COUNTRY,
    DECIMAL,
    Shape,
    any_text,
    fields,
    list_of,
    map_of,
    moment,
    one_of,
    text,
    whole_number,
)
from sandbox.merchant.features import FEATURE_POLICIES, FEATURES
from sandbox.merchant.order_request import ACTIONS, MAX_LINES, POLICIES, Line, OrderRequest
from sandbox.merchant.tariffs import SPEEDS, offered_speeds

MONEY = fields({"currencyCode": text(pattern="[A-Z]{3}", what="a currency of three letters"), "value": DECIMAL})
FEATURE_CONSTRAINTS = list_of(
    fields({"featureName": one_of(*FEATURES)}, {"featureFulfillmentPolicy": one_of(*FEATURE_POLICIES)})
)
DROP_OFF = (
    "FRONT_DOOR",
    "DELIVERY_BOX",
    "GAS_METER_BOX",
    "BICYCLE_BASKET",
    "GARAGE",
    "RECEPTIONIST",
    "FALLBACK_NEIGHBOR_DELIVERY",
    "DO_NOT_LEAVE_UNATTENDED",
)
_HEADER: dict[str, Shape] = {
    "displayableOrderId": text(40),
    "displayableOrderDate": moment,
    "displayableOrderComment": text(750),
    "shippingSpeedCategory": one_of(*SPEEDS),
    "destinationAddress": fields(ADDRESS_REQUIRED, ADDRESS),
}
_CHOICES: dict[str, Shape] = {
    "marketplaceId": text(),
    "fulfillmentAction": one_of(*ACTIONS),
    "fulfillmentPolicy": one_of(*POLICIES),
    "shipFromCountryCode": COUNTRY,
    "notificationEmails": list_of(text(64)),
    "featureConstraints": FEATURE_CONSTRAINTS,
}
_ITEM: dict[str, Shape] = {"sellerFulfillmentOrderItemId": text(50), "quantity": whole_number}
_ITEM_TEXTS: dict[str, Shape] = {
    "giftMessage": text(512),
    "displayableComment": text(250),
    "fulfillmentNetworkSku": text(),
    "perUnitDeclaredValue": MONEY,
}
CREATE = fields(
    {
        "sellerFulfillmentOrderId": text(40),
        **_HEADER,
        "items": list_of(fields({**_ITEM, "sellerSku": text(50)}, _ITEM_TEXTS), MAX_LINES, min_items=1),
    },
    {
        **_CHOICES,
        "deliveryPreferences": fields(
            {},
            {
                "deliveryInstructions": text(250),
                "dropOffLocation": fields({"type": one_of(*DROP_OFF)}, {"attributes": map_of(any_text)}),
            },
        ),
    },
)
UPDATE = fields(
    {},
    {
        **_HEADER,
        **_CHOICES,
        "items": list_of(
            fields(_ITEM, {"sellerSku": text(50), "orderItemDisposition": text(), **_ITEM_TEXTS}),
            MAX_LINES,
            min_items=1,
        ),
    },
)


def read_marketplace(call: Call, body: dict[str, Any]) -> str:
    """Return the marketplace of a body, or the seller's first; 400 or 403 if the seller has none of this id."""
    marketplace_id = str(body.get("marketplaceId", call.merchant.marketplace_ids[0]))
    call.check_marketplaces([marketplace_id])
    return marketplace_id


def read_features(entries: list[dict[str, str]]) -> dict[str, str]:
    """Return {name: Required or NotRequired}; 400 if a feature is named twice. Without a policy it is Required."""
    features = {entry["featureName"]: entry.get("featureFulfillmentPolicy", "Required") for entry in entries}
    if len(features) != len(entries):
        raise invalid_input("featureConstraints names a feature twice.")
    return features


def check_speed(speed: str, marketplace_id: str) -> None:
    """Raise 400 for a speed that the marketplace does not have."""
    if speed not in offered_speeds(marketplace_id):
        raise invalid_input(f"The shipping speed category {speed} is not available in this marketplace.")


def read_create(call: Call) -> OrderRequest:
    """Return the order that createFulfillmentOrder asks for; 400 where the body is not as Amazon's model has it."""
    body = call.json_object()
    CREATE(BODY, body)
    marketplace_id = read_marketplace(call, body)
    check_speed(body["shippingSpeedCategory"], marketplace_id)
    return OrderRequest(
        order_id=body["sellerFulfillmentOrderId"],
        marketplace_id=marketplace_id,
        displayable_id=body["displayableOrderId"],
        displayable_date=parse_timestamp("displayableOrderDate", body["displayableOrderDate"]),
        comment=body["displayableOrderComment"],
        speed=body["shippingSpeedCategory"],
        policy=body.get("fulfillmentPolicy", "FillOrKill"),
        action=body.get("fulfillmentAction", "Ship"),
        emails=tuple(body.get("notificationEmails", ())),
        address=body["destinationAddress"],
        lines=tuple(_line(item) for item in body["items"]),
        features=read_features(body.get("featureConstraints", [])),
    )


def _line(item: dict[str, Any]) -> Line:
    return Line(
        item["sellerFulfillmentOrderItemId"],
        item["sellerSku"],
        item["quantity"],
        item.get("giftMessage", ""),
        item.get("displayableComment", ""),
    )


def read_update(call: Call, present: OrderRequest) -> OrderRequest:
    """Return the request of an order as updateFulfillmentOrder changes it; what the body does not name stays."""
    body = call.json_object()
    UPDATE(BODY, body)
    if body.get("marketplaceId", present.marketplace_id) != present.marketplace_id:
        raise invalid_input("The marketplace of a fulfillment order cannot be changed.")
    changed = present
    for name, attribute in (
        ("displayableOrderId", "displayable_id"),
        ("displayableOrderComment", "comment"),
        ("shippingSpeedCategory", "speed"),
        ("fulfillmentPolicy", "policy"),
        ("fulfillmentAction", "action"),
        ("destinationAddress", "address"),
    ):
        if name in body:
            changed = replace(changed, **{attribute: body[name]})
    check_speed(changed.speed, present.marketplace_id)
    if "displayableOrderDate" in body:
        moment_shown = parse_timestamp("displayableOrderDate", body["displayableOrderDate"])
        changed = replace(changed, displayable_date=moment_shown)
    if "notificationEmails" in body:
        changed = replace(changed, emails=tuple(body["notificationEmails"]))
    if "featureConstraints" in body:
        changed = replace(changed, features=read_features(body["featureConstraints"]))
    return replace(changed, lines=_changed_lines(changed.lines, body.get("items", [])))


def _changed_lines(present: tuple[Line, ...], items: list[dict[str, Any]]) -> tuple[Line, ...]:
    lines = {line.item_id: line for line in present}
    for item in items:
        line = lines.get(item["sellerFulfillmentOrderItemId"])
        if line is None or item.get("sellerSku", line.sku) != line.sku:
            raise invalid_input(f"The order has no Item Id: {item['sellerFulfillmentOrderItemId']} of this SellerSKU.")
        lines[line.item_id] = replace(
            line,
            quantity=item["quantity"],
            gift_message=item.get("giftMessage", line.gift_message),
            comment=item.get("displayableComment", line.comment),
        )
    return tuple(lines.values())
