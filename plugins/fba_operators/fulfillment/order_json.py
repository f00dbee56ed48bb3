"""A request as Amazon's Fulfillment Outbound API 2020-07-01 takes it: as an order, and as a question for a preview."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from fba_operators.fulfillment.feed_xml import DEFAULT_COMMENT
from fba_operators.fulfillment.request import FulfillmentRequest, clean, iso_country
from fba_operators.settings.models import Fulfillment


def order_json(
    request: FulfillmentRequest,
    settings: Fulfillment,
    features: Sequence[str],
    *,
    marketplace_id: str,
    held: bool,
) -> dict[str, Any]:
    """Write a valid request as a CreateFulfillmentOrderRequest.

    :param request: with the speed it is sent with
    :param features: Amazon's names of its wishes; Amazon refuses the order if it cannot keep them
    :param held: Amazon reserves the stock and ships nothing until the order is released
    """
    email = clean(request.ship_to_email)
    return {
        "marketplaceId": marketplace_id,
        "sellerFulfillmentOrderId": request.fr_number,
        "displayableOrderId": clean(request.displayable_order_number) or request.fr_number,
        "displayableOrderDate": request.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "displayableOrderComment": clean(request.order_comment) or DEFAULT_COMMENT,
        "shippingSpeedCategory": request.speed,
        "fulfillmentAction": "Hold" if held else "Ship",
        "fulfillmentPolicy": settings.fulfillment_policy,
        **({"notificationEmails": [email]} if settings.notify_customer and email else {}),
        "destinationAddress": _address(request),
        **_constraints(features),
        "items": [
            {
                "sellerSku": item.sku,
                "sellerFulfillmentOrderItemId": str(item.line),
                "quantity": item.quantity,
                **({"giftMessage": gift} if (gift := clean(item.gift_message)) else {}),
            }
            for item in request.items
        ],
    }


def preview_json(
    request: FulfillmentRequest, features: Sequence[str], speeds: Sequence[str], *, marketplace_id: str
) -> dict[str, Any]:
    """Write a valid request as a GetFulfillmentPreviewRequest.

    :param features: Amazon's names of its wishes
    :param speeds: those asked for
    """
    return {
        "marketplaceId": marketplace_id,
        "address": _address(request),
        "items": [
            {"sellerSku": item.sku, "sellerFulfillmentOrderItemId": str(item.line), "quantity": item.quantity}
            for item in request.items
        ],
        "shippingSpeedCategories": list(speeds),
        **_constraints(features),
    }


def digest(order: dict[str, Any]) -> bytes:
    """SHA-256 of an order."""
    return hashlib.sha256(json.dumps(order, sort_keys=True).encode()).digest()


def _address(request: FulfillmentRequest) -> dict[str, str]:
    country = iso_country(request.ship_to_country) or ""
    state = clean(request.ship_to_state)
    lines = {
        "name": clean(request.ship_to_name),
        "addressLine1": clean(request.ship_to_address_1),
        "addressLine2": clean(request.ship_to_address_2),
        "addressLine3": clean(request.ship_to_address_3),
        "city": clean(request.ship_to_city),
        "stateOrRegion": state.upper() if country in ("US", "CA") else state,
        "postalCode": clean(request.ship_to_postal_code),
        "countryCode": country,
        "phone": clean(request.ship_to_phone),
    }
    return {name: text for name, text in lines.items() if text}


def _constraints(features: Sequence[str]) -> dict[str, Any]:
    if not features:
        return {}
    return {"featureConstraints": [{"featureName": name, "featureFulfillmentPolicy": "Required"} for name in features]}
