"""Orders and previews as Fulfillment Outbound 2026-07-04 writes them."""

from typing import Any

from sandbox.api.outbound import photo_url
from sandbox.api.outbound_2026_bodies import ACTIONS, POLICIES, SPEED_OF_TIER
from sandbox.api.tracking import carrier_url, is_signed_for, tracking_url
from sandbox.clock import iso_z
from sandbox.marketplaces import MARKETPLACES
from sandbox.merchant.features import required
from sandbox.merchant.order import Order
from sandbox.merchant.orders import OrderDesk
from sandbox.merchant.parcels import Parcel
from sandbox.merchant.previews import Preview, Wish
from sandbox.merchant.shipping import Shipment

_STATUSES = {
    "New": "PROCESSING",
    "Received": "PROCESSING",
    "Planning": "PROCESSING",
    "Processing": "PROCESSING",
    "Complete": "COMPLETE",
    "CompletePartialled": "COMPLETE_PARTIAL",
    "Cancelled": "CANCELLED",
    "Unfulfillable": "UNFULFILLABLE",
    "Invalid": "INVALID",
}
_TIERS = {speed: tier for tier, speed in SPEED_OF_TIER.items()}
_ACTIONS = {action: name for name, action in ACTIONS.items()}
_POLICIES = {policy: name for name, policy in POLICIES.items()}


def order_json(desk: OrderDesk, order: Order, *, shipments: bool) -> dict[str, Any]:
    """Return an order, with its shipments if `shipments`."""
    request = order.request
    scripted = desk.shown_statuses.get((order.seller_id, request.order_id))
    answer: dict[str, Any] = {
        "orderId": request.order_id,
        "receiveTime": iso_z(order.received),
        "status": _STATUSES[order.status] if scripted is None else _STATUSES.get(scripted, scripted),
        "statusUpdateTime": iso_z(order.updated),
        "fulfillmentConfiguration": _configuration(order),
        "origin": {"countryCode": MARKETPLACES[request.marketplace_id].country},
        "destination": {"deliveryAddress": dict(request.address)},
        "lineItems": [_line_json(order, number) for number in range(len(request.lines))],
    }
    if request.channel:
        answer["channel"] = request.channel
    if shipments:
        answer["shipments"] = [_shipment_json(order, shipment) for shipment in order.visible_shipments()]
    return answer


def _configuration(order: Order) -> dict[str, Any]:
    request = order.request
    wishes = required(request.features)
    slip = {"orderId": request.displayable_id, "orderText": request.comment}
    if request.displayable_date is not None:
        slip["orderTime"] = iso_z(request.displayable_date)
    return {
        "serviceLevel": {"serviceTiers": [_TIERS.get(request.speed, request.speed)]},
        "action": _ACTIONS[request.action],
        "policy": _POLICIES[request.policy],
        "services": {
            "packaging": {
                "packagingOption": "UNBRANDED" if "BLANK_BOX" in wishes else "ANY",
                "overbox": "REQUIRED" if "OVERBOX" in wishes else "NOT_REQUIRED",
                "packingSlip": {"templateName": "default", "templateAttributes": slip},
            },
            "delivery": {},
            "additional": {},
        },
    }


def _amount(units: int) -> dict[str, str]:
    return {"unit": "EACHES", "value": f"{units}.0"}


def _line_json(order: Order, number: int) -> dict[str, Any]:
    line = order.request.lines[number]
    cancelled, unfulfillable = order.lost_units(line)
    slip = {"giftMessage": line.gift_message, "lineItemText": line.comment}
    return {
        "lineItemId": line.item_id,
        "product": {"productIdentifier": {"amazonSku": line.sku}},
        "amount": _amount(line.quantity),
        "cancelledAmount": _amount(cancelled),
        "unfulfillableAmount": _amount(unfulfillable),
        "fulfillmentConfiguration": {
            "services": {"packaging": {"packingSlip": {"templateName": "default", "templateAttributes": slip}}}
        },
    }


def _shipment_json(order: Order, shipment: Shipment) -> dict[str, Any]:
    arrivals = [_arrival(parcel) for parcel in shipment.packages]
    entry: dict[str, Any] = {
        "amazonShipmentId": shipment.shipment_id,
        "amazonFacility": {"facilityId": shipment.center},
        "status": "PROCESSING" if shipment.shipped_at is None else "SHIPPED",
        "items": [
            {
                "shipmentItemId": line.shipment_item_id,
                "productIdentifier": {"amazonSku": line.sku},
                "lineItemId": line.item_id,
                "amount": _amount(line.quantity),
                "packageId": shipment.packages[line.package - 1].package_id,
            }
            for line in shipment.lines
        ],
        "packages": [
            _package_json(order, shipment, number, arrival) for number, arrival in enumerate(arrivals, start=1)
        ],
        "serviceLevel": {"serviceTier": _TIERS.get(order.request.speed, order.request.speed)},
    }
    if shipment.shipped_at is not None:
        entry["shipTime"] = iso_z(shipment.shipped_at)
        entry["deliveryTime"] = iso_z(max(arrival or 0.0 for arrival in arrivals))
    return entry


def _arrival(parcel: Parcel) -> float | None:
    return parcel.promised if parcel.delivered is None else parcel.delivered


def _package_json(order: Order, shipment: Shipment, number: int, arrival: float | None) -> dict[str, Any]:
    parcel = shipment.packages[number - 1]
    entry: dict[str, Any] = {
        "packageId": parcel.package_id,
        "status": parcel.status,
        "shipmentItemIds": [line.shipment_item_id for line in shipment.lines if line.package == number],
    }
    if arrival is not None:
        entry["deliveryTime"] = iso_z(arrival)
        entry["tracking"] = _tracking_json(order, parcel)
    return entry


def _tracking_json(order: Order, parcel: Parcel) -> dict[str, Any]:
    carrier = {"carrierCode": parcel.carrier}
    if parcel.tracking_number:
        carrier |= {"trackingNumber": parcel.tracking_number, "trackingUrl": carrier_url(parcel)}
    tracking: dict[str, Any] = {"carrier": carrier}
    if parcel.amazon_number:
        tracking["amazon"] = {"trackingNumber": parcel.amazon_number, "trackingUrl": tracking_url(parcel)}
    if parcel.delivered is not None:
        tracking["dropOffLocation"] = {"type": "FRONT_DOOR"}
        tracking["proofOfDelivery"] = {"deliveryPhotoUrl": photo_url(parcel)}
        if is_signed_for(order):
            tracking["proofOfDelivery"]["receivedBy"] = order.request.address.get("name", "")
    return tracking


def preview_json(wish: Wish, previews: list[Preview], fees: str) -> dict[str, Any]:
    """Return the answer of getOrderPreview; `fees` is given, null or missing."""
    possible = [one for one in previews if one.is_fulfillable]
    planned = possible[0].shipments if possible else ()
    return {
        "plannedShipments": [
            {
                "estimatedShippingWeight": {"unit": "POUNDS", "value": str(sum(line.quantity for line in part.lines))},
                "items": [
                    {"productIdentifier": {"amazonSku": line.sku}, "amount": _amount(line.quantity)}
                    for line in part.lines
                ],
                "offers": [_offer_json(wish, one, number, fees) for one in possible],
            }
            for number, part in enumerate(planned)
        ],
        "constraints": [
            {"message": message, "type": "ValidationError", "code": code, "details": details}
            for one in previews
            for message, code, details in _constraints(one)
        ],
    }


def _constraints(one: Preview) -> list[tuple[str, str, list[dict[str, str]]]]:
    tier = {"type": "serviceTier", "value": _TIERS[one.speed]}
    of_order = [(f"{tier['value']} cannot be had for this order.", reason, [tier]) for reason in one.reasons]
    of_lines = [
        (f"{units} units of {line.sku} cannot be had.", reason, [tier, {"type": "amazonSku", "value": line.sku}])
        for line, units, reason in one.missing
    ]
    return of_order + of_lines


def _offer_json(wish: Wish, one: Preview, number: int, fees: str) -> dict[str, Any]:
    def interval(times: tuple[float, float]) -> dict[str, str]:
        return {"startTime": iso_z(times[0]), "endTime": iso_z(times[1])}

    part = one.shipments[number]
    currency = MARKETPLACES[wish.marketplace_id].currency
    offer: dict[str, Any] = {
        "fulfillmentConfiguration": {
            "serviceLevel": {
                "serviceTier": _TIERS[one.speed],
                "deliveryInterval": interval(one.arrives),
                "shipInterval": interval(one.ships),
            },
            "services": {
                "packaging": {"packagingOption": "UNBRANDED" if "BLANK_BOX" in required(wish.features) else "ANY"}
            },
        }
    }
    if fees == "null":
        offer["estimatedPrice"] = None
    elif fees == "given":
        offer["estimatedPrice"] = {
            "rollupPrices": [
                {"type": kind.replace("FBA", "MCF", 1), "value": {"currencyCode": currency, "amount": amount}}
                for kind, amount in part.fees.items()
            ],
            "totalPrice": {"currencyCode": currency, "amount": part.total},
        }
    return offer
