"""FBA Inventory API v1: the stock of the SKUs that Amazon fulfills."""

from typing import Any

from sandbox.api import pages
from sandbox.api.answers import Answer, invalid_input, json_answer
from sandbox.api.calls import Call, Operation
from sandbox.clock import iso_z
from sandbox.merchant.merchant import Catalogue, Item
from sandbox.world.grants import INVENTORY_PAGE_TOKEN_SECONDS

MAX_START_AGE_SECONDS = 18 * 30.4375 * 86400


def _summary(item: Item, fulfillable: int, details: bool) -> dict[str, Any]:
    unsellable = sum(quantity for condition, quantity in item.afn if condition == "UNSELLABLE")
    units = {"pendingCustomerOrderQuantity": 1, **item.elsewhere}
    reserved = {
        name: units.get(name, 0)
        for name in ("pendingCustomerOrderQuantity", "pendingTransshipmentQuantity", "fcProcessingQuantity")
    }
    inbound = {
        name: units.get(name, 0)
        for name in ("inboundWorkingQuantity", "inboundShippedQuantity", "inboundReceivingQuantity")
    }
    researching = units.get("totalResearchingQuantity", 0)
    summary: dict[str, Any] = {
        "asin": item.asin,
        "fnSku": item.fnsku,
        "sellerSku": item.sku,
        "condition": "NewItem",
        "lastUpdatedTime": iso_z(item.changed),
        "productName": item.title,
        "totalQuantity": fulfillable + unsellable + sum(reserved.values()) + sum(inbound.values()) + researching,
        "stores": [],
    }
    if details:
        summary["inventoryDetails"] = {
            "fulfillableQuantity": fulfillable,
            **inbound,
            "reservedQuantity": {"totalReservedQuantity": sum(reserved.values()), **reserved},
            "researchingQuantity": {"totalResearchingQuantity": researching, "researchingQuantityBreakdown": []},
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


def _matching_items(catalogue: Catalogue, requested_skus: list[str] | None) -> list[Item]:
    if requested_skus is None:
        return list(catalogue.items.values())
    return [catalogue.items[sku] for sku in dict.fromkeys(requested_skus) if sku in catalogue.items]


def get_inventory_summaries(call: Call) -> Answer:
    """GET /fba/inventory/v1/summaries.

    sellerSkus is split at every comma, so a SKU that contains a comma must be sent as sellerSku. startDateTime makes
    the SKUs ignored. All parameters must be repeated with each nextToken.
    """
    if call.query_text("granularityType", required=True) != "Marketplace":
        raise invalid_input("granularityType must be Marketplace.")
    granularity_id = call.query_text("granularityId", required=True)
    marketplace_ids = call.query_list("marketplaceIds", max_items=1, required=True) or []
    call.check_marketplaces(marketplace_ids)
    if granularity_id != marketplace_ids[0]:
        raise invalid_input("granularityId must be the marketplace of marketplaceIds.")
    details = call.query_boolean("details")
    since = call.query_timestamp("startDateTime")
    now = call.world.clock.wall()
    if since is not None and not now - MAX_START_AGE_SECONDS <= since <= now:
        raise invalid_input("startDateTime must lie within the last 18 months.")
    skus = call.query_list("sellerSkus", max_items=50)
    single_sku = call.query_text("sellerSku")
    if skus is not None and single_sku is not None:
        raise invalid_input("sellerSkus and sellerSku exclude each other.")
    requested_skus = [single_sku] if single_sku is not None else skus
    if since is not None:
        requested_skus = None
    catalogue = call.merchant.catalogue(marketplace_ids[0])
    if requested_skus is not None and catalogue.refused_skus.intersection(requested_skus):
        raise invalid_input("One or more of the seller SKUs are not valid.")
    parameters = (marketplace_ids[0], since, requested_skus, details)
    token = call.query_text("nextToken")
    if token is None:
        skus_found = [
            item.sku
            for item in _matching_items(catalogue, requested_skus)
            if item.api_stock is not None and (since is None or item.changed >= since)
        ]
    else:
        state = pages.read_page_token(call, token)
        if state["parameters"] != parameters:
            raise invalid_input("The parameters differ from those the nextToken was given out for.")
        skus_found = state["remaining"]
    size = call.world.inventory_page_size
    page_skus, remaining = skus_found[:size], skus_found[size:]
    items = [catalogue.items[sku] for sku in page_skus if sku in catalogue.items]
    answer: dict[str, Any] = {
        "payload": {
            "granularity": {"granularityType": "Marketplace", "granularityId": granularity_id},
            "inventorySummaries": [
                _summary(item, item.api_stock, details) for item in items if item.api_stock is not None
            ],
        }
    }
    if remaining:
        answer["pagination"] = {
            "nextToken": pages.issue_page_token(
                call, {"parameters": parameters, "remaining": remaining}, INVENTORY_PAGE_TOKEN_SECONDS
            )
        }
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
