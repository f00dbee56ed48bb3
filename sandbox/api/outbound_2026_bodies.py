"""The bodies of Fulfillment Outbound 2026-07-04, checked against Amazon's model and read as an order or a preview."""

from decimal import Decimal
from typing import Any

from sandbox.api.answers import invalid_input
from sandbox.api.calls import Call, parse_timestamp
from sandbox.api.outbound_bodies import DROP_OFF, check_speed
from sandbox.api.shapes import (
    ADDRESS,
    ADDRESS_REQUIRED,
    BODY,
    COUNTRY,
    DECIMAL,
    Shape,
    any_text,
    boolean,
    fields,
    list_of,
    map_of,
    one_of,
    text,
)
from sandbox.marketplaces import MARKETPLACES
from sandbox.merchant.order_request import MAX_LINES, Line, OrderRequest
from sandbox.merchant.previews import Wish

SPEED_OF_TIER = {
    "STANDARD": "Standard",
    "EXPEDITED": "Expedited",
    "PRIORITY": "Priority",
    "SCHEDULED": "ScheduledDelivery",
}
ACTIONS = {"SHIP": "Ship", "HOLD": "Hold"}
POLICIES = {"FILL_OR_KILL": "FillOrKill", "FILL_ALL": "FillAll", "FILL_ALL_AVAILABLE": "FillAllAvailable"}

_MONEY = fields({"currencyCode": text(pattern="[A-Z]{3}", what="a currency of three letters"), "amount": DECIMAL})
_LINE: dict[str, Shape] = {
    "product": fields({"productIdentifier": fields({"amazonSku": text(50)})}, {"perUnitDeclaredValue": _MONEY}),
    "amount": fields({"value": DECIMAL}, {"unit": one_of("EACHES")}),
}
_PACKING_SLIP = fields({}, {"templateName": text(), "templateAttributes": map_of(any_text)})
_BOX: dict[str, Shape] = {
    "packagingOption": one_of("UNBRANDED", "ANY"),
    "overbox": one_of("REQUIRED", "NOT_REQUIRED"),
}
_NOTHING = fields({})
_TIERS = fields({}, {"serviceTiers": list_of(one_of(*SPEED_OF_TIER), min_items=1)})
_ORIGIN = fields({"countryCode": COUNTRY})
_ADDRESS = fields(ADDRESS_REQUIRED, {**ADDRESS, "email": any_text})
_CREATE = fields(
    {
        "orderId": text(40),
        "lineItems": list_of(
            fields(
                {"lineItemId": text(50), **_LINE},
                {
                    "fulfillmentConfiguration": fields(
                        {}, {"services": fields({}, {"packaging": fields({}, {"packingSlip": _PACKING_SLIP})})}
                    )
                },
            ),
            MAX_LINES,
            min_items=1,
        ),
        "destination": fields(
            {"deliveryAddress": _ADDRESS},
            {
                "deliveryNotes": text(),
                "dropOffLocation": fields({}, {"type": one_of(*DROP_OFF, "LOCKER"), "attributes": map_of(any_text)}),
            },
        ),
    },
    {
        "channel": text(40),
        "origin": _ORIGIN,
        "fulfillmentConfiguration": fields(
            {},
            {
                "serviceLevel": _TIERS,
                "action": one_of(*ACTIONS),
                "policy": one_of(*POLICIES),
                "services": fields(
                    {},
                    {
                        "packaging": fields({}, {**_BOX, "packingSlip": _PACKING_SLIP}),
                        "delivery": _NOTHING,
                        "additional": _NOTHING,
                    },
                ),
            },
        ),
    },
)
_UPDATE = fields({}, {"fulfillmentConfiguration": fields({}, {"action": one_of(*ACTIONS)})})
_PREVIEW = fields(
    {
        "lineItems": list_of(fields(_LINE), MAX_LINES, min_items=1),
        "destination": fields({"deliveryAddress": _ADDRESS}),
    },
    {
        "channel": text(40),
        "origin": _ORIGIN,
        "fulfillmentConfiguration": fields(
            {},
            {
                "serviceLevel": _TIERS,
                "services": fields({}, {"packaging": fields({}, _BOX), "additional": _NOTHING}),
            },
        ),
        "excludeEstimatedFees": boolean,
        "includePaymentOnDelivery": boolean,
    },
)


def _marketplace(call: Call, body: dict[str, Any]) -> str:
    """Return the seller's marketplace in the country of origin, or its first; 400 if it does not sell there."""
    if "origin" not in body:
        return call.merchant.marketplace_ids[0]
    country = body["origin"]["countryCode"]
    found = [one for one in call.merchant.marketplace_ids if MARKETPLACES[one].country == country]
    if not found:
        raise invalid_input(f"Orders cannot ship from {country}.")
    return found[0]


def _units(name: str, amount: dict[str, str]) -> int:
    value = Decimal(amount["value"])
    if value != int(value):
        raise invalid_input(f"{name} must be a whole number of units.")
    return int(value)


def _sku(item: dict[str, Any]) -> str:
    return str(item["product"]["productIdentifier"]["amazonSku"])


def _features(packaging: dict[str, Any]) -> dict[str, str]:
    """Return the features that the packaging stands for, under their names in 2020-07-01."""
    features = {}
    if packaging.get("packagingOption") == "UNBRANDED":
        features["BLANK_BOX"] = "Required"
    if packaging.get("overbox") == "REQUIRED":
        features["OVERBOX"] = "Required"
    if "packingSlip" in packaging:
        features["PACKING_SLIP"] = "Required"
    return features


def read_create(call: Call) -> OrderRequest:
    """Return the order that createOrder asks for; 400 where the body is not as Amazon's model has it."""
    body = call.json_object()
    _CREATE(BODY, body)
    marketplace_id = _marketplace(call, body)
    configuration = body.get("fulfillmentConfiguration", {})
    speed = SPEED_OF_TIER[configuration.get("serviceLevel", {}).get("serviceTiers", ["STANDARD"])[0]]
    check_speed(speed, marketplace_id)
    packaging = configuration.get("services", {}).get("packaging", {})
    slip = packaging.get("packingSlip", {}).get("templateAttributes", {})
    return OrderRequest(
        order_id=body["orderId"],
        marketplace_id=marketplace_id,
        displayable_id=slip.get("orderId", body["orderId"]),
        displayable_date=parse_timestamp("orderTime", slip["orderTime"]) if "orderTime" in slip else None,
        comment=slip.get("orderText", ""),
        speed=speed,
        policy=POLICIES[configuration.get("policy", "FILL_OR_KILL")],
        action=ACTIONS[configuration.get("action", "SHIP")],
        address=body["destination"]["deliveryAddress"],
        lines=tuple(_line(item) for item in body["lineItems"]),
        features=_features(packaging),
        channel=body.get("channel", ""),
    )


def _line(item: dict[str, Any]) -> Line:
    services = item.get("fulfillmentConfiguration", {}).get("services", {})
    slip = services.get("packaging", {}).get("packingSlip", {}).get("templateAttributes", {})
    units = _units("amount.value", item["amount"])
    return Line(item["lineItemId"], _sku(item), units, slip.get("giftMessage", ""), slip.get("lineItemText", ""))


def read_update(call: Call) -> str | None:
    """Return the action (Ship or Hold) that updateOrder sets, or None."""
    body = call.json_object()
    _UPDATE(BODY, body)
    action = body.get("fulfillmentConfiguration", {}).get("action")
    return None if action is None else ACTIONS[action]


def read_preview(call: Call) -> tuple[Wish, list[str], bool]:
    """Return the order that getOrderPreview asks about, its speeds, and whether its fees are asked for."""
    body = call.json_object()
    _PREVIEW(BODY, body)
    configuration = body.get("fulfillmentConfiguration", {})
    tiers = configuration.get("serviceLevel", {}).get("serviceTiers", ["STANDARD", "EXPEDITED", "PRIORITY"])
    wish = Wish(
        _marketplace(call, body),
        body["destination"]["deliveryAddress"],
        tuple(
            Line(str(number), _sku(item), _units("amount.value", item["amount"]))
            for number, item in enumerate(body["lineItems"], start=1)
        ),
        _features(configuration.get("services", {}).get("packaging", {})),
    )
    return wish, [SPEED_OF_TIER[tier] for tier in tiers], not body.get("excludeEstimatedFees", False)
