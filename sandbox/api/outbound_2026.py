"""Fulfillment Outbound API 2026-07-04: the same orders as in 2020-07-01, with shipments, parcels and their tracking."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sandbox.api import pages
from sandbox.api.answers import Answer, invalid_input, json_answer, unauthorized
from sandbox.api.calls import Call, Operation
from sandbox.api.outbound import find_order
from sandbox.api.outbound_2026_answers import order_json, preview_json
from sandbox.api.outbound_2026_bodies import read_create, read_preview, read_update
from sandbox.api.outbound_preview import previews

_BASE = "/fulfillment/outbound/2026-07-04"


def _for_accounts_that_have_it(handler: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
    def check(call: Call) -> Answer:
        if not call.merchant.has_outbound_2026:
            raise unauthorized()
        return handler(call)

    return check


def _order_id(call: Call) -> str:
    return call.incoming.path_params["orderId"]


def _includes_shipments(call: Call) -> bool:
    value = call.query_text("shipments") or "INCLUDE"
    if value not in {"INCLUDE", "EXCLUDE"}:
        raise invalid_input("shipments must be INCLUDE or EXCLUDE.")
    return value == "INCLUDE"


def create_order(call: Call) -> Answer:
    """POST /fulfillment/outbound/2026-07-04/orders: 200 with the order, or, if set so, 202 with its id and status."""
    request = read_create(call)
    desk = call.world.order_desk
    refusals = desk.place(call.merchant, request, call.world.clock.waited())
    if refusals:
        raise invalid_input(" ".join(refusal.text for refusal in refusals))
    if desk.answers.create_answer == "accepted":
        return json_answer(202, {"orderId": request.order_id, "status": "PROCESSING"})
    order = desk.orders[call.merchant.seller_id, request.order_id]
    return json_answer(200, {"order": order_json(desk, order, shipments=False)})


def get_order(call: Call) -> Answer:
    """GET /fulfillment/outbound/2026-07-04/orders/{orderId}."""
    desk = call.world.order_desk
    shipments = _includes_shipments(call)
    document = {"order": order_json(desk, find_order(call, _order_id(call)), shipments=shipments)}
    return json_answer(200, desk.answers.written(document, call.operation.name))


def list_orders(call: Call) -> Answer:
    """GET /fulfillment/outbound/2026-07-04/orders: orders that changed since updatedAfter, oldest change first.

    A change of a parcel counts. All parameters must be repeated with each pageToken.
    """
    desk, seller_id = call.world.order_desk, call.merchant.seller_id
    since, shipments = call.query_timestamp("updatedAfter"), _includes_shipments(call)
    if since is not None and since > call.world.clock.wall():
        raise invalid_input("updatedAfter must not be in the future.")
    token = call.query_text("pageToken")
    if token is None:
        changed = [order for order in desk.listed(seller_id) if since is None or order.changed >= int(since)]
        order_ids = [order.request.order_id for order in sorted(changed, key=lambda order: order.changed)]
        start = 0
    else:
        state = pages.read_page_token(call, token)
        if state["parameters"] != (since, shipments):
            raise invalid_input("The parameters differ from those the pageToken was given out for.")
        order_ids, start = state["ids"], state["start"]
    end = start + desk.page_size
    document: dict[str, Any] = {
        "orders": [
            order_json(desk, desk.orders[seller_id, order_id], shipments=shipments) for order_id in order_ids[start:end]
        ],
        "pagination": {},
    }
    if end < len(order_ids):
        next_state = {"parameters": (since, shipments), "ids": order_ids, "start": end}
        document["pagination"] = {"nextToken": pages.issue_page_token(call, next_state)}
    return json_answer(200, desk.answers.written(document, call.operation.name))


def cancel_order(call: Call) -> Answer:
    """PUT /fulfillment/outbound/2026-07-04/orders/{orderId}/cancel: 202 says only that the request was taken.

    An order that can no longer be cancelled goes on. A second cancellation succeeds, or is refused if set so.
    """
    order = find_order(call, _order_id(call))
    was_cancelled = order.status == "Cancelled"
    refusal = call.world.order_desk.cancel(call.merchant, order.request.order_id)
    if refusal is not None and was_cancelled:
        raise invalid_input(refusal)
    return json_answer(202, {})


def update_order(call: Call) -> Answer:
    """PUT /fulfillment/outbound/2026-07-04/orders/{orderId}: ships an order on hold."""
    order, action = find_order(call, _order_id(call)), read_update(call)
    changed = order.request if action is None else replace(order.request, action=action)
    refusals = call.world.order_desk.update(call.merchant, order, changed)
    if refusals:
        raise invalid_input(" ".join(refusal.text for refusal in refusals))
    return json_answer(202, {})


def get_order_preview(call: Call) -> Answer:
    """POST /fulfillment/outbound/2026-07-04/previews: an offer for each service tier, by default for the three."""
    wish, speeds, with_fees = read_preview(call)
    fees = call.world.order_desk.answers.preview_fees if with_fees else "missing"
    return json_answer(200, preview_json(wish, previews(call, wish, speeds), fees))


OPERATIONS = tuple(
    Operation(
        name,
        method,
        f"{_BASE}{path}",
        _for_accounts_that_have_it(handler),
        query=frozenset(query),
        rate=2.0,
        burst=30,
        subject=_order_id if "{orderId}" in path else lambda call: call.peek_body("orderId"),
    )
    for name, method, path, handler, query in (
        ("createOrder", "POST", "/orders", create_order, ()),
        ("listOrders", "GET", "/orders", list_orders, ("updatedAfter", "pageToken", "shipments")),
        ("getOrder", "GET", "/orders/{orderId}", get_order, ("shipments",)),
        ("updateOrder", "PUT", "/orders/{orderId}", update_order, ()),
        ("cancelOrder", "PUT", "/orders/{orderId}/cancel", cancel_order, ()),
        ("getOrderPreview", "POST", "/previews", get_order_preview, ()),
    )
)
