"""Fulfillment Outbound API 2020-07-01: previews, and the features that orders can have."""

import json
from typing import Any

from sandbox.api import pages
from sandbox.api.answers import Answer, invalid_input, json_answer
from sandbox.api.calls import Call, Operation
from sandbox.api.outbound_bodies import FEATURE_CONSTRAINTS, MONEY, read_features, read_marketplace
from sandbox.api.shapes import ADDRESS, ADDRESS_REQUIRED, BODY, boolean, fields, list_of, one_of, text, whole_number
from sandbox.clock import iso_z
from sandbox.marketplaces import MARKETPLACES
from sandbox.merchant.features import FEATURES, features_of
from sandbox.merchant.merchant import Catalogue, Item
from sandbox.merchant.order_request import MAX_LINES, Line, line_errors
from sandbox.merchant.orders import sku_refusals
from sandbox.merchant.previews import PlannedShipment, Preview, Wish, preview
from sandbox.merchant.stock import is_fba_item, sellable_units
from sandbox.merchant.tariffs import SPEEDS

_BASE = "/fba/outbound/2020-07-01"
_BODY = fields(
    {
        "address": fields(ADDRESS_REQUIRED, ADDRESS),
        "items": list_of(
            fields(
                {"sellerSku": text(50), "quantity": whole_number, "sellerFulfillmentOrderItemId": text(50)},
                {"perUnitDeclaredValue": MONEY},
            ),
            MAX_LINES,
            min_items=1,
        ),
    },
    {
        "marketplaceId": text(),
        "shippingSpeedCategories": list_of(one_of(*SPEEDS), min_items=1),
        "includeCODFulfillmentPreview": boolean,
        "includeDeliveryWindows": boolean,
        "featureConstraints": FEATURE_CONSTRAINTS,
    },
)


def previews(call: Call, wish: Wish, speeds: list[str]) -> list[Preview]:
    """Return the preview of each speed; 400 for lines that no order could have."""
    desk, catalogue = call.world.order_desk, call.merchant.catalogue(wish.marketplace_id)
    refusals = line_errors(wish.lines) + sku_refusals(catalogue, wish.lines)
    if refusals:
        raise invalid_input(" ".join(refusal.text for refusal in refusals))
    now = call.world.clock.wall()
    return [preview(catalogue, wish, speed, desk.tariffs.get(speed), now) for speed in dict.fromkeys(speeds)]


def get_fulfillment_preview(call: Call) -> Answer:
    """POST /fba/outbound/2020-07-01/fulfillmentOrders/preview: one preview for each speed, by default for the three."""
    body = call.json_object()
    _BODY(BODY, body)
    wish = Wish(
        read_marketplace(call, body),
        body["address"],
        tuple(Line(i["sellerFulfillmentOrderItemId"], i["sellerSku"], i["quantity"]) for i in body["items"]),
        read_features(body.get("featureConstraints", [])),
    )
    speeds = body.get("shippingSpeedCategories", ["Standard", "Expedited", "Priority"])
    entries = [_preview_json(call, wish, one) for one in previews(call, wish, speeds)]
    return json_answer(200, {"payload": {"fulfillmentPreviews": entries}})


def _preview_json(call: Call, wish: Wish, one: Preview) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "shippingSpeedCategory": one.speed,
        "isFulfillable": one.is_fulfillable,
        "isCODCapable": False,
        "fulfillmentPreviewShipments": [_shipment_json(one, shipment) for shipment in one.shipments],
        "unfulfillablePreviewItems": [
            {
                "sellerSku": line.sku,
                "quantity": quantity,
                "sellerFulfillmentOrderItemId": line.item_id,
                "itemUnfulfillableReasons": [reason],
            }
            for line, quantity, reason in one.missing
        ],
        "orderUnfulfillableReasons": list(one.reasons),
        "marketplaceId": wish.marketplace_id,
        "featureConstraints": [
            {"featureName": name, "featureFulfillmentPolicy": policy} for name, policy in wish.features.items()
        ],
    }
    if one.is_fulfillable:
        entry["estimatedShippingWeight"] = _weight(sum(line.quantity for line in wish.lines))
        fees = call.world.order_desk.answers.preview_fees
        if fees != "missing":
            entry["estimatedFees"] = None if fees == "null" else _fees_json(one, wish.marketplace_id)
    return entry


def _fees_json(one: Preview, marketplace_id: str) -> list[dict[str, Any]]:
    currency = MARKETPLACES[marketplace_id].currency
    return [{"name": kind, "amount": {"currencyCode": currency, "value": amount}} for kind, amount in one.fees.items()]


def _shipment_json(one: Preview, shipment: PlannedShipment) -> dict[str, Any]:
    return {
        "earliestShipDate": iso_z(one.ships[0]),
        "latestShipDate": iso_z(one.ships[1]),
        "earliestArrivalDate": iso_z(one.arrives[0]),
        "latestArrivalDate": iso_z(one.arrives[1]),
        "fulfillmentPreviewItems": [
            {
                "sellerSku": line.sku,
                "quantity": line.quantity,
                "sellerFulfillmentOrderItemId": line.item_id,
                "estimatedShippingWeight": _weight(line.quantity),
                "shippingWeightCalculationMethod": "Package",
            }
            for line in shipment.lines
        ],
    }


def _weight(units: int) -> dict[str, str]:
    return {"unit": "POUNDS", "value": str(units)}


# Features


def _marketplace(call: Call) -> str:
    marketplace_id = call.query_text("marketplaceId", required=True) or ""
    call.check_marketplaces([marketplace_id])
    return marketplace_id


def _feature(call: Call, marketplace_id: str) -> str:
    name = call.incoming.path_params["featureName"]
    if name not in features_of(marketplace_id):
        raise invalid_input(f"{name} is not a feature of this marketplace.")
    return name


def get_features(call: Call) -> Answer:
    """GET /fba/outbound/2020-07-01/features: the features of a marketplace, and whether the seller can use them."""
    marketplace_id = _marketplace(call)
    rules = call.merchant.catalogue(marketplace_id).features
    entries = [
        {"featureName": name, "featureDescription": FEATURES[name], "sellerEligible": name not in rules.not_enrolled}
        for name in features_of(marketplace_id)
    ]
    return json_answer(200, {"payload": {"features": entries}})


def get_feature_inventory(call: Call) -> Answer:
    """GET /fba/outbound/2020-07-01/features/inventory/{featureName}: the SKUs that can have a feature, with their units.

    queryStartDate leaves out the SKUs whose stock has not changed since.
    """
    marketplace_id = _marketplace(call)
    name = _feature(call, marketplace_id)
    catalogue = call.merchant.catalogue(marketplace_id)
    since = call.query_timestamp("queryStartDate")
    token = call.query_text("nextToken")
    if token is None:
        skus = [
            item.sku
            for item in catalogue.items.values()
            if (since is None or item.changed >= since) and not _ineligible(catalogue, name, item.sku)
        ]
    else:
        state = pages.read_page_token(call, token)
        if state["of"] != (marketplace_id, name):
            raise invalid_input("The nextToken is of another marketplace or feature.")
        skus = state["remaining"]
    size = call.world.inventory_page_size
    payload: dict[str, Any] = {
        "marketplaceId": marketplace_id,
        "featureName": name,
        "featureSkus": [
            _sku_json(catalogue.items[sku]) | {"overlappingSkus": []} for sku in skus[:size] if sku in catalogue.items
        ],
    }
    if skus[size:]:
        payload["nextToken"] = pages.issue_page_token(call, {"of": (marketplace_id, name), "remaining": skus[size:]})
    return json_answer(200, {"payload": payload})


def get_feature_sku(call: Call) -> Answer:
    """GET /fba/outbound/2020-07-01/features/inventory/{featureName}/{sellerSku}: whether a SKU can have a feature."""
    marketplace_id = _marketplace(call)
    name, sku = _feature(call, marketplace_id), call.incoming.path_params["sellerSku"]
    catalogue = call.merchant.catalogue(marketplace_id)
    reasons = _ineligible(catalogue, name, sku)
    payload = {
        "marketplaceId": marketplace_id,
        "featureName": name,
        "isEligible": not reasons,
        "ineligibleReasons": reasons,
        **({} if reasons else _sku_json(catalogue.items[sku])),
    }
    return json_answer(200, {"payload": payload})


def _ineligible(catalogue: Catalogue, feature: str, sku: str) -> list[str]:
    item = catalogue.items.get(sku)
    return catalogue.features.reasons(feature, sku, is_known=item is not None and is_fba_item(item))


def _sku_json(item: Item) -> dict[str, Any]:
    return {"sellerSku": item.sku, "fnSku": item.fnsku, "asin": item.asin, "skuCount": sellable_units(item)}


def _first_sku(call: Call) -> str | None:
    try:
        sku = json.loads(call.incoming.body)["items"][0]["sellerSku"]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return sku if isinstance(sku, str) else None


OPERATIONS = (
    Operation(
        "getFulfillmentPreview",
        "POST",
        f"{_BASE}/fulfillmentOrders/preview",
        get_fulfillment_preview,
        rate=2.0,
        burst=30,
        subject=_first_sku,
    ),
    Operation(
        "getFeatures",
        "GET",
        f"{_BASE}/features",
        get_features,
        query=frozenset({"marketplaceId"}),
        rate=2.0,
        burst=30,
    ),
    Operation(
        "getFeatureInventory",
        "GET",
        f"{_BASE}/features/inventory/{{featureName}}",
        get_feature_inventory,
        query=frozenset({"marketplaceId", "nextToken", "queryStartDate"}),
        rate=2.0,
        burst=30,
        subject=lambda call: call.incoming.path_params["featureName"],
    ),
    Operation(
        "getFeatureSKU",
        "GET",
        f"{_BASE}/features/inventory/{{featureName}}/{{sellerSku:path}}",
        get_feature_sku,
        query=frozenset({"marketplaceId"}),
        rate=2.0,
        burst=30,
        subject=lambda call: call.incoming.path_params["featureName"],
    ),
)
