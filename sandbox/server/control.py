"""The control API: the HTTP routes under /control by which tests read and change the world's state."""

import inspect
from collections.abc import Callable
from typing import Any

from sandbox import NOT_IMITATED
from sandbox.world import faults
from sandbox.world.world import World

Action = Callable[..., Any]


def actions(world: World) -> dict[tuple[str, str], Action]:
    """Map (method, path) to the function it calls. Its keyword arguments are the JSON body, or the query of a GET."""
    return {
        ("GET", "/control/merchants"): lambda: [world.credentials(seller_id) for seller_id in list(world.merchants)],
        ("POST", "/control/merchants"): world.add_merchant,
        ("POST", "/control/credentials"): world.change_credentials,
        ("POST", "/control/revoke"): world.revoke,
        ("POST", "/control/stock"): world.set_stock,
        ("POST", "/control/items"): world.put_item,
        ("DELETE", "/control/items"): world.remove_items,
        ("POST", "/control/report-shape"): world.shape_report,
        ("POST", "/control/rendering"): world.set_rendering,
        ("POST", "/control/documents"): world.override_document,
        ("POST", "/control/damage"): world.damage_report,
        ("POST", "/control/shipments"): world.add_shipment,
        ("POST", "/control/shipments/seed"): world.seed_shipments,
        ("POST", "/control/shipments/fill-in"): world.fill_in_shipment_item_ids,
        ("GET", "/control/shipments/truth"): world.shipment_truth,
        ("GET", "/control/orders"): world.orders,
        ("POST", "/control/orders/status"): world.set_order_status,
        ("POST", "/control/orders/plan"): world.plan_order,
        ("POST", "/control/orders/listing"): world.set_order_listing,
        ("POST", "/control/orders/answers"): world.set_order_answers,
        ("POST", "/control/orders/shown-status"): world.show_order_status,
        ("POST", "/control/ship"): world.ship_now,
        ("GET", "/control/parcels"): world.parcels,
        ("POST", "/control/parcels"): world.set_parcel,
        ("POST", "/control/outbound-2026"): world.set_outbound_2026,
        ("POST", "/control/tariffs"): world.set_tariff,
        ("POST", "/control/features"): world.set_feature,
        ("GET", "/control/feeds"): world.feeds,
        ("POST", "/control/feeds/hang"): world.hang_feeds,
        ("POST", "/control/feeds/release"): world.release_hung_feeds,
        ("POST", "/control/feeds/foreign"): world.foreign_feed,
        ("POST", "/control/refused-skus"): world.refuse_skus,
        ("POST", "/control/inventory-page-size"): world.set_inventory_page_size,
        ("POST", "/control/clock"): world.set_clock,
        ("POST", "/control/expire"): world.expire,
        ("GET", "/control/faults"): world.faults_listed,
        ("POST", "/control/faults"): world.add_fault,
        ("DELETE", "/control/faults"): world.clear_faults,
        ("GET", "/control/calls"): world.calls,
        ("DELETE", "/control/calls"): world.clear_calls,
        ("POST", "/control/reset"): world.reset,
    }


def describe(world: World) -> dict[str, Any]:
    """Return the documentation that GET /control answers with."""
    action_docs = {
        f"{method} {path}": {
            "does": (inspect.getdoc(action) or "The sellers and their credentials.").split("\n\n")[0],
            "arguments": str(inspect.signature(action)).partition(" -> ")[0],
        }
        for (method, path), action in actions(world).items()
    }
    action_docs["GET /control/truth/{seller_id}/{marketplace_id}"] = {
        "does": inspect.getdoc(world.truth) or "",
        "arguments": "?include_fbm_quantity=&fetch_missing_inventory=&import_deleted_skus= (true or false)",
    }
    every_fate = {fate for fates in faults.FATES.values() for fate in fates}
    fault_options = {
        "operations": list(faults.OPERATIONS),
        "faults": [kind for kind in faults.KINDS if kind not in every_fate],
        "fates": {operation: list(fates) for operation, fates in faults.FATES.items()},
        "arguments": inspect.getdoc(faults.Fault) or "",
    }
    return {"actions": action_docs, "faults": fault_options, "not_imitated": list(NOT_IMITATED)}


def call_action(action: Action, arguments: dict[str, Any]) -> Any:
    """Call `action` with keyword `arguments`; ValueError if they do not match its signature."""
    try:
        inspect.signature(action).bind(**arguments)
    except TypeError as error:
        raise ValueError(str(error)) from error
    return action(**arguments)


def parse_boolean(value: str) -> bool:
    """Read a boolean of a query string, in any case; ValueError for anything but true and false."""
    if value.lower() not in {"true", "false"}:
        raise ValueError(f"{value!r} must be true or false")
    return value.lower() == "true"
