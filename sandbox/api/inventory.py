"""FBA Inventory API v1."""

from typing import Any

from sandbox.api import pages
from sandbox.api.answers import Answer, invalid_input, json_answer
from sandbox.api.calls import Call, Operation
from sandbox.clock import iso
from sandbox.merchant.merchant import Catalogue, Item
from sandbox.world.grants import PAGE_TOKEN_SECONDS

OLDEST_START = 18 * 30.4375 * 86400


def _summary(item: Item, fulfillable: int, details: bool) -> dict[str, Any]:
    unsellable = sum(quantity for condition, quantity in item.afn if condition == "UNSELLABLE")
    summary: dict[str, Any] = {
        "asin": item.asin,
        "fnSku": item.fnsku,
        "sellerSku": item.sku,
        "condition": "NewItem",
        "lastUpdatedTime": iso(item.changed).replace("+00:00", "Z"),
        "productName": item.title,
        "totalQuantity": fulfillable + unsellable + 1,
        "stores": [],
    }
    if details:
        summary["inventoryDetails"] = {
            "fulfillableQuantity": fulfillable,
            "inboundWorkingQuantity": 0,
            "inboundShippedQuantity": 0,
            "inboundReceivingQuantity": 0,
            "reservedQuantity": {
                "totalReservedQuantity": 1,
                "pendingCustomerOrderQuantity": 1,
                "pendingTransshipmentQuantity": 0,
                "fcProcessingQuantity": 0,
            },
            "researchingQuantity": {"totalResearchingQuantity": 0, "researchingQuantityBreakdown": []},
            "unfulfillableQuantity": {
                "totalUnfulfillableQuantity": unsellable,
                "customerDamagedQuantity": 0,
                "warehouseDamagedQuantity": unsellable,
                "distributorDamagedQuantity": 0,
                "carrierDamagedQuantity": 0,
                "defectiveQuantity": 0,
                "expiredQuantity": 0,
            },
        }
    return summary


def _candidates(catalogue: Catalogue, wanted: list[str] | None) -> list[Item]:
    if wanted is None:
        return list(catalogue.items.values())
    return [catalogue.items[sku] for sku in dict.fromkeys(wanted) if sku in catalogue.items]


def get_inventory_summaries(call: Call) -> Answer:
    """GET /fba/inventory/v1/summaries.

    sellerSkus is split at every comma, so a SKU with one in it must be asked with sellerSku. With startDateTime the
    SKUs are ignored, and it must come again with each nextToken.
    """
    if call.text("granularityType", required=True) != "Marketplace":
        raise invalid_input("granularityType must be Marketplace.")
    granularity_id = call.text("granularityId", required=True)
    marketplace_ids = call.texts("marketplaceIds", most=1, required=True) or []
    call.check_marketplaces(marketplace_ids)
    if granularity_id != marketplace_ids[0]:
        raise invalid_input("granularityId must be the marketplace of marketplaceIds.")
    details = call.boolean("details")
    since = call.moment("startDateTime")
    now = call.world.clock.wall()
    if since is not None and not now - OLDEST_START <= since <= now:
        raise invalid_input("startDateTime must lie within the last 18 months.")
    skus = call.texts("sellerSkus", most=50)
    single = call.text("sellerSku")
    if skus is not None and single is not None:
        raise invalid_input("sellerSkus and sellerSku exclude each other.")
    wanted = [single] if single is not None else skus
    if since is not None:
        wanted = None
    catalogue = call.merchant.catalogue(marketplace_ids[0])
    if wanted is not None and catalogue.refused.intersection(wanted):
        raise invalid_input("One or more of the seller SKUs are not valid.")
    asked = (marketplace_ids[0], since, wanted, details)
    token = call.text("nextToken")
    if token is None:
        found = [
            item.sku
            for item in _candidates(catalogue, wanted)
            if item.api_stock is not None and (since is None or item.changed >= since)
        ]
    else:
        state = pages.take_in(call, token)
        if state["asked"] != asked:
            raise invalid_input("The parameters differ from those the nextToken was given out for.")
        found = state["left"]
    size = call.world.inventory_page_size
    page, left = found[:size], found[size:]
    items = [catalogue.items[sku] for sku in page if sku in catalogue.items]
    answer: dict[str, Any] = {
        "payload": {
            "granularity": {"granularityType": "Marketplace", "granularityId": granularity_id},
            "inventorySummaries": [
                _summary(item, item.api_stock, details) for item in items if item.api_stock is not None
            ],
        }
    }
    if left:
        answer["pagination"] = {"nextToken": pages.give_out(call, {"asked": asked, "left": left}, PAGE_TOKEN_SECONDS)}
    return json_answer(200, answer)


OPERATIONS = (
    Operation(
        "getInventorySummaries",
        "GET",
        "/fba/inventory/v1/summaries",
        get_inventory_summaries,
        query=frozenset(
            {
                "details",
                "granularityType",
                "granularityId",
                "startDateTime",
                "sellerSkus",
                "sellerSku",
                "nextToken",
                "marketplaceIds",
            }
        ),
        rate=2.0,
        burst=2,
    ),
)
