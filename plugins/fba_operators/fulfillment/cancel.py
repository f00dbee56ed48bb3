"""Cancelling: Amazon is asked to cancel the orders of requests whose ``cancel_requested_at`` is set."""

from __future__ import annotations

from typing import Any

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import RequestRefusedError
from fba_operators.fulfillment.amazon_orders import compare_with_request, documented
from fba_operators.fulfillment.ledger import FeedLedger
from fba_operators.fulfillment.left_out import UnansweredError
from fba_operators.fulfillment.request import listed_numbers, units_by_sku
from fba_operators.fulfillment.settle import Outcome
from fba_operators.runs.summary import counted

NOT_YET = "Amazon has taken the cancellation, and has not cancelled the order yet"


def cancel_orders(hook: SellingPartnerHook, ledger: FeedLedger, outcome: Outcome) -> None:
    """Ask Amazon to cancel orders, each once.

    :param outcome: collects what was recorded
    """
    cancelled, not_yet, refused = 0, 0, []
    for row in ledger.to_cancel():
        number = row["fr_number"]
        if row["seller_id"] not in (hook.seller_id, None):  # there the number may be another order
            ledger.record_not_cancelled(number, "not cancelled: it was sent by another seller than the connection's")
            refused.append(number)
            outcome.not_cancelled += 1
            continue
        try:
            with outcome.left_out.asking(hook, number):
                if row["status"] == "unknown" and not _is_ours(hook, ledger, row, outcome):
                    continue
                refusal = _cancel(hook, number)
        except UnansweredError as error:
            ledger.record_not_cancelled(number, f"not cancelled yet: {error}")
            outcome.not_cancelled += 1
            continue
        except RequestRefusedError as error:
            refusal = error.message
        if refusal == NOT_YET:
            ledger.record_not_cancelled(number, NOT_YET)
            not_yet += 1
        elif refusal:
            ledger.record_not_cancelled(number, f"not cancelled: {refusal}")
            refused.append(number)
            outcome.not_cancelled += 1
        else:
            ledger.record_order_cancelled(number)
            cancelled += 1
            outcome.moved["cancelled"] += 1
    if cancelled:
        outcome.sentences.append(f"{counted(cancelled, 'order')} cancelled.")
    if not_yet:
        orders = counted(not_yet, "order")
        outcome.sentences.append(
            f"{orders}: Amazon has taken the cancellation and not cancelled yet; the next run looks again."
        )
    if refused:
        orders = counted(len(refused), "order")
        outcome.sentences.append(f"{orders} could not be cancelled: {listed_numbers(refused)}.")


def _cancel(hook: SellingPartnerHook, number: str) -> str | None:
    """Cancel an order; returns why it is not cancelled, or None.

    Neither a refusal nor a success is believed before the order was looked at: an earlier call, whose answer was lost, may
    have cancelled it; and Amazon's model of cancelFulfillmentOrder only promises to stop attempting.
    """
    refusal = NOT_YET
    try:
        hook.cancel_fulfillment_order(number)
    except RequestRefusedError as error:
        refusal = error.message
    order = hook.find_fulfillment_order(number)
    status = documented(order.fulfillment_order.fulfillment_order_status) if order else None
    return None if status == "Cancelled" else refusal


def _is_ours(hook: SellingPartnerHook, ledger: FeedLedger, row: dict[str, Any], outcome: Outcome) -> bool:
    """Whether the order under an unknown request's number is of that request; another order is recorded."""
    number = row["fr_number"]
    if (order := hook.find_fulfillment_order(number)) is None:
        return False  # nothing to cancel yet; it is not sent again while a cancellation is requested
    ordered = units_by_sku((item.sku, item.quantity) for item in ledger.items_of([number])[number])
    move = compare_with_request(order, number, ordered, hook.marketplace.id)
    if move.status == "accepted":
        return True
    if move.status != "unknown":
        outcome.add_moves(ledger.resolve_unknown([move], row["claim_id"]))
    return False
