"""Fulfillment Outbound API 2020-07-01: where one package is."""

from typing import Any
from urllib.parse import parse_qsl

from sandbox.api.answers import Answer, invalid_input, json_answer, not_found
from sandbox.api.calls import Call, Operation
from sandbox.clock import iso_z
from sandbox.merchant.features import required
from sandbox.merchant.order import Order
from sandbox.merchant.parcels import HOUR, STATES, Parcel

_MAX_NUMBER = 2**31 - 1
_PHONES = {"UPS": "1 800 742 5877", "FEDEX": "1 800 463 3339"}


def tracking_url(parcel: Parcel) -> str:
    """Return the address of the page on which a customer follows a parcel."""
    return f"https://www.swiship.com/track?id={parcel.amazon_number}"


def carrier_url(parcel: Parcel) -> str:
    """Return the address of the carrier's page about a parcel."""
    return f"https://{parcel.carrier.lower().replace('_', '-')}.example.com/track/{parcel.tracking_number}"


def is_signed_for(order: Order) -> bool:
    """Whether the recipient signs for the parcels of an order."""
    return "SIGNATURE_CONFIRMATION" in required(order.request.features)


def get_package_tracking_details(call: Call) -> Answer:
    """GET /fba/outbound/2020-07-01/tracking: 404 for a package that has not left or is another seller's."""
    text = call.query_text("packageNumber", required=True) or ""
    if not text.isascii() or not text.isdigit() or int(text) > _MAX_NUMBER:
        raise invalid_input("packageNumber must be a whole number.")
    found = call.world.order_desk.parcels.find(call.merchant.seller_id, int(text))
    if found is None:
        raise not_found(f"The package {text} does not exist.")
    return json_answer(200, {"payload": _details(*found)})


def _details(order: Order, parcel: Parcel) -> dict[str, Any]:
    address = order.request.address
    place = {
        "city": address.get("city", ""),
        "state": address.get("stateOrRegion", ""),
        "country": address.get("countryCode", ""),
    }
    promised = parcel.promised or 0.0
    details: dict[str, Any] = {
        "packageNumber": parcel.number,
        "trackingNumber": parcel.tracking_number,
        "customerTrackingLink": tracking_url(parcel),
        "carrierCode": parcel.carrier,
        "carrierURL": carrier_url(parcel),
        "shipDate": iso_z(parcel.left or 0.0),
        "estimatedArrivalDate": iso_z(promised),
        "shipToAddress": place,
        "currentStatus": parcel.state,
        "currentStatusDescription": parcel.state.replace("_", " ").capitalize(),
        "trackingEvents": [
            {
                "eventDate": iso_z(moment),
                "eventAddress": place,
                "eventCode": event[0],
                "eventDescription": f"{event[1]}.",
            }
            for state, moment in reversed(parcel.history)
            if (event := STATES.get(state)) is not None
        ],
    }
    if parcel.carrier in _PHONES:
        details["carrierPhoneNumber"] = _PHONES[parcel.carrier]
    if parcel.status == "OUT_FOR_DELIVERY":
        details["deliveryWindow"] = {"earliest": iso_z(promised - 4 * HOUR), "latest": iso_z(promised)}
    if parcel.status == "DELIVERED":
        details["additionalLocationInfo"] = "FRONT_DOOR"
        if is_signed_for(order):
            details["signedForBy"] = address.get("name", "")
    return details


def _package_number(call: Call) -> str | None:
    return dict(parse_qsl(call.incoming.query)).get("packageNumber")


OPERATIONS = (
    Operation(
        "getPackageTrackingDetails",
        "GET",
        "/fba/outbound/2020-07-01/tracking",
        get_package_tracking_details,
        query=frozenset({"packageNumber"}),
        rate=2.0,
        burst=30,
        subject=_package_number,
    ),
)
