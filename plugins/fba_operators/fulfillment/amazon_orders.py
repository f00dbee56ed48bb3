"""What Amazon's order of a request says about the request: its status, and whether it is the same order."""

from __future__ import annotations

from collections import Counter

from fba_operators.amazon.operations import FulfillmentOrder
from fba_operators.fulfillment.request import Move, units_by_sku

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


def end_of_request(order_status: str | None) -> tuple[str, str] | None:
    """The status and reason that a request gets from Amazon's status of its order; None while the order goes on."""
    return _ENDED.get(order_status or "")


def compare_with_request(order: FulfillmentOrder, fr_number: str, ordered: Counter[str], marketplace_id: str) -> Move:
    """Decide what Amazon's order under a request's number means for the request.

    :param ordered: units of each SKU of the request
    :param marketplace_id: of the request's store
    :return: accepted, or ended; invalid if the order is another one
    """
    header = order.fulfillment_order
    status = header.fulfillment_order_status
    at_amazon = units_by_sku((item.seller_sku, item.quantity) for item in order.fulfillment_order_items)
    if header.marketplace_id != marketplace_id or at_amazon != ordered:
        return Move(fr_number, "invalid", "FR number already used at Amazon for another order", status)
    ended = end_of_request(status)
    return Move(fr_number, *ended, status) if ended else Move(fr_number, "accepted", None, status)
