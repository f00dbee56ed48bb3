"""What Amazon's order of a request says about the request: its status, and whether it is the same order."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from fba_operators.amazon.operations import FulfillmentOrder
from fba_operators.fulfillment.request import FulfillmentRequest, Move, units_by_sku
from fba_operators.words import MOST_OF_A_NAME, words

# Amazon's fulfillmentOrderStatus (Fulfillment Outbound 2020-07-01) of orders that end a request: its status and why.
_ENDED = {
    "Invalid": (
        "rejected",
        "Amazon accepted the request and then found it invalid: wrong address, or not enough stock",
    ),
    "Unfulfillable": ("rejected", "Amazon accepted the request and then found no sellable unit of its items"),
    "Cancelled": ("cancelled", "cancelled at Amazon"),
}
COMPLETE, PARTLY_COMPLETE = "Complete", "CompletePartialled"
SHIPPED = [COMPLETE, PARTLY_COMPLETE]
"""Statuses of orders of which nothing more will be shipped."""
_DOCUMENTED = ("New", "Received", "Planning", "Processing", *_ENDED, *SHIPPED)
HELD = "Hold"  # amazon_order_status of a request whose order Amazon holds
ANOTHERS_ORDER = "FR number already used at Amazon for another order"


def _letters(status: str) -> str:
    return re.sub(r"[\W_]", "", status).casefold().replace("canceled", "cancelled")


_BY_LETTERS = {_letters(status): status for status in _DOCUMENTED} | {"completepartial": PARTLY_COMPLETE}  # 2026-07-04


def documented(order_status: str | None) -> str | None:
    """Amazon's status of an order as its model spells it: ``COMPLETE_PARTIALLED`` is ``CompletePartialled``.

    Amazon's own examples in the same model write them in capitals.

    :return: None for a status that Amazon does not document, and for none
    """
    return _BY_LETTERS.get(_letters(order_status or ""))


def end_of_request(order_status: str | None) -> tuple[str, str] | None:
    """The status and reason that a request gets from Amazon's status of its order; None while the order goes on."""
    return _ENDED.get(documented(order_status) or "")


def compare_with_request(order: FulfillmentOrder, fr_number: str, ordered: Counter[str], marketplace_id: str) -> Move:
    """Decide what Amazon's order under a request's number means for the request.

    :param ordered: units of each SKU of the request
    :param marketplace_id: of the request's store
    :return: accepted, or ended; invalid if the order is another one; unknown where Amazon's status is not documented
    """
    header = order.fulfillment_order
    told = header.fulfillment_order_status
    status = documented(told)
    shown = status or words(told or "", MOST_OF_A_NAME) or None
    if header.marketplace_id not in (None, marketplace_id) or _has_other_items(order, ordered):
        return Move(fr_number, "invalid", ANOTHERS_ORDER, shown)
    if status is None:
        said = f"the status {shown!r}, which its documentation does not have" if shown else "no status"
        return Move(fr_number, "unknown", f"Amazon has an order of this number with {said}", shown)
    ended = end_of_request(status)
    return Move(fr_number, *ended, status) if ended else Move(fr_number, "accepted", None, status)


def meaning(order: FulfillmentOrder, request: FulfillmentRequest, *, held: bool, marketplace_id: str) -> Move:
    """Decide what Amazon's order under a request's number means for a request that goes out as an order of its own.

    :param held: it was sent to be held; until Amazon says that it ships, it is submitted, not accepted
    """
    ordered = units_by_sku((item.sku, item.quantity) for item in request.items)
    move = compare_with_request(order, request.fr_number, ordered, marketplace_id)
    if held and move.status == "accepted" and action_of(order) in ("hold", None):
        return replace(move, status="submitted", order_status=HELD)
    return move


def action_of(order: FulfillmentOrder) -> str | None:
    """``hold`` or ``ship``; None where Amazon does not say."""
    return (order.fulfillment_order.fulfillment_action or "").casefold() or None


def _has_other_items(order: FulfillmentOrder, ordered: Counter[str]) -> bool:
    """Whether the order names a SKU or a quantity that the request does not have; what it leaves out says nothing."""
    items = order.fulfillment_order_items or ()
    read = [item for item in items if item]
    units: Counter[str] = Counter()
    for item in read:
        if item.seller_sku is not None:
            units[item.seller_sku] += item.quantity or 0
    if any(sku not in ordered or units[sku] > ordered[sku] for sku in units):
        return True
    is_whole = bool(items) and all(item and item.seller_sku is not None and item.quantity is not None for item in items)
    return is_whole and units != ordered
