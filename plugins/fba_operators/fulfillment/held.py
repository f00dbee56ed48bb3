"""Orders that Amazon holds, with their stock reserved, until they are due."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import RequestRefusedError
from fba_operators.fulfillment.amazon_orders import action_of, documented
from fba_operators.fulfillment.claim import Selection
from fba_operators.fulfillment.left_out import UnansweredError
from fba_operators.fulfillment.order_ledger import OrderLedger
from fba_operators.fulfillment.release import due
from fba_operators.fulfillment.request import Move, counts_by_status
from fba_operators.fulfillment.settle import Outcome
from fba_operators.settings.models import Fulfillment

LAPSES_AFTER = timedelta(days=14)  # Amazon then cancels an order that it holds (Fulfillment Outbound 2020-07-01)


def release_held(
    hook: SellingPartnerHook, orders: OrderLedger, settings: Fulfillment, selection: Selection, outcome: Outcome
) -> None:
    """Let Amazon ship the orders that it holds and that are due. Under the store's lock.

    :param outcome: collects what was recorded
    """
    held = [
        row
        for row in orders.open_orders()
        if row["held"] and row["carried"] and row["status"] == "submitted" and not row["cancel_requested_at"]
    ]
    if not held:
        return
    contents = orders.contents([row["fr_number"] for row in held])
    now = orders.ledger.now()
    released: Counter[str] = Counter()
    try:
        for row in held:
            wait = due(
                contents[row["fr_number"]],
                settings,
                now,
                manual=selection.manual,
                ignore_hold=selection.ignore_hold,
                ignore_business_hours=selection.ignore_business_hours,
            )
            chosen = not selection.numbers or row["fr_number"] in selection.numbers
            lapsed = now - row["answered_at"] > LAPSES_AFTER
            if (chosen and wait is None) or lapsed:
                may_release = chosen and wait is None
                try:
                    with outcome.left_out.asking(hook, row["fr_number"]):
                        released.update(_release_one(hook, orders, row, outcome, may_release=may_release))
                except UnansweredError as error:  # the next run tries again
                    if may_release:
                        orders.ledger.record_not_cancelled(row["fr_number"], f"not released: {error}")
    finally:
        outcome.moved.update(released)
        if released:
            outcome.sentences.append(f"Held by Amazon until now: {counts_by_status(released)}.")


def _release_one(
    hook: SellingPartnerHook, orders: OrderLedger, row: dict[str, Any], outcome: Outcome, *, may_release: bool
) -> list[str]:
    number, claim_id = row["fr_number"], str(row["claim_id"])
    orders.ledger.check_lock()
    if not orders.may_release(number, claim_id):  # others before it took their time: it may be cancelled by now
        return []
    refusal = "it is not due"
    try:
        if may_release:
            hook.release_fulfillment_order(number)
            return [each.status for each in orders.record_end(claim_id, Move(number, "accepted"), ("submitted",))]
    except RequestRefusedError as error:
        refusal = error.detail or error.message
    try:
        order = hook.find_fulfillment_order(number)
    except RequestRefusedError:
        return []
    if order is None:
        return []
    status = documented(order.fulfillment_order.fulfillment_order_status)
    if status == "Cancelled":
        move = Move(number, "pending", "Amazon let its hold lapse; it is sent again", status)
        moved = orders.record_end(claim_id, move, ("submitted",), lapsed=True)
    elif action_of(order) == "ship":
        moved = orders.record_end(claim_id, Move(number, "accepted", None, status), ("submitted",))
    else:
        if may_release:
            orders.ledger.record_not_cancelled(number, f"not released: {refusal}")
            outcome.sentences.append(
                f"Amazon did not release {number}, and goes on holding it; its status_reason says why."
            )
        moved = []
    return [each.status for each in moved]
